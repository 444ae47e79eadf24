//! Properties that the fuzz targets (`tests/fuzz`) check: whole ones, so that nothing else is made public.

use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::proxy::headers::{self, From};
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::{Decoder, Framing, Step};
use crate::wire::http1::connection::Piece;
use crate::wire::http1::parse;
use crate::wire::http2::hpack;
use crate::wire::http2::server::stream::ServerStream;
use crate::wire::http2::server::{Core, PREFACE, Received, Settings};
use crate::wire::websocket::Frames;

/// A request's head is read, rewritten for the endpoint and written; what is written is read as the same, and has no
/// field of the hop that it came over.
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
    // Refused, before anything is done with it.
    if headers::lists_too_many(&head) {
        return;
    }
    let listed: Vec<String> = head
        .all(Name::Connection)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(',').map(|token| token.trim().to_ascii_lowercase()))
        .collect();
    headers::to_endpoint(&mut head, &From { peer: "192.0.2.1", trusted: false, port: "80", scheme: "http", via: true });
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

/// Fields that are unpacked are the same when they are written and unpacked again, also by way of a table.
///
/// # Panics
///
/// If that does not hold.
pub fn hpack(bytes: &[u8]) {
    let mut decoder = hpack::Decoder::new();
    let unpacked = |decoder: &mut hpack::Decoder, block: &[u8]| {
        let mut fields = Vec::new();
        decoder.decode(block, |name, value| fields.push((name.to_ascii_lowercase(), value.to_vec()))).ok()?;
        Some(fields)
    };
    let Some(fields) = unpacked(&mut decoder, bytes) else { return };
    let mut block = Vec::new();
    let (mut encoder, mut other) = (hpack::Encoder::new(), hpack::Decoder::new());
    // At first as they are, then into the table, and then out of it.
    for _ in 0..3 {
        block.clear();
        fields.iter().for_each(|(name, value)| encoder.write(name, value, &mut block));
        assert_eq!(unpacked(&mut other, &block).as_ref(), Some(&fields));
    }
}

/// A client's HTTP/2 connection does the same however what comes is cut: it finds the same requests, and says the same.
///
/// # Panics
///
/// If that does not hold.
pub fn frames(bytes: &[u8], piece: usize) {
    assert_eq!(served(bytes, usize::MAX), served(bytes, piece.max(1)));
}

/// The requests that were found, with their bodies, and all that was written.
fn served(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<u8>) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const LIMITS: Settings = Settings { max_head: 1000, max_streams: 100 };
    let core = Rc::new(RefCell::new(Core::new(LIMITS, Instant::now())));
    let (mut head, mut found, mut open) = (Head::default(), Vec::new(), Vec::new());
    let all = [PREFACE, SETTINGS, bytes].concat();
    let mut input = Vec::new();
    'all: for bytes in all.chunks(piece) {
        input.extend_from_slice(bytes);
        loop {
            let (used, event) = core.borrow_mut().read(&input, &mut head);
            input.drain(..used);
            match event {
                Received::More => break,
                Received::Over => break 'all,
                Received::Request(place) => {
                    found.push(format!("{} {} {head:?}", head.method(), head.target()));
                    // Every other one is given up at once.
                    let stream = ServerStream::new(Rc::clone(&core), place);
                    open.extend(Some(stream).filter(|_| found.len() % 2 == 0));
                }
            }
        }
    }
    for stream in &mut open {
        while let Poll::Ready(Ok(Piece::Data(data))) = stream.poll_body() {
            let n = data.len();
            found.push(format!("{data:?}"));
            stream.consume(n);
        }
    }
    drop(open);
    let written = core.borrow_mut().output().bytes().to_vec();
    (found, written)
}

/// The ends of a WebSocket's frames are found however the bytes are cut, and agree with a walk over all of them.
///
/// # Panics
///
/// If that does not hold.
pub fn websocket(bytes: &[u8], masked: bool, piece: usize) {
    let mut frames = if masked { Frames::of_client() } else { Frames::of_endpoint() };
    let walk = Walk::over(bytes, masked);
    let mut passed = 0;
    while passed < bytes.len() {
        let next = passed + frames.rest(&bytes[passed..]);
        let now = walk.after(passed);
        assert_eq!(
            (frames.is_between(), frames.is_closed(), frames.is_lost()),
            (now == Place::Between, now == Place::Closed, now == Place::Lost),
            "after {passed} of {bytes:?}"
        );
        if next > passed && now == Place::Within {
            let first = walk.ends.iter().find(|end| **end > passed);
            assert!(first.is_none_or(|end| *end >= next), "a frame ends within {passed}..{next} of {bytes:?}");
        }
        let to = (passed + piece.max(1)).min(bytes.len());
        frames.pass(&bytes[passed..to]);
        passed = to;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Between,
    Within,
    Closed,
    Lost,
}

/// The ends of frames, found in the plainest way.
struct Walk {
    ends: Vec<usize>,
    /// From here on there are no more frames.
    last: Option<(usize, Place)>,
}

impl Walk {
    fn over(bytes: &[u8], masked: bool) -> Walk {
        let mut walk = Walk { ends: vec![0], last: None };
        let mut at = 0;
        while let [first, second, rest @ ..] = &bytes[at..] {
            let short = usize::from(second & 0x7f);
            let (extended, shortest) = match short {
                126 => (2, 126),
                127 => (8, 1 << 16),
                _ => (0, 0),
            };
            let mask = if second & 0x80 != 0 { 4 } else { 0 };
            let Some((head, payload)) = rest.split_at_checked(extended + mask) else { break };
            let long = head[..extended].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
            let length = if extended == 0 { short as u128 } else { long };
            at = bytes.len() - payload.len();
            let control = first & 8 != 0;
            if (mask == 4) != masked
                || length < shortest
                || length >> 63 != 0
                || control && (first < &128 || length > 125)
            {
                walk.last = Some((at, Place::Lost));
                break;
            }
            if (payload.len() as u128) < length {
                break;
            }
            at += length as usize;
            walk.ends.push(at);
            if first & 15 == 8 {
                walk.last = Some((at, Place::Closed));
                break;
            }
        }
        walk
    }

    fn after(&self, passed: usize) -> Place {
        match self.last {
            Some((from, place)) if passed >= from => place,
            _ if self.ends.contains(&passed) => Place::Between,
            _ => Place::Within,
        }
    }
}

/// A request as the proxy reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The method, as sent.
    pub method: Vec<u8>,
    /// The target, as sent.
    pub target: Vec<u8>,
    /// Names in lower case, and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// The end of the body is part of the input.
    pub complete: bool,
}

impl Message {
    fn of(head: &Head) -> Message {
        Message {
            method: head.method_bytes().to_vec(),
            target: head.target_bytes().to_vec(),
            fields: head.fields().map(|(_, name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect(),
            ..Message::default()
        }
    }
}

/// The requests of an HTTP/1.1 connection, up to the first one that is refused or not complete, and why one is refused.
#[must_use]
pub fn http1_requests(bytes: &[u8]) -> (Vec<Message>, Option<&'static str>) {
    let (mut found, mut rest, mut head) = (Vec::new(), bytes, Head::default());
    loop {
        let length = match parse::request(rest, &mut head) {
            Ok(Some(length)) => length,
            Ok(None) => return (found, None),
            Err(parse::Refused::Malformed(reason)) => return (found, Some(reason)),
            Err(parse::Refused::TargetTooLong) => return (found, Some("The request target is too long.")),
            Err(_) => return (found, Some("The head has too many fields.")),
        };
        let framing = match Framing::of_request(&head, false) {
            Ok(framing) => framing,
            Err(ambiguous) => return (found, Some(ambiguous.0)),
        };
        if headers::host(&head).is_err() {
            return (found, Some("The host is not valid."));
        }
        rest = &rest[length..];
        let mut message = Message::of(&head);
        let (mut decoder, mut trailers) = (Decoder::new(framing), Head::default());
        let refused = loop {
            match decoder.step(rest, &mut trailers) {
                Ok(Step::Data(n)) => {
                    message.body.extend_from_slice(&rest[..n]);
                    decoder.consumed(n);
                    rest = &rest[n..];
                }
                Ok(Step::Skip(n)) => rest = &rest[n..],
                Ok(Step::End) => {
                    message.complete = true;
                    break None;
                }
                Ok(Step::More) => break None,
                Err(malformed) => break Some(malformed.0),
            }
        };
        let complete = message.complete;
        if refused.is_none() {
            found.push(message);
        }
        if !complete {
            return (found, refused);
        }
    }
}

/// The requests of an HTTP/2 connection behind its preface and an empty SETTINGS frame, in the order in which they
/// began, and whether the connection broke the rules.
#[must_use]
pub fn http2_requests(bytes: &[u8]) -> (Vec<Message>, bool) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let core = Rc::new(RefCell::new(Core::new(Settings { max_head: 64 << 10, max_streams: 100 }, Instant::now())));
    let (mut head, mut found, mut open, mut over) = (Head::default(), Vec::new(), Vec::new(), false);
    let mut input = [PREFACE, SETTINGS, bytes].concat();
    loop {
        let (used, event) = core.borrow_mut().read(&input, &mut head);
        input.drain(..used);
        match event {
            Received::More => break,
            Received::Over => {
                over = true;
                break;
            }
            Received::Request(place) => {
                found.push(Message::of(&head));
                open.push((found.len() - 1, ServerStream::new(Rc::clone(&core), place)));
            }
        }
    }
    for (index, stream) in &mut open {
        while let Poll::Ready(Ok(piece)) = stream.poll_body() {
            let Piece::Data(data) = piece else {
                found[*index].complete = true;
                break;
            };
            let n = data.len();
            found[*index].body.extend_from_slice(data);
            stream.consume(n);
        }
    }
    (found, over)
}
