use super::*;
use crate::wire::http1::parse;

#[test]
fn known_names_are_known_in_any_case_and_others_are_not() {
    assert_eq!(Name::of(b"HOST"), Name::Host);
    assert_eq!(Name::of(b"X-Forwarded-For"), Name::XForwardedFor);
    assert_eq!(Name::of(b"transfer-encodinG"), Name::TransferEncoding);
    for other in ["", "x", "hosts", "content_length", "transfer-encoding ", "aaaa", "x-forwarded-foo"] {
        assert_eq!(Name::of(other.as_bytes()), Name::Other, "{other:?}");
    }
}

#[test]
fn every_known_name_is_found_by_its_length() {
    assert!(TEXTS[..KNOWN.len()].is_sorted_by_key(|text| text.len()));
    KNOWN.iter().for_each(|name| assert_eq!(Name::of(name.as_str().as_bytes()), *name));
}

#[test]
fn fields_are_found_replaced_and_removed() {
    let mut head = Head::default();
    head.set_request_line(b"GET", b"/a?b=c");
    head.push(b"Host", b"a");
    head.push(b"X-One", b"1");
    head.push(b"via", b"x");
    head.push(b"Via", b"y");
    assert_eq!((head.method(), head.target(), head.path()), ("GET", "/a?b=c", "/a"));
    assert_eq!(head.all(Name::Via).collect::<Vec<_>>(), [b"x", b"y"]);
    head.set(Name::Host, b"b");
    head.remove_named(b"x-ONE");
    head.remove_named(b"VIA");
    assert_eq!(head.get(Name::Host), Some(&b"b"[..]));
    assert!(!head.has(Name::Via));
    let mut wire = Vec::new();
    head.write_fields(&mut wire);
    assert_eq!(wire, b"host: b\r\n");
}

/// The fields, by the plainest implementation.
fn plainly(head: &Head) -> Vec<u8> {
    head.fields().flat_map(|(_, name, value)| [name, b": ", value, b"\r\n"].concat()).collect()
}

#[derive(Default)]
struct Model(Vec<(Vec<u8>, Vec<u8>)>);

impl Model {
    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }

    fn check(&self, head: &Head, seed: u64) {
        let fields: Vec<_> = head.fields().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect();
        assert_eq!(fields, self.0, "seed {seed}");
        assert_eq!(head.len(), self.0.len(), "seed {seed}");
        for kind in KNOWN {
            let values: Vec<&[u8]> =
                self.0.iter().filter(|(name, _)| Name::of(name) == *kind).map(|(_, value)| value.as_slice()).collect();
            assert_eq!(head.all(*kind).collect::<Vec<_>>(), values, "seed {seed}: {kind:?}");
            assert_eq!(head.has(*kind), !values.is_empty(), "seed {seed}: {kind:?}");
            assert_eq!(head.get(*kind), values.first().copied(), "seed {seed}: {kind:?}");
        }
        let mut wire = b"before".to_vec();
        head.write_fields(&mut wire);
        let written = wire.strip_prefix(b"before").expect("it is appended");
        assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(&plainly(head)), "seed {seed}");
    }
}

fn name(random: &mut fastrand::Rng) -> Vec<u8> {
    let names = ["Host", "via", "TE", "Cookie", "X-Forwarded-For", "connection", "X-One", "x-two", "Server", "a"];
    let mut name = random.choice(names).expect("one").as_bytes().to_vec();
    name.iter_mut().filter(|_| random.u8(..4) == 0).for_each(|byte| *byte = byte.to_ascii_uppercase());
    name
}

fn value(random: &mut fastrand::Rng) -> &'static [u8] {
    random.choice([&b""[..], b"v", b"a b", b"x:y, z", b"\xe9", b"\"a\tb\"", b"a-long-value-for-a-field"]).expect("one")
}

/// A parsed request, answer or trailers, with optional whitespace around values.
fn parsed(random: &mut fastrand::Rng, model: &mut Model) -> Head {
    let kind = random.u8(..3);
    let mut raw = [&b"GET /a?b HTTP/1.1\r\n"[..], b"HTTP/1.1 200 OK\r\n", b""][usize::from(kind)].to_vec();
    for _ in 0..random.usize(..8) {
        let (name, value) = (name(random), value(random));
        let mut space =
            || *random.choice([" ", " ", " ", "", "\t", "  ", " \t "].map(str::as_bytes).iter()).expect("one");
        let behind = if value.is_empty() { b"" } else { space() };
        raw.extend_from_slice(&[&name[..], b":", space(), value, behind].concat());
        raw.extend_from_slice(b"\r\n");
        model.push(&name, value);
    }
    raw.extend_from_slice(b"\r\n");
    let mut head = Head::default();
    head.push(b"left", b"behind");
    type Parse = fn(&[u8], &mut Head) -> Result<Option<usize>, parse::Refused>;
    let parses: [Parse; 3] = [parse::request, |input, head| parse::answer_within(input, head, 100), parse::trailers];
    let parse = parses[usize::from(kind)];
    assert_eq!(parse(&raw, &mut head), Ok(Some(raw.len())), "{}", String::from_utf8_lossy(&raw));
    head
}

#[test]
fn whatever_is_done_to_a_head_it_is_written_field_by_field() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::default();
        let mut head = if random.bool() { Head::default() } else { parsed(&mut random, &mut model) };
        model.check(&head, seed);
        for _ in 0..random.usize(..12) {
            let kind =
                *random.choice(&[Name::Host, Name::Via, Name::Te, Name::Cookie, Name::XForwardedFor]).expect("one");
            match random.u8(..9) {
                0 | 1 => {
                    let (name, value) = (name(&mut random), value(&mut random));
                    head.push(&name, value);
                    model.push(&name, value);
                }
                2 => {
                    let value = value(&mut random);
                    head.set(kind, value);
                    model.remove(kind.as_str().as_bytes());
                    model.push(kind.as_str().as_bytes(), value);
                }
                3 => {
                    head.remove(kind);
                    model.remove(kind.as_str().as_bytes());
                }
                4 => {
                    let name = name(&mut random);
                    head.remove_named(&name);
                    model.remove(&name);
                }
                5 => {
                    let of =
                        model.0.iter().find(|(name, _)| Name::of(name) == Name::Host).map(|(_, value)| value.clone());
                    head.push_copy(kind, Name::Host);
                    if let Some(value) = of {
                        model.push(kind.as_str().as_bytes(), &value);
                    }
                }
                6 => {
                    let value = value(&mut random);
                    head.push_known(kind, value);
                    model.push(kind.as_str().as_bytes(), value);
                }
                7 => head.set_target(b"/another: target\r\n"),
                _ => head.set_request_line(b"PUT", b"/"),
            }
            model.check(&head, seed);
        }
        let mut copy = head.clone();
        model.check(&copy, seed);
        copy.clear();
        Model::default().check(&copy, seed);
    }
}

#[test]
fn a_part_of_a_start_line_is_replaced_without_the_others() {
    let mut head = Head::default();
    head.set_request_line(b"GET", b"/a?b?c");
    head.set_target(b"*");
    assert_eq!((head.method(), head.target(), head.path()), ("GET", "*", "*"));
    head.set_method(b"OPTIONS");
    assert!(head.is_method("OPTIONS") && !head.is_method("options"));
    head.set_target(b"?a");
    assert_eq!((head.target(), head.path()), ("?a", ""));
    head.set_status_line(404, b"Not Found");
    assert_eq!((head.status, head.reason(), head.target()), (404, &b"Not Found"[..], ""));
}

#[test]
fn an_emptied_head_keeps_no_large_memory() {
    let mut head = Head::default();
    head.push(b"a", &[b'x'; 1000]);
    head.shed();
    assert!(head.len() == 0 && head.size() >= 1000, "the memory of a usual head is used again");
    head.push(b"a", &[b'x'; 60_000]);
    head.shed();
    assert_eq!((head.len(), head.size()), (0, 0));
}
