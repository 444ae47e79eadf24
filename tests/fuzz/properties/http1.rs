//! One framing: whatever the proxy accepts on an HTTP/1.1 connection, hyper reads as the same messages.
//!
//! Differences that are known are below, with their reasons: [`ONLY_HYPER_READS`] and [`ONLY_HYPER_REFUSES`]. Targets are compared
//! as `http::Uri` writes them (`http://a` as `http://a/`): the proxy passes bytes on as they came. A length that is repeated counts
//! once: hyper leaves the others out when it reads, and the proxy when it writes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use cutover::internals::fuzzing::{Message, http1_requests};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::whole::Whole;

/// Why the proxy refuses what hyper reads, and what hyper does with it. The proxy ends the connection there.
const ONLY_HYPER_READS: [(&str, &str); 13] = [
    ("A line ends in a bare line feed.", "takes it for the end of a line"),
    ("The method is not valid.", "takes a method of any length"),
    ("The request target is not valid.", "takes bytes beyond ASCII, and leaves a fragment out"),
    ("The head has too many fields.", "is told here to take 1,024"),
    ("The host is not valid.", "does not look at it"),
    ("There are both a length and a transfer coding.", "takes the coding"),
    ("There are several lengths.", "compares numbers: 5 and 05"),
    ("The length is too large.", "takes 64 bits"),
    ("The length is not a number.", "takes any number of zeros in front of it"),
    ("The transfer coding is not understood.", "takes codings before `chunked`"),
    ("the size of a chunk is not valid", "takes spaces behind it, and any bytes but a line feed in extensions"),
    ("the extensions of the chunks are too long", "does not count the semicolons"),
    ("the trailers are not valid", "takes a bare line feed in them, and 1,024 of them"),
];

/// Why hyper refuses what the proxy reads.
const ONLY_HYPER_REFUSES: [(&str, &str); 1] =
    [("invalid URI", "the `http` crate parses targets; the proxy passes bytes on as they came")];

/// The same for a body whose end has not come.
const EARLIER: [(&str, &str); 3] = [
    ("Invalid chunk size LF", "looks at each byte of an extension; the proxy reads the line when all of it is there"),
    ("Invalid trailer end LF", "the same for trailers"),
    ("Invalid chunk end LF", "the same for the empty line behind them"),
];

/// Compares what both read.
///
/// # Panics
///
/// If hyper reads another message.
pub(super) fn same_as_hyper(bytes: &[u8]) {
    let (ours, refused) = http1_requests(bytes);
    if ours.is_empty() && refused.is_none() {
        return;
    }
    let (theirs, error) = read_by_hyper(bytes);
    for (number, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(text(&our.method), text(&their.method), "method of {number}");
        assert_eq!(as_uri(&our.target), text(&their.target), "target of {number}");
        assert_eq!(fields(our), fields(their), "fields of {number}");
        assert_eq!(text(&our.body), text(&their.body), "body of {number}");
        assert_eq!(our.complete, their.complete, "end of {number}");
    }
    if theirs.len() > ours.len() {
        let known = refused.is_some_and(|reason| ONLY_HYPER_READS.iter().any(|(known, _)| *known == reason));
        assert!(known, "hyper reads {:?} behind {ours:?}, refused: {refused:?}", theirs[ours.len()]);
    }
    // Without an error it reads no further because a message is the last one of its connection.
    if let Some(error) = error.filter(|_| theirs.len() < ours.len()) {
        let our = &ours[theirs.len()];
        let is_in = |list: &[(&str, &str)]| list.iter().any(|(known, _)| error.contains(known));
        assert!(is_in(&ONLY_HYPER_REFUSES) || !our.complete && is_in(&EARLIER), "hyper refuses {our:?}: {error}");
    }
}

/// A target as `http::Uri` writes it.
fn as_uri(target: &[u8]) -> String {
    text(target).parse::<hyper::Uri>().map_or_else(|_| text(target), |uri| uri.to_string())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// In the order of names, because a map of fields keeps only the order within a name.
fn fields(message: &Message) -> Vec<(String, String)> {
    let mut fields: Vec<_> = message.fields.iter().map(|(name, value)| (text(name), text(value))).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields.dedup_by(|one, other| one == other && one.0 == "content-length");
    fields
}

/// The messages, and why it read no further.
fn read_by_hyper(bytes: &[u8]) -> (Vec<Message>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (found, error) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(None)));
    let (sink, why) = (Rc::clone(&found), Rc::clone(&error));
    let service = service_fn(move |request: Request<Incoming>| {
        let (sink, why) = (Rc::clone(&sink), Rc::clone(&why));
        async move {
            match read(request).await {
                Ok(message) => sink.borrow_mut().push(message),
                Err(error) => *why.borrow_mut() = Some(error),
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    let serving = builder.half_close(true).max_headers(1024).serve_connection(TokioIo::new(Whole(bytes)), service);
    if let Err(ended) = runtime.block_on(serving) {
        error.borrow_mut().get_or_insert(ended.to_string());
    }
    (found.take(), error.take())
}

/// An error: its body is malformed.
async fn read(request: Request<Incoming>) -> Result<Message, String> {
    let (parts, mut body) = request.into_parts();
    let mut message = Message {
        method: parts.method.as_str().as_bytes().to_vec(),
        target: parts.uri.to_string().into_bytes(),
        fields: parts.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())).collect(),
        ..Message::default()
    };
    loop {
        match body.frame().await {
            Some(Ok(frame)) => message.body.extend(frame.into_data().unwrap_or_default()),
            Some(Err(error)) if error.is_incomplete_message() => break,
            // An error of the body without a name of its own: the input ended within a chunk.
            Some(Err(error)) if format!("{error:?}").contains("UnexpectedEof") => break,
            Some(Err(error)) => return Err(format!("{error:?}")),
            None => {
                message.complete = true;
                break;
            }
        }
    }
    Ok(message)
}
