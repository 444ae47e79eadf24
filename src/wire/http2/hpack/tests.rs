use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("a number");
    digits.chunks(2).map(pair).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, |name, value| fields.push((text(name), text(value))))?;
    Ok(fields)
}

fn fields(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_requests_of_the_rfc_are_read() {
    // RFC 7541, C.4: Huffman code and a growing table.
    let mut decoder = Decoder::new();
    let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
    let block = bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    assert_eq!(decoded(&mut decoder, &block), Ok(fields(&first)));
    let second = [&first[..], &[("cache-control", "no-cache")]].concat();
    assert_eq!(decoded(&mut decoder, &bytes("8286 84be 5886 a8eb 1064 9cbf")), Ok(fields(&second)));
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    let block = bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
    assert_eq!(decoded(&mut decoder, &block), Ok(fields(&third)));
}

#[test]
fn the_answers_of_the_rfc_are_read_with_a_table_that_has_to_make_room() {
    // RFC 7541, C.6: a table of 256 bytes.
    let mut decoder = Decoder::new();
    let block = bytes(
        "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad \
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    let (date, location) = (("date", "Mon, 21 Oct 2013 20:13:21 GMT"), ("location", "https://www.example.com"));
    let first = [(":status", "302"), ("cache-control", "private"), date, location];
    assert_eq!(decoded(&mut decoder, &block), Ok(fields(&first)));
    let second = [(":status", "307"), ("cache-control", "private"), date, location];
    assert_eq!(decoded(&mut decoder, &bytes("4883 640e ffc1 c0bf")), Ok(fields(&second)));
    let third = [
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ];
    let block = bytes(
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    );
    assert_eq!(decoded(&mut decoder, &block), Ok(fields(&third)));
}

#[test]
fn every_byte_has_its_word_in_the_huffman_code() {
    // RFC 7541, appendix B: words of all lengths, padded with ones.
    for (coded, plain) in [
        ("07", b'0'),
        ("53", b' '),
        ("bb", b'B'),
        ("f8", b'&'),
        ("fe3f", b'!'),
        ("ff7f", b'+'),
        ("ffaf", b'#'),
        ("ffc7", 0),
        ("fff3", b'^'),
        ("fff9", b'<'),
        ("fffe1f", b'\\'),
        ("fffe6f", 128),
        ("ffffea", b'\t'),
        ("fffffeaf", 12),
        ("fffffff3", b'\n'),
    ] {
        let mut decoded = Vec::new();
        assert!(huffman::decode(&bytes(coded), &mut decoded), "{coded}");
        assert_eq!(decoded, [plain], "{coded}");
    }
}

#[test]
fn what_is_no_huffman_code_is_refused() {
    for (why, coded) in [
        ("the end of a string within it", "ffff ffff"),
        ("more than seven bits behind the last word", "07ff"),
        ("zeros behind the last word", "00"),
    ] {
        assert!(!huffman::decode(&bytes(coded), &mut Vec::new()), "{why}");
    }
}

#[test]
fn blocks_that_can_not_be_unpacked_are_refused() {
    for (why, block) in [
        ("an index of nothing", "80"),
        ("an entry that nobody put in", "be"),
        ("a name that nobody put in", "7f01 01 61"),
        ("a number without an end", "ffffffffffffff"),
        ("a number that is too large", "ff80808080 01"),
        ("half of a number", "ff"),
        ("a name that is longer than the block", "0005 6162"),
        ("a field without its value", "0001 61"),
        ("a table that is larger than was allowed", "3fe2 1f"),
        ("a size behind a field", "82 20"),
    ] {
        assert_eq!(decoded(&mut Decoder::new(), &bytes(block)), Err(Malformed), "{why}");
    }
}

#[test]
fn the_table_never_holds_more_than_it_may() {
    let mut decoder = Decoder::new();
    for round in 0..1000_usize {
        let value = vec![b'a' + (round % 26) as u8; round % 500];
        let mut block = vec![0x40, 1, b'x'];
        write_integer(value.len(), 7, 0, &mut block);
        block.extend_from_slice(&value);
        block.push(0x80 | 62);
        let read = decoded(&mut decoder, &block).expect("a block");
        assert_eq!(read[0], read[1]);
    }
    assert!(decoder.table.bytes() <= 3 * TABLE, "{}", decoder.table.bytes());
    // An entry larger than the table empties it (RFC 7541, 4.4).
    let mut block = vec![0x40, 1, b'x'];
    write_integer(5000, 7, 0, &mut block);
    block.extend([b'y'; 5000]);
    assert_eq!(decoded(&mut decoder, &block).map(|read| read.len()), Ok(1));
    assert_eq!(decoded(&mut decoder, &[0x80 | 62]), Err(Malformed));
    assert_eq!(decoder.table.bytes(), 0);
}

#[test]
fn what_is_written_is_read_as_the_same_and_takes_a_byte_when_it_comes_again() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let long = "v".repeat(1000);
    let list = [("Server", "a"), ("x-color", "blue"), ("set-cookie", "s"), ("x-long", &long), ("Content-Length", "17")];
    let mut wanted = fields(&[(":status", "200"), (":status", "421")]);
    wanted.extend(list.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())));
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let mut block = Vec::new();
        write_status(200, &mut block);
        write_status(421, &mut block);
        list.iter().for_each(|(name, value)| encoder.write(name.as_bytes(), value.as_bytes(), &mut block));
        assert_eq!(decoded(&mut decoder, &block).as_ref(), Ok(&wanted));
        lengths.push(block.len());
    }
    assert_eq!(lengths[1], lengths[0] - 2);
    let saved = ["1a", "1x-color1blue", "117"].map(str::len).iter().sum::<usize>();
    assert_eq!((lengths[2], lengths[3]), (lengths[1] - saved, lengths[2]), "but not what is long, or says who it is");
}

#[test]
fn both_ends_agree_on_the_table_whatever_is_written_and_allowed() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..20_000 {
        for _ in 0..random.usize(0..3) * usize::from(round % 10 == 0) {
            encoder.allow(random.u32(0..6000));
        }
        let mut block = Vec::new();
        encoder.begin(&mut block);
        let wanted: Vec<(String, String)> = (0..random.usize(1..8))
            .map(|_| {
                let (name, value) = (random.usize(1..6), random.usize(0..9));
                ("n".repeat(name), ["x", "12345678"][value % 2].repeat(value * value))
            })
            .collect();
        wanted.iter().for_each(|(name, value)| encoder.write(name.as_bytes(), value.as_bytes(), &mut block));
        assert_eq!(decoded(&mut decoder, &block), Ok(wanted), "round {round}");
        assert_eq!(encoder.table.max(), encoder.allowed);
    }
}

#[test]
fn indices_are_those_of_the_fixed_table() {
    for (at, (name, _)) in STATIC.iter().enumerate() {
        let index = usize::from(index_of(name));
        assert!(index == 0 || index == at + 1, "{}", String::from_utf8_lossy(name));
    }
    assert_eq!(STATIC[60].0, b"www-authenticate");
}
