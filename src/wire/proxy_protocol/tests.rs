use super::*;

const PARTIAL: Result<Parsed, Malformed> = Ok(Parsed::Partial);

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a body that can be declared");
    [SIGNATURE, &[command, family][..], &length.to_be_bytes(), body].concat()
}

/// 192.0.2.1:56324 to 198.51.100.7:443.
fn v4_addresses() -> Vec<u8> {
    [&[192, 0, 2, 1, 198, 51, 100, 7][..], &56324u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

/// [2001:db8::1]:56324 to [2001:db8::2]:443.
fn v6_addresses() -> Vec<u8> {
    let of = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets();
    [&of(1)[..], &of(2), &56324u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a value that can be declared");
    [&[kind][..], &length.to_be_bytes(), value].concat()
}

fn with_checksum() -> Vec<u8> {
    let tlvs = [tlv(0x01, b"h2"), tlv(CHECKSUM, &[0; 4]), tlv(0x20, &[1; 40])].concat();
    let mut header = v2(0x21, 0x11, &[v4_addresses(), tlvs].concat());
    let sum = !crc32c(!0, &header);
    let place = FIXED_V2 + 12 + 5 + 3;
    header[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

fn valid() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let lines = [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", Some("192.0.2.1:56324")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", Some("0.0.0.0:0")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", Some("[2001:db8::1]:56324")),
        ("PROXY TCP6 :: 1:2:3:4:5:6:7:8 1 2\r\n", Some("[::]:1")),
        ("PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2\r\n", Some("[1:2:3:4:5:6:7::]:1")),
        ("PROXY TCP6 1:2::7:8 :: 1 2\r\n", Some("[1:2::7:8]:1")),
        ("PROXY TCP6 FE80::00aB :: 1 2\r\n", Some("[fe80::ab]:1")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 1 2\r\n", Some("[::ffff:192.0.2.1]:1")),
        ("PROXY TCP6 ::192.0.2.1 ::0.0.0.0 1 2\r\n", Some("[::192.0.2.1]:1")),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN \r\n", None),
        ("PROXY UNKNOWN ff::1 what ever\x00é\r\n", None),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            None,
        ),
    ];
    let v4 = v4_addresses();
    let binary = [
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0xff, b"anything"), None),
        (v2(0x20, 0x11, &v4), None),
        (v2(0x21, 0x00, b""), None),
        (v2(0x21, 0x00, b"no telling what this is"), None),
        (v2(0x21, 0x11, &v4), Some("192.0.2.1:56324")),
        (v2(0x21, 0x12, &v4), None),
        (v2(0x21, 0x10, &v4), None),
        (v2(0x21, 0x21, &v6_addresses()), Some("[2001:db8::1]:56324")),
        (v2(0x21, 0x22, &v6_addresses()), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
        (v2(0x21, 0x11, &[&v4[..], &tlv(0x04, b""), &tlv(0xea, &[7; 300])].concat()), Some("192.0.2.1:56324")),
        (v2(0x21, 0x11, &[&v4[..], &tlv(0x04, &vec![0; MOST_V2 - 15])].concat()), Some("192.0.2.1:56324")),
        (with_checksum(), Some("192.0.2.1:56324")),
    ];
    let lines = lines.into_iter().map(|(line, source)| (line.as_bytes().to_vec(), source));
    lines.chain(binary).collect()
}

#[test]
fn a_header_is_read_whole_and_wherever_it_is_cut_more_is_asked_for() {
    for (header, source) in valid() {
        let shown = header.escape_ascii().to_string();
        let expected = Parsed::Complete {
            length: header.len(),
            source: source.map(|source| source.parse().expect("a valid address in the test")),
        };
        assert_eq!(parse(&header), Ok(expected), "{shown}");
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), PARTIAL, "cut at {cut}: {shown}");
            assert!(begins(&header[..cut]));
        }
        for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\r\n", b"\n", b"\0", b"PROXY "] {
            assert_eq!(parse(&[&header, behind].concat()), Ok(expected), "{shown} and more");
        }
    }
}

/// The error shows at exactly this byte.
#[track_caller]
fn wrong_at(bytes: &[u8], at: usize) {
    let shown = bytes.escape_ascii();
    assert_eq!(parse(&bytes[..at]), PARTIAL, "before byte {at} of {shown}");
    assert!(parse(&bytes[..=at]).is_err(), "with byte {at} of {shown}");
    assert!(parse(bytes).is_err(), "{shown}");
}

#[test]
fn a_line_that_is_not_exactly_one_is_refused_at_the_first_wrong_byte() {
    let lines = [
        ("GET / HTTP/1.1\r\n", ""),
        ("PRO", "PFIND / HTTP/1.1\r\n"),
        ("PROXY", "\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY ", " TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY TCP", "5 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY ", "tcp4 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY U", "DP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY UNKNOWN", "X\r\n"),
        ("PROXY UNKNOWN", "\n"),
        ("PROXY UNKNOWN a", "\nb\r\n"),
        ("PROXY UNKNOWN a\r", "b\r\n"),
        ("PROXY TCP4 ", " 1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.2.3.4 ", " 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.2.3", " 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.2.3.4", ".5 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.", ".3.4 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.2.3.25", "6 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 1.2.3.0", "4 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 ", "+1.2.3.4 1.2.3.4 1 2\r\n"),
        ("PROXY TCP4 ", "::1 ::1 1 2\r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 0", "1 2\r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 6553", "6 2\r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 ", "-1 2\r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1", "\r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", " \r\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2", "\n"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r", "\r\n"),
        ("PROXY TCP6 1", ".2.3.4 ::1 1 2\r\n"),
        ("PROXY TCP6 :", "1 ::1 1 2\r\n"),
        ("PROXY TCP6 1:", " ::1 1 2\r\n"),
        ("PROXY TCP6 ::1:", " ::1 1 2\r\n"),
        ("PROXY TCP6 1::", ":2 ::1 1 2\r\n"),
        ("PROXY TCP6 1::2:", ":3 ::1 1 2\r\n"),
        ("PROXY TCP6 1:2:3:4:5:6:7", " ::1 1 2\r\n"),
        ("PROXY TCP6 1:2:3:4:5:6:7:8", ":9 ::1 1 2\r\n"),
        ("PROXY TCP6 1:2:3:4:5:6:7::", "8 ::1 1 2\r\n"),
        ("PROXY TCP6 ::2:3:4:5:6:7:8", ":9 ::1 1 2\r\n"),
        ("PROXY TCP6 ::1234", "5 ::1 1 2\r\n"),
        ("PROXY TCP6 ::", "g ::1 1 2\r\n"),
        ("PROXY TCP6 fe80::1", "%eth0 ::1 1 2\r\n"),
        ("PROXY TCP6 ::ffff:256", ".0.0.1 ::1 1 2\r\n"),
        ("PROXY TCP6 ::ffff:01", ".0.0.1 ::1 1 2\r\n"),
        ("PROXY TCP6 ::a", ".0.0.1 ::1 1 2\r\n"),
        ("PROXY TCP6 ::1:2:3", ".0.0.1 ::1 1 2\r\n"),
        ("PROXY TCP6 1::3", ".0.0.1 ::1 1 2\r\n"),
        ("PROXY TCP6 ::1.2.3", " ::1 1 2\r\n"),
    ];
    for (right, wrong) in lines {
        let at = if wrong.is_empty() { 0 } else { right.len() };
        wrong_at(format!("{right}{wrong}").as_bytes(), at);
    }
}

#[test]
fn a_line_of_more_than_107_bytes_is_refused() {
    let of_length = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
    assert_eq!(parse(&of_length(107)), Ok(Parsed::Complete { length: 107, source: None }));
    wrong_at(&of_length(108), 105);
}

#[test]
fn what_version_2_does_not_know_is_refused_at_the_byte_that_says_it() {
    let v4 = v4_addresses();
    for (header, at) in [
        (v2(0x11, 0x11, &v4), 12),
        (v2(0x31, 0x11, &v4), 12),
        (v2(0x22, 0x11, &v4), 12),
        (v2(0x21, 0x41, &v4), 13),
        (v2(0x21, 0x13, &v4), 13),
        (v2(0x21, 0x03, b""), 13),
        (v2(0x21, 0x11, &v4[..11]), 15),
        (v2(0x21, 0x21, &v6_addresses()[..35]), 15),
        (v2(0x21, 0x31, &[0; 215]), 15),
        (v2(0x21, 0x00, &[0; MOST_V2 + 1]), 15),
        (v2(0x20, 0x00, &[0; MOST_V2 + 256]), 14),
        (v2(0x21, 0x11, &[&v4[..], &[4, 0]].concat()), 15),
        (v2(0x21, 0x11, &[&v4[..], &[4, 1, 0, 0]].concat()), 29),
        (v2(0x21, 0x11, &[&v4[..], &[4, 0, 2, 0]].concat()), 30),
        (v2(0x21, 0x11, &[&v4[..], &[CHECKSUM, 0, 3, 0, 0, 0]].concat()), 28),
        (v2(0x21, 0x11, &[&v4[..], &[CHECKSUM, 0, 0, CHECKSUM, 0, 1, 0]].concat()), 30),
    ] {
        wrong_at(&header, at);
    }
    let two = v2(0x21, 0x11, &[&v4[..], &tlv(CHECKSUM, &[0; 4]), &tlv(CHECKSUM, &[0; 4])].concat());
    wrong_at(&two, FIXED_V2 + 12 + 7);
    let mut broken = SIGNATURE.to_vec();
    broken[11] = b'\r';
    wrong_at(&broken, 11);
}

#[test]
fn a_checksum_that_does_not_match_is_refused_whichever_bit_is_wrong() {
    assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    let header = with_checksum();
    for byte in FIXED_V2..FIXED_V2 + 12 {
        for bit in 0..8 {
            let mut damaged = header.clone();
            damaged[byte] ^= 1 << bit;
            assert_eq!(parse(&damaged), Err(Malformed("the checksum is wrong")));
        }
    }
}

#[test]
fn only_what_can_be_a_header_is_taken_for_its_beginning() {
    for bytes in [&b""[..], b"P", b"PRO", b"PROXY ", b"PROXY nonsense", b"\r", b"\r\n\r\n\0\r\nQUIT\n"] {
        assert!(begins(bytes), "{}", bytes.escape_ascii());
    }
    for bytes in [&b"GET / HTTP/1.1"[..], b"PUT", b"PRI * HTTP/2.0", b"PROXY\r", b"\r\nGET", b"\x16\x03\x01"] {
        assert!(!begins(bytes), "{}", bytes.escape_ascii());
    }
}

/// Accepted bytes can be extended to a whole header, except for its checksum.
fn can_be_completed(mut bytes: Vec<u8>) -> bool {
    let likely = *b"\0\r\n: 10.UTCPNKOWRXY46Q\x04\x21\x11";
    while parse(&bytes) == PARTIAL {
        bytes.push(0);
        let last = bytes.len() - 1;
        let mut whole_but_for_its_checksum = false;
        let accepted = likely.into_iter().chain(0..=255).any(|byte| {
            bytes[last] = byte;
            let parsed = parse(&bytes);
            whole_but_for_its_checksum |= parsed == Err(Malformed("the checksum is wrong"));
            parsed.is_ok()
        });
        if !accepted {
            return whole_but_for_its_checksum;
        }
    }
    true
}

#[test]
fn random_bytes_are_judged_the_same_however_they_come_and_more_is_asked_for_only_where_that_can_help() {
    let mut random = fastrand::Rng::with_seed(1);
    let valid = valid();
    for _ in 0..2_000 {
        let (mut bytes, _) = valid[random.usize(..valid.len())].clone();
        bytes.truncate(400);
        for _ in 0..random.usize(0..4) {
            let place = random.usize(..bytes.len());
            match random.u8(0..4) {
                0 => bytes[place] = random.u8(..),
                1 => bytes[place] = *random.choice(b"0123456789abcdef:. \r\n").expect("not empty"),
                2 => bytes.insert(place, random.u8(..)),
                _ => drop(bytes.remove(place)),
            }
        }
        let whole = parse(&bytes);
        for cut in 0..bytes.len() {
            match parse(&bytes[..cut]) {
                Ok(Parsed::Partial) => {}
                decided => assert_eq!(decided, whole, "cut at {cut} of {}", bytes.escape_ascii()),
            }
        }
        if let Ok(Parsed::Complete { length, source }) = whole {
            assert!(length <= bytes.len() && (source.is_none() || length > FIXED_V2));
        }
        let cut = random.usize(..bytes.len());
        if parse(&bytes[..cut]) == PARTIAL {
            assert!(can_be_completed(bytes[..cut].to_vec()), "nothing completes {}", bytes[..cut].escape_ascii());
        }
    }
}

#[test]
fn an_address_of_version_1_is_the_one_that_the_standard_library_reads() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..20_000 {
        let length = random.usize(1..22);
        let text: String = (0..length).map(|_| *random.choice(b"::::0123aF.").expect("not empty") as char).collect();
        let line = format!("PROXY TCP6 {text} ::1 7 8\r\n");
        let read = text.parse::<Ipv6Addr>().ok();
        match parse(line.as_bytes()) {
            Ok(Parsed::Complete { source, .. }) => {
                assert_eq!(source, read.map(|read| SocketAddr::from((read, 7))), "{text}");
            }
            Ok(Parsed::Partial) => panic!("a whole line is decided: {text}"),
            // The dotted form is accepted only as `inet_ntop` writes it.
            Err(_) => assert!(read.is_none() || text.contains('.'), "{text}"),
        }
    }
}
