//! One framing: whatever the proxy accepts on an HTTP/2 connection, the `h2` crate reads as the same messages.
//!
//! Differences that are known, with their reasons:
//!
//! | difference | reason |
//! |---|---|
//! | a connection or a stream that `h2` ends with an error | `h2` may refuse more than the proxy; it must not read something else |
//! | a target that `http::Uri` does not take | the `http` crate parses targets; the proxy passes bytes on as they came |
//! | a body that ends early | `h2` gives up all bodies of a connection that broke the rules |

use cutover::internals::fuzzing::{Message, http2_requests};

use super::whole::Whole;

/// Compares what both read.
///
/// # Panics
///
/// If `h2` reads another message.
pub(super) fn same_as_h2(bytes: &[u8]) {
    let (ours, _) = http2_requests(bytes);
    let ends_in_blank =
        |value: &[u8]| matches!(value.first(), Some(b' ' | b'\t')) || matches!(value.last(), Some(b' ' | b'\t'));
    for (name, value) in ours.iter().flat_map(|message| &message.fields) {
        assert!(!ends_in_blank(value), "{name:?} could not be written in HTTP/2: {value:?}");
    }
    let theirs = read_by_h2(bytes);
    // `h2` leaves out requests that it refuses: what it reads is found in the order of ours.
    let mut left = ours.iter();
    for their in &theirs {
        let found = left.by_ref().any(|our| same(our, their));
        assert!(found, "h2 reads {their:?}, which is none of {ours:?}");
    }
}

fn same(our: &Message, their: &Message) -> bool {
    let body = if their.complete { our.body == their.body && our.complete } else { our.body.starts_with(&their.body) };
    let plain = |message: &Message| {
        let mut fields: Vec<_> =
            message.fields.iter().filter(|(name, _)| name != b"host" && name != b"cookie").cloned().collect();
        fields.sort();
        fields
    };
    body && our.method == their.method && our.target == their.target && plain(our) == plain(their)
}

fn read_by_h2(bytes: &[u8]) -> Vec<Message> {
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let bytes = [BEGIN, bytes].concat();
    runtime.block_on(async {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol().max_header_list_size(64 << 10);
        let Ok(mut connection) = builder.handshake::<_, bytes::Bytes>(Whole(&bytes)).await else { return Vec::new() };
        let mut streams = Vec::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            streams.push((request, respond));
        }
        drop(connection);
        let mut found = Vec::new();
        for (request, _respond) in streams {
            found.push(read(request).await);
        }
        found
    })
}

async fn read(request: http::Request<h2::RecvStream>) -> Message {
    let (parts, mut body) = request.into_parts();
    let target = match parts.uri.path_and_query() {
        Some(path) => path.as_str().to_owned(),
        None => parts.uri.to_string(),
    };
    let mut message = Message {
        method: parts.method.as_str().as_bytes().to_vec(),
        target: target.into_bytes(),
        fields: parts.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec())).collect(),
        ..Message::default()
    };
    loop {
        match body.data().await {
            Some(Ok(data)) => {
                let _ = body.flow_control().release_capacity(data.len());
                message.body.extend_from_slice(&data);
            }
            Some(Err(_)) => break,
            None => {
                message.complete = body.is_end_stream();
                break;
            }
        }
    }
    message
}
