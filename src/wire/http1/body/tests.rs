use super::*;

fn head(version: Version, fields: &[(&str, &str)]) -> Head {
    let mut head = Head::default();
    head.version = version;
    fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
    head
}

fn framing(fields: &[(&str, &str)]) -> Option<Framing> {
    Framing::of_request(&head(Version::Http11, fields), false).ok()
}

#[test]
fn a_request_has_one_framing_or_is_refused() {
    let (length, coding) = ("content-length", "transfer-encoding");
    for (fields, expected) in [
        (&[][..], Some(Framing::None)),
        (&[(length, "0")], Some(Framing::None)),
        (&[(length, "7")], Some(Framing::Length(7))),
        (&[(length, "7"), (length, "7")], Some(Framing::Length(7))),
        (&[(coding, "chunked")], Some(Framing::Chunked)),
        (&[(coding, "CHUNKED")], Some(Framing::Chunked)),
        (&[(length, "7"), (length, "8")], None),
        (&[(length, "7"), (coding, "chunked")], None),
        (&[(length, "")], None),
        (&[(length, "+7")], None),
        (&[(length, "-7")], None),
        (&[(length, "7 ")], None),
        (&[(length, "0x7")], None),
        (&[(length, "7, 7")], None),
        (&[(length, "99999999999999999999")], None),
        (&[(length, "00000000000000000007")], None),
        (&[(length, "0000000000000000007")], Some(Framing::Length(7))),
        (&[(length, "7"), (length, "07")], None),
        (&[(length, "0"), (length, "0")], Some(Framing::None)),
        (&[(length, "0"), (length, "0"), (length, "7")], None),
        (&[(length, " 7")], None),
        (&[(length, "7\0")], None),
        (&[(length, "7.0")], None),
        (&[(length, "1_000")], None),
        (&[(length, "\u{0667}")], None),
        (&[(length, "9223372036854775807")], Some(Framing::Length(i64::MAX as u64))),
        (&[(coding, "gzip, chunked")], None),
        (&[(coding, "chunked, chunked")], None),
        (&[(coding, "chunked"), (coding, "chunked")], None),
        (&[(coding, "identity")], None),
        (&[(coding, "xchunked")], None),
        (&[(coding, "")], None),
        (&[(coding, "chunked;a=b")], None),
        (&[(coding, "chunked,")], None),
        (&[(coding, ", chunked")], None),
        (&[(coding, "chunked, gzip")], None),
        (&[(coding, "\"chunked\"")], None),
        (&[(coding, "\x0bchunked")], None),
        (&[(coding, ""), (coding, "chunked")], None),
        (&[(coding, "chunked"), (length, "0")], None),
    ] {
        assert_eq!(framing(fields), expected, "{fields:?}");
    }
    assert!(Framing::of_request(&head(Version::Http10, &[(coding, "chunked")]), false).is_err());
    assert!(Framing::of_request(&head(Version::Http2, &[(coding, "chunked")]), false).is_err());
    assert_eq!(Framing::of_request(&head(Version::Http2, &[]), false), Ok(Framing::Chunked));
    assert_eq!(Framing::of_request(&head(Version::Http2, &[(length, "7")]), false), Ok(Framing::Length(7)));
    assert!(Framing::of_request(&head(Version::Http2, &[(length, "7"), (length, "8")]), true).is_err());
    assert_eq!(Framing::of_request(&head(Version::Http2, &[]), true), Ok(Framing::None));
}

#[test]
fn an_answer_ends_with_its_framing_or_with_its_connection() {
    let answer = |status, fields: &[(&str, &str)], to_head| {
        let mut head = head(Version::Http11, fields);
        head.set_status_line(status, b"");
        Framing::of_answer(&head, to_head).ok()
    };
    assert_eq!(answer(200, &[], false), Some(Framing::UntilEnd));
    assert_eq!(answer(200, &[("content-length", "5")], false), Some(Framing::Length(5)));
    assert_eq!(answer(200, &[("content-length", "5")], true), Some(Framing::None));
    assert_eq!(answer(205, &[("content-length", "0")], false), Some(Framing::None));
    assert_eq!(answer(200, &[("transfer-encoding", "chunked")], true), Some(Framing::None));
    assert_eq!(answer(200, &[("transfer-encoding", "gzip")], false), None);
    assert_eq!(answer(304, &[("content-length", "x")], false), None);
    for status in [101, 103, 204, 304] {
        assert_eq!(answer(status, &[("content-length", "5")], false), Some(Framing::None), "{status}");
    }
    assert_eq!(answer(200, &[("content-length", "5"), ("transfer-encoding", "chunked")], true), None);
}

fn undone(bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<String>), Malformed> {
    let (mut decoder, mut trailers, mut data) = (Decoder::new(Framing::Chunked), Head::default(), Vec::new());
    let (mut input, mut rest) = (Vec::new(), bytes);
    loop {
        match decoder.step(&input, &mut trailers)? {
            Step::Data(n) => {
                data.extend(input.drain(..n));
                decoder.consumed(n);
            }
            Step::Skip(n) => drop(input.drain(..n)),
            Step::More if rest.is_empty() => return Err(Malformed("it is not complete")),
            Step::More => {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                input.extend_from_slice(now);
                rest = later;
            }
            Step::End => {
                assert!(input.is_empty() && rest.is_empty(), "it ends where it ends");
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                return Ok((data, trailers.fields().map(|(_, name, value)| text(name) + "=" + &text(value)).collect()));
            }
        }
    }
}

#[test]
fn chunks_are_undone_however_they_are_cut() {
    let rows: [(&str, &str, &[&str]); 5] = [
        ("0\r\n\r\n", "", &[]),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", &[]),
        ("0005;a=\"b c\"\r\nhello\r\nC\r\n world again\r\n000\r\n\r\n", "hello world again", &[]),
        ("1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", "\r\n", &[]),
        ("2\r\nok\r\n0\r\nX-Sum: 7\r\nX-More:\r\n\r\n", "ok", &["X-Sum=7", "X-More="]),
    ];
    for (bytes, data, trailers) in rows {
        for piece in 1..=bytes.len() {
            let undone =
                undone(bytes.as_bytes(), piece).unwrap_or_else(|error| panic!("{bytes:?} by {piece}: {error}"));
            assert_eq!(
                (undone.0.as_slice(), undone.1.as_slice()),
                (data.as_bytes(), &*trailers.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()),
                "{bytes:?} by {piece}"
            );
        }
    }
}

#[test]
fn what_is_no_chunk_is_refused_however_it_is_cut() {
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(2000));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    for bytes in [
        "\r\n",
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "00000000000000001\r\nx\r\n0\r\n\r\n",
        "0\r\nX Y: 7\r\n\r\n",
        "0\r\nX: 7\n\r\n",
        "5\r\nhello\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\n\r0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        ";a\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\u{e9}\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "0;\x7f\r\n\r\n",
        "0\r\n\n",
        "0\r\n\r\r\n",
        "0\r\n X: 7\r\n\r\n",
        "0\r\nX: 7\r\n folded\r\n\r\n",
        "0\n\r\n",
        &long,
        &trailers,
    ] {
        for piece in [1, 2, 3, 5, 8, 1000, bytes.len()].into_iter().filter(|piece| bytes.len() / piece < 5_000) {
            let shown = &bytes[..bytes.len().min(40)];
            assert!(undone(bytes.as_bytes(), piece).is_err(), "{shown:?} by {piece}");
        }
    }
}

#[test]
fn sizes_are_written_without_leading_zeros() {
    for (size, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabc_def0, "abcdef0\r\n")] {
        let mut wire = Vec::new();
        write_chunk_size(size, &mut wire);
        assert_eq!(String::from_utf8(wire).expect("text"), expected);
    }
}

#[test]
fn trailers_that_would_frame_or_route_a_message_are_none() {
    for name in ["Content-Length", "transfer-encoding", "Host", "trailer", "Authorization", "set-cookie"] {
        assert!(!is_trailer(Name::of(name.as_bytes()), name.as_bytes()), "{name}");
    }
    assert!(is_trailer(Name::of(b"grpc-status"), b"grpc-status"));
}

#[test]
fn a_length_that_somebody_may_take_for_a_negative_one_is_refused() {
    for length in ["9223372036854775808", "9999999999999999999"] {
        assert_eq!(framing(&[("content-length", length)]), None, "{length}");
    }
}

#[test]
fn what_is_encoded_is_decoded_as_the_same_with_every_extension_and_cut() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut bytes, mut data) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(..6) {
            let piece: Vec<u8> = (0..random.usize(1..600)).map(|_| random.u8(..)).collect();
            let (begin, extended) = (bytes.len(), random.bool());
            write_chunk_size(piece.len(), &mut bytes);
            if extended {
                let size = String::from_utf8(bytes.split_off(begin)).expect("digits");
                let size = format!("{}{}", "0".repeat(random.usize(..8)), size.trim_end().to_uppercase());
                bytes.extend_from_slice(format!("{size};a=\"\t{}\";b\r\n", "x".repeat(random.usize(..900))).as_bytes());
            }
            bytes.extend_from_slice(&piece);
            bytes.extend_from_slice(b"\r\n");
            data.extend_from_slice(&piece);
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        let piece = random.usize(1..=bytes.len().min(700));
        assert_eq!(undone(&bytes, piece), Ok((data, vec![])), "seed {seed} by {piece}");
    }
}

#[test]
fn the_longest_line_and_the_longest_trailers_are_the_same_however_they_are_cut() {
    let line = |length: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length - 4));
    let trailers = |length: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(length - 7));
    for (bytes, good) in
        [(line(1024), true), (line(1025), false), (trailers(16 << 10), true), (trailers((16 << 10) + 1), false)]
    {
        for piece in [200, 1000, 1023, 1024, 1025, 1026, 16_386, 16_387, 16_388, bytes.len()] {
            assert_eq!(undone(bytes.as_bytes(), piece).is_ok(), good, "{} by {piece}", bytes.len());
        }
    }
}

#[test]
fn a_body_of_a_length_ends_with_its_last_byte_and_leaves_the_rest() {
    let (mut decoder, mut trailers) = (Decoder::new(Framing::Length(5)), Head::default());
    assert_eq!(decoder.hint(), 5);
    assert_eq!(decoder.step(b"", &mut trailers), Ok(Step::More));
    assert_eq!(decoder.step(b"hel", &mut trailers), Ok(Step::Data(3)));
    decoder.consumed(2);
    assert_eq!(decoder.step(b"lloGET /", &mut trailers), Ok(Step::Data(3)));
    decoder.consumed(3);
    assert_eq!(decoder.step(b"GET /", &mut trailers), Ok(Step::End));
    assert_eq!(Decoder::new(Framing::None).step(b"GET /", &mut trailers), Ok(Step::End));
    assert_eq!(Decoder::new(Framing::UntilEnd).step(b"all", &mut trailers), Ok(Step::Data(3)));
}

#[test]
fn the_extensions_of_all_chunks_together_are_bounded() {
    let chunks = |count: usize| format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "y".repeat(1000)).repeat(count));
    for (count, good) in [(16, true), (17, false)] {
        for piece in [1, 700, 100_000] {
            assert_eq!(undone(chunks(count).as_bytes(), piece).is_ok(), good, "{count} by {piece}");
        }
    }
}
