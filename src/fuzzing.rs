//! What the fuzz targets (`tests/fuzz`) need of the inside: whole properties, so that nothing else is made public.

use std::panic::Location;

use crate::proxy::headers::{self, From};
use crate::wire::body::{Decoder, Framing, Step};
use crate::wire::head::{Head, Name};
use crate::wire::parse;

/// A request's head is read, rewritten for the endpoint and written; what is written is read as the same, and has no field of
/// the hop that it came over.
///
/// # Panics
///
/// If that does not hold.
#[track_caller]
pub fn head(bytes: &[u8]) {
    let mut head = Head::default();
    let Ok(Some(length)) = parse::request(bytes, &mut head) else { return };
    for cut in [0, length / 3, length / 2, length.saturating_sub(1)] {
        let mut early = Head::default();
        assert!(!matches!(parse::request(&bytes[..cut], &mut early), Ok(Some(_))), "half of a head is one");
    }
    let listed: Vec<String> = head
        .all(Name::Connection)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(',').map(|token| token.trim().to_ascii_lowercase()))
        .collect();
    headers::to_endpoint(&mut head, &From { peer: "192.0.2.1", trusted: false, port: "80", scheme: "http" });
    let mut wire = [head.method_bytes(), b" ", head.target_bytes(), b" HTTP/1.1\r\n"].concat();
    head.write_fields(&mut wire);
    wire.extend_from_slice(b"\r\n");
    let mut again = Head::default();
    let read = parse::request(&wire, &mut again);
    // More fields than a head may have: some were added.
    if read == Err(parse::Refused::TooLarge) {
        return;
    }
    assert_eq!(read, Ok(Some(wire.len())), "{}: {}", Location::caller(), String::from_utf8_lossy(&wire));
    let fields =
        |head: &Head| head.fields().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>();
    assert_eq!(fields(&head), fields(&again));
    for (kind, name, _) in again.fields() {
        assert!(!matches!(kind, Name::KeepAlive | Name::ProxyConnection | Name::TransferEncoding));
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        assert!(kind != Name::Other || !listed.contains(&name), "{name} was for one hop");
    }
}

/// A chunked body is undone in the same way however it is cut.
///
/// # Panics
///
/// If that does not hold.
pub fn chunks(bytes: &[u8], piece: usize) {
    assert_eq!(undone(bytes, bytes.len().max(1)), undone(bytes, piece.max(1)));
}

/// The data, if it is complete.
fn undone(bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
    let (mut decoder, mut trailers, mut data) = (Decoder::new(Framing::Chunked), Head::default(), Vec::new());
    let (mut input, mut rest) = (Vec::new(), bytes);
    loop {
        match decoder.step(&input, &mut trailers).ok()? {
            Step::Data(n) => {
                data.extend(input.drain(..n));
                decoder.consumed(n);
            }
            Step::Skip(n) => drop(input.drain(..n)),
            Step::End => return Some(data),
            Step::More if rest.is_empty() => return None,
            Step::More => {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                input.extend_from_slice(now);
                rest = later;
            }
        }
    }
}
