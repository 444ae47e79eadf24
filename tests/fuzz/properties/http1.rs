//! One framing: whatever the proxy accepts on an HTTP/1.1 connection, hyper reads as the same messages.
//!
//! Differences that are known, with their reasons:
//!
//! | difference | reason |
//! |---|---|
//! | a target that `http::Uri` does not take, or writes in another way (`http://a` as `http://a/`) | the `http` crate parses targets; the proxy passes bytes on as they came |
//! | a request that hyper answers with an error | hyper may refuse more than the proxy; it must not read something else |
//! | a request that the proxy refuses, and hyper reads | the proxy refuses more, as a line that ends in LF alone, and ends the connection |
//! | requests behind the first one that hyper refuses, or that ends the connection | hyper reads no further |

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use cutover::fuzzing::{Message, http1_requests};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Compares what both read.
///
/// # Panics
///
/// If hyper reads another message.
pub(super) fn same_as_hyper(bytes: &[u8]) {
    let (ours, refused) = http1_requests(bytes);
    if ours.is_empty() {
        return;
    }
    let theirs = read_by_hyper(bytes);
    for (number, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(text(&our.method), text(&their.method), "method of {number}");
        assert_eq!(as_uri(&our.target), text(&their.target), "target of {number}");
        assert_eq!(fields(our), fields(their), "fields of {number}");
        assert_eq!(text(&our.body), text(&their.body), "body of {number}");
        assert_eq!(our.complete, their.complete, "end of {number}");
    }
    assert!(refused || theirs.len() <= ours.len(), "hyper reads {:?} behind {ours:?}", &theirs[ours.len()..]);
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
    fields
}

fn read_by_hyper(bytes: &[u8]) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let found = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&found);
    runtime.block_on(async move {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(bytes).await.expect("it fits");
        client.shutdown().await.expect("an open pipe");
        let service = service_fn(move |request: Request<Incoming>| {
            let sink = Rc::clone(&sink);
            async move {
                let message = read(request).await;
                sink.borrow_mut().extend(message);
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let serving =
            http1::Builder::new().half_close(true).max_headers(1024).serve_connection(TokioIo::new(server), service);
        let reading = async {
            let mut answers = Vec::new();
            let _ = client.read_to_end(&mut answers).await;
        };
        let _ = tokio::join!(serving, reading);
    });
    found.take()
}

/// `None`: its body is malformed.
async fn read(request: Request<Incoming>) -> Option<Message> {
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
            Some(Err(_)) => return None,
            None => {
                message.complete = true;
                break;
            }
        }
    }
    Some(message)
}
