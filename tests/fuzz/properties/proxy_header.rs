//! The PROXY header: never a panic, and the same verdict however the bytes come.

use cutover::internals::wire::proxy_protocol::{Malformed, Parsed, begins, parse};

/// Reads a header whole, and with each byte that comes.
///
/// # Panics
///
/// If the verdict depends on how the bytes come.
pub(super) fn one_verdict(bytes: &[u8]) {
    let whole = parse(bytes);
    // Looked at with each byte that comes. The first verdict is the last one, and is there at once.
    for cut in 0..bytes.len() {
        match parse(&bytes[..cut]) {
            Ok(Parsed::Partial) => {}
            decided => {
                assert_eq!(decided, whole, "another verdict after {cut} bytes");
                break;
            }
        }
    }
    match whole {
        Ok(Parsed::Complete { length, source }) => {
            assert!(begins(bytes) && (15..=4112).contains(&length) && length <= bytes.len());
            assert_eq!(parse(&bytes[..length - 1]), Ok(Parsed::Partial), "it ends where it says");
            if bytes.starts_with(b"PROXY ") {
                line(&bytes[..length], source);
            }
        }
        Ok(Parsed::Partial) => {
            assert!(begins(bytes) && bytes.len() < 4112);
            can_go_on(bytes);
        }
        Err(Malformed(reason)) => assert!(!reason.is_empty()),
    }
}

/// A line that was taken, read once more by the standard library.
fn line(line: &[u8], source: Option<std::net::SocketAddr>) {
    assert!(line.len() <= 107 && line.ends_with(b"\r\n"));
    let Some(source) = source else {
        assert!(line.starts_with(b"PROXY UNKNOWN"));
        return;
    };
    let text = std::str::from_utf8(line).expect("a line with addresses is ASCII");
    let fields: Vec<&str> = text.trim_end_matches("\r\n").split(' ').collect();
    let [_, family, from, to, port, to_port] = fields[..] else { panic!("not six fields: {text:?}") };
    assert_eq!(source.ip(), from.parse::<std::net::IpAddr>().expect("an address"));
    assert_eq!(source.port().to_string(), port);
    assert_eq!(to_port.parse::<u16>().expect("a port").to_string(), to_port);
    let to: std::net::IpAddr = to.parse().expect("an address");
    assert!(source.is_ipv4() == (family == "TCP4") && to.is_ipv4() == source.is_ipv4());
}

/// Where more is asked for, there is a next byte that is not refused. A checksum shows at the last byte only.
fn can_go_on(bytes: &[u8]) {
    let mut longer = bytes.to_vec();
    longer.push(0);
    let accepted = (0..=255).any(|byte| {
        longer[bytes.len()] = byte;
        !matches!(parse(&longer), Err(Malformed(reason)) if reason != "the checksum is wrong")
    });
    assert!(accepted, "more is asked for, and no byte will do");
}
