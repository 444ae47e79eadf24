use super::*;

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/b?c")];

fn read(fields: &[(&str, &str)], max: usize) -> Result<Head, Unusable> {
    let (mut head, mut scratch) = (Head::default(), Scratch::default());
    let mut reader = Reader::request(&mut head, &mut scratch, max);
    fields.iter().for_each(|(name, value)| reader.take(name.as_bytes(), value.as_bytes()));
    reader.finish()?;
    Ok(head)
}

fn plus(field: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().chain([field]).collect()
}

#[test]
fn a_request_is_its_pseudo_headers_and_its_fields_in_order() {
    let fields = [&GET[..], &[("cookie", "a=1"), ("x-a", "1"), ("te", "trailers"), ("cookie", "b=2")]].concat();
    let head = read(&fields, 1000).expect("a request");
    assert_eq!((head.method(), head.target(), head.version), ("GET", "/b?c", Version::Http2));
    let names: Vec<&[u8]> = head.fields().map(|(_, name, _)| name).collect();
    assert_eq!(names, [&b"host"[..], b"x-a", b"te", b"cookie"]);
    assert_eq!((head.get(Name::Host), head.get(Name::Cookie)), (Some(&b"a"[..]), Some(&b"a=1; b=2"[..])));
}

#[test]
fn an_empty_piece_of_a_cookie_leaves_no_blank() {
    let fields = [&GET[..], &[("cookie", ""), ("cookie", "a=1"), ("cookie", "")]].concat();
    assert_eq!(read(&fields, 1000).expect("a request").get(Name::Cookie), Some(&b"a=1"[..]));
}

#[test]
fn an_extended_connect_is_told_as_an_upgrade() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/chat"),
    ];
    let head = read(&fields, 1000).expect("a request");
    assert!(head.extended_connect);
    assert_eq!((head.get(Name::Upgrade), head.get(Name::Connection)), (Some(&b"websocket"[..]), Some(&b"upgrade"[..])));
    assert_eq!((head.target(), head.get(Name::Host)), ("/chat", Some(&b"a"[..])));
}

#[test]
fn what_could_be_read_in_two_ways_is_malformed() {
    let rows = [
        plus((":method", "POST")),
        plus((":protocol", "websocket")),
        plus(("", "b")),
        plus(("X-A", "b")),
        plus(("x a", "b")),
        plus(("x\u{e9}", "b")),
        plus(("x", " b")),
        plus(("x", "b\t")),
        plus(("x", "a\rb")),
        plus(("x", "a\u{7f}b")),
        plus(("te", "gzip")),
        plus(("upgrade", "websocket")),
        plus(("host", "b")),
        [&[("x", "y")][..], &GET].concat(),
        GET[..3].to_vec(),
        vec![(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
        vec![(":method", "CONNECT")],
    ];
    for fields in rows {
        assert_eq!(read(&fields, 1000).err(), Some(Unusable::Malformed), "{fields:?}");
    }
}

#[test]
fn fields_count_as_they_are_when_they_are_unpacked() {
    let size: usize = GET.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    assert!(read(&GET, size).is_ok());
    assert_eq!(read(&GET, size - 1).err(), Some(Unusable::TooLarge));
}

#[test]
fn trailers_have_no_pseudo_headers() {
    let trailer = |name: &[u8]| {
        let (mut head, mut scratch) = (Head::default(), Scratch::default());
        let mut reader = Reader::trailers(&mut head, &mut scratch, 1000);
        reader.take(name, b"1");
        reader.finish()
    };
    assert_eq!(trailer(b"x-sum"), Ok(()));
    assert_eq!(trailer(b":path"), Err(Unusable::Malformed));
}
