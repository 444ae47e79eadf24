use super::*;
use crate::wire::head::Name;

type Parse = fn(&[u8], &mut Head) -> Result<Option<usize>, Refused>;

fn answer(input: &[u8], head: &mut Head) -> Result<Option<usize>, Refused> {
    answer_within(input, head, MAX_FIELDS)
}

fn said(head: &Head) -> String {
    let mut said = format!("{:?} {} ", head.version, head.status).into_bytes();
    let [one, other] =
        if head.status == 0 { [head.method_bytes(), head.target_bytes()] } else { [head.reason(), &b""[..]] };
    said.extend_from_slice(&[one, b" ", other].concat());
    for (kind, name, value) in head.fields() {
        assert_eq!(kind, Name::of(name));
        said.extend_from_slice(&[b"|", name, b"=", value].concat());
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// Reads a head with bytes behind it, and every proper prefix, none of which may look complete.
fn read(parse: Parse, bytes: &[u8]) -> Result<String, Refused> {
    let mut head = Head::default();
    head.set_request_line(b"OLD", b"/old");
    head.push(b"old", b"old");
    let length = parse(&[bytes, b"GET /next HTTP/1.1\r\n"].concat(), &mut head)?;
    assert_eq!(length, Some(bytes.len()), "{:?}", String::from_utf8_lossy(bytes));
    for cut in 0..bytes.len() {
        let half = parse(&bytes[..cut], &mut Head::default());
        assert_eq!(half, Ok(None), "{:?}", String::from_utf8_lossy(&bytes[..cut]));
    }
    Ok(said(&head))
}

fn check(parse: Parse, bytes: &str, expected: &str) {
    assert_eq!(read(parse, bytes.as_bytes()).as_deref(), Ok(expected), "{bytes:?}");
}

/// Refused when complete, and accepted at no prefix.
fn check_malformed(parse: Parse, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    let whole = parse(bytes, &mut Head::default());
    assert!(matches!(whole, Err(Refused::Malformed(_))), "{shown:?}: {whole:?}");
    for cut in 0..bytes.len() {
        let half = parse(&bytes[..cut], &mut Head::default());
        assert!(matches!(half, Ok(None) | Err(Refused::Malformed(_))), "{shown:?} up to {cut}: {half:?}");
    }
}

#[test]
fn a_request_is_read_as_it_was_sent() {
    for (bytes, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", "Http11 0 GET /"),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "Http10 0 GET /|Host=a"),
        // Empty lines before a request (RFC 9112, 2.2).
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "Http11 0 GET /|Host=a"),
        ("get /A?b=%20&c=\"{|}\\^`<> HTTP/1.1\r\n\r\n", ""),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "Http11 0 OPTIONS *"),
        ("GET http://a:1/b?c HTTP/1.1\r\n\r\n", "Http11 0 GET http://a:1/b?c"),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", "Http11 0 CONNECT a:1"),
        ("!#$%&'*+-.^_`|~ / HTTP/1.1\r\n\r\n", "Http11 0 !#$%&'*+-.^_`|~ /"),
        (
            "GET / HTTP/1.1\r\nA:\r\nB: \r\nC: \t \r\nD:d\r\nE:\t e \t\r\nF:  f  f \r\nG::g:\r\n\r\n",
            "Http11 0 GET /|A=|B=|C=|D=d|E=e|F=f  f|G=:g:",
        ),
        ("GET / HTTP/1.1\r\nx!#$%&'*+-.^_`|~9: \u{e9}\r\n\r\n", "Http11 0 GET /|x!#$%&'*+-.^_`|~9=\u{e9}"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHOST: b\r\nhost: a\r\n\r\n", "Http11 0 GET /|Host=a|HOST=b|host=a"),
    ] {
        if expected.is_empty() {
            let read = read(request, bytes.as_bytes()).expect("odd, and not ambiguous");
            assert_eq!(read, "Http11 0 get /A?b=%20&c=\"{|}\\^`<>");
        } else {
            check(request, bytes, expected);
        }
    }
}

#[test]
fn a_start_line_that_can_be_read_in_two_ways_is_refused() {
    for line in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1 \r\n",
        "GET /  HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        "GET /\tHTTP/1.1\r\n",
        "GET /\r\n",
        "GET / \r\n",
        "GET HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        "/ HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "G\u{e9}T / HTTP/1.1\r\n",
        "G\0T / HTTP/1.1\r\n",
        "GET: / HTTP/1.1\r\n",
        "GET / a HTTP/1.1\r\n",
        "GET /#a HTTP/1.1\r\n",
        "GET # HTTP/1.1\r\n",
        "GET /\0 HTTP/1.1\r\n",
        "GET /\x01 HTTP/1.1\r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "GET /\x0b HTTP/1.1\r\n",
        "GET /\r HTTP/1.1\r\n",
        "GET /\u{e9} HTTP/1.1\r\n",
        "GET /\u{2028} HTTP/1.1\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / HTTP/01.1\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / http/1.1\r\n",
        "GET / HTTP 1.1\r\n",
        "GET / HTTPS/1.1\r\n",
        "PRI * HTTP/2.0\r\n",
        "\nGET / HTTP/1.1\r\n",
        "\r\n\nGET / HTTP/1.1\r\n",
        "\r\rGET / HTTP/1.1\r\n",
        "\0GET / HTTP/1.1\r\n",
        "\u{feff}GET / HTTP/1.1\r\n",
        "\x16\x03\x01 / HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
    ] {
        check_malformed(request, format!("{line}Host: a\r\n\r\n").as_bytes());
    }
    check_malformed(request, b"GET /\xff HTTP/1.1\r\n\r\n");
}

const BAD_FIELDS: &[&str] = &[
    "A: a\n",
    "A: a\r",
    "A: a\r\r\n",
    "A: a\rB: b\r\n",
    "A\r\n",
    "A\n",
    ": a\r\n",
    " A: a\r\n",
    "\tA: a\r\n",
    "A : a\r\n",
    "A\t: a\r\n",
    "A B: a\r\n",
    "A\0: a\r\n",
    "A\x7f: a\r\n",
    "A\u{e9}: a\r\n",
    "(A): a\r\n",
    "A@: a\r\n",
    "\"A\": a\r\n",
    "A: \0\r\n",
    "A: a\x01\r\n",
    "A: a\x08\r\n",
    "A: a\x0bb\r\n",
    "A: \x0ca\r\n",
    "A: a\x0c\r\n",
    "A: a\x1b\r\n",
    "A: a\x7f\r\n",
    // obs-fold (RFC 9112, 5.2)
    "A: a\r\n b\r\n",
    "A: a\r\n\tb\r\n",
    "A:\r\n b\r\n",
    "A: a\r\n \r\n",
    "A: a\r\n : b\r\n",
];

#[test]
fn a_field_that_can_be_read_in_two_ways_is_refused() {
    let starts: [(Parse, &str); 3] = [(request, "GET / HTTP/1.1\r\n"), (answer, "HTTP/1.1 200 OK\r\n"), (trailers, "")];
    for (parse, start) in starts {
        for bad in BAD_FIELDS {
            for before in ["", "Host: a\r\n", "Z:\r\n"] {
                check_malformed(parse, format!("{start}{before}{bad}Content-Length: 1\r\n\r\n").as_bytes());
            }
            if bad.ends_with("\r\n") {
                check_malformed(parse, format!("{start}{bad}\r\n").as_bytes());
            }
        }
        for end in ["\n", "\r\r\n", "\n\r\n", "\r\n"] {
            let bytes = format!("{start}A: a\n{end}");
            check_malformed(parse, bytes.as_bytes());
        }
        check_malformed(parse, format!("{start}A: a\r\n\n").as_bytes());
    }
}

#[test]
fn an_answer_is_read_as_it_was_sent() {
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "Http11 200 OK "),
        ("HTTP/1.0 404 Not \tFound \r\nA: b\r\n\r\n", "Http10 404 Not \tFound  |A=b"),
        ("HTTP/1.1 200 \r\nA: b\r\n\r\n", "Http11 200  |A=b"),
        // Many servers omit the space before an empty reason.
        ("HTTP/1.1 200\r\nA: b\r\n\r\n", "Http11 200  |A=b"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "Http11 100 Continue "),
        ("HTTP/1.1 599 x\r\n\r\n", "Http11 599 x "),
        ("HTTP/1.1 999 x\r\n\r\n", "Http11 999 x "),
        ("HTTP/1.1 200 a:b\r\n\r\n", "Http11 200 a:b "),
        ("HTTP/1.1 200 \u{e9}\r\n\r\n", "Http11 200  "),
    ] {
        check(answer, bytes, expected);
    }
}

#[test]
fn a_status_line_that_is_none_is_refused() {
    for line in [
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1 99\r\n",
        "HTTP/1.1 99 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 0200 OK\r\n",
        "HTTP/1.1 000 OK\r\n",
        "HTTP/1.1 001 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 2x0 OK\r\n",
        "HTTP/1.1 +20 OK\r\n",
        "HTTP/1.1 -20 OK\r\n",
        "HTTP/1.1 OK\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1.1 \r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1\t200 OK\r\n",
        "HTTP/1.1 200\tOK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200\n",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 200\rOK\r\n",
        "HTTP/1.1 200 O\rK\r\n",
        "HTTP/1.1 200 O\0K\r\n",
        "HTTP/1.1 200 O\x7fK\r\n",
        "HTTP/1.2 200 OK\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        " HTTP/1.1 200 OK\r\n",
        "ICY 200 OK\r\n",
        "\nHTTP/1.1 200 OK\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        check_malformed(answer, format!("{line}A: b\r\n\r\n").as_bytes());
    }
}

#[test]
fn trailers_are_fields_and_an_empty_line() {
    for (bytes, expected) in [
        ("\r\n", "Http11 0  "),
        ("A: b\r\n\r\n", "Http11 0  |A=b"),
        ("A:b\r\nc:\r\nA: d \r\n\r\n", "Http11 0  |A=b|c=|A=d"),
    ] {
        let bytes = bytes.as_bytes();
        let mut head = Head::default();
        assert_eq!(trailers(&[bytes, b"GET /"].concat(), &mut head), Ok(Some(bytes.len())));
        assert_eq!(said(&head), expected);
        (0..bytes.len()).for_each(|cut| assert_eq!(trailers(&bytes[..cut], &mut head), Ok(None)));
    }
    check_malformed(trailers, b"\n");
}

#[test]
fn a_head_has_limits_and_keeps_all_that_is_within_them() {
    let starts: [(Parse, &str); 3] = [(request, "GET / HTTP/1.1\r\n"), (answer, "HTTP/1.1 200 OK\r\n"), (trailers, "")];
    for (parse, start) in starts {
        let with = |fields: usize| format!("{start}{}\r\n", "A: b\r\n".repeat(fields));
        let mut head = Head::default();
        assert_eq!(parse(with(100).as_bytes(), &mut head), Ok(Some(with(100).len())));
        assert_eq!(head.len(), 100);
        let refused = parse(with(101).as_bytes(), &mut head);
        assert!(matches!(refused, Err(Refused::TooLarge | Refused::TooManyFields)), "{refused:?}");
        if start.starts_with("HTTP/1.1 ") {
            for max in [256, 1000] {
                assert_eq!(answer_within(with(max).as_bytes(), &mut head, max), Ok(Some(with(max).len())));
                assert_eq!(head.len(), max);
                let more = with(max + 1);
                assert_eq!(answer_within(more.as_bytes(), &mut head, max), Err(Refused::TooManyFields));
            }
        }
    }
    let method = |length: usize| format!("{} / HTTP/1.1\r\n\r\n", "M".repeat(length));
    check(request, &method(32), &format!("Http11 0 {} /", "M".repeat(32)));
    check_malformed(request, method(33).as_bytes());
    let mut head = Head::default();
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "t".repeat(length - 1));
    assert!(request(target(65_534).as_bytes(), &mut head).is_ok_and(|length| length.is_some()));
    assert_eq!(head.target().len(), 65_534);
    assert_eq!(request(target(65_535).as_bytes(), &mut head), Err(Refused::TargetTooLong));
    let value = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "v".repeat(1 << 20));
    assert_eq!(request(value.as_bytes(), &mut head), Ok(Some(value.len())));
    assert_eq!(head.named(b"a").map(<[u8]>::len), Some(1 << 20));
}

/// A good head with one bit, byte or place changed is refused, or read exactly as written.
#[test]
fn a_head_with_a_fault_is_refused_or_read_as_it_stands() {
    let heads: [(Parse, &str); 2] = [
        (request, "\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Empty:\r\n\r\n"),
        (answer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding:  x \r\n\r\n"),
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for (parse, good) in heads {
        for _ in 0..3_000 {
            let mut bytes = good.as_bytes().to_vec();
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] ^= 1 << random.u8(..8),
                1 => bytes[at] = *random.choice(b"\r\n\t \0:#\x7f\xff").expect("one"),
                2 => bytes.insert(at, *random.choice(b"\r\n\t \0:#\x7f\xff").expect("one")),
                _ => drop(bytes.remove(at)),
            }
            let mut head = Head::default();
            let Ok(Some(length)) = parse(&bytes, &mut head) else { continue };
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let text = &bytes[..length];
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let (last, lines) = lines.split_last().expect("a line");
            assert!(last.is_empty() && lines.iter().all(|line| line.ends_with(b"\r")), "{shown:?}");
            let lines: Vec<&[u8]> =
                lines.iter().map(|line| &line[..line.len() - 1]).filter(|line| !line.is_empty()).collect();
            assert_eq!(head.len() + 1, lines.len(), "{shown:?}");
            for ((_, name, value), line) in head.fields().zip(&lines[1..]) {
                let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
                assert_eq!((name, value), (&line[..colon], line[colon + 1..].trim_ascii()), "{shown:?}");
                assert!(name.iter().all(u8::is_ascii_graphic) && !name.is_empty(), "{shown:?}");
                assert!(value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()), "{shown:?}");
            }
            let mut again = [lines[0], b"\r\n"].concat();
            head.write_fields(&mut again);
            again.extend_from_slice(b"\r\n");
            let mut same = Head::default();
            assert_eq!(parse(&again, &mut same), Ok(Some(again.len())), "{shown:?}");
            assert_eq!(said(&same), said(&head), "{shown:?}");
        }
    }
}

#[test]
fn the_line_for_which_an_answer_is_refused_is_found() {
    for (answer, line) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"),
        ("HTTP/1.1 099 Low\r\nA: b\r\n\r\n", "HTTP/1.1 099 Low\r\n"),
        ("HTTP/1.1 200 OK\r\nA: b\r\nbad name: c\r\n\r\n", "bad name: c\r\n"),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "A: b\n"),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\nbody", "A: b\0\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("", ""),
    ] {
        assert_eq!(refused_line(answer.as_bytes()), line.as_bytes(), "{answer:?}");
    }
}
