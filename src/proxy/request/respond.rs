//! The answer on its way to the client, and the proxy's own answers.

use std::rc::Rc;
use std::task::{Poll, ready};

use crate::proxy::client::Client;
use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::snapshot::mark::Mark;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::body::Framing;
use crate::wire::side::Side;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Next,
    /// Closed so that the client can read all of the answer.
    Close,
    /// The answer is not whole and must not look so, or the client has left.
    Cut,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) version: Version,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
}

impl Asked {
    pub(crate) fn new(head: &Head) -> Asked {
        Asked { version: head.version, to_head: head.is_method("HEAD"), keep_alive: headers::keeps_alive(head) }
    }
}

/// Completes the head for this framing, and begins the answer. Returns true if another request can follow.
pub(crate) fn begin(
    (client, slot): (&Client, &DeadlineSlot),
    side: &mut Side,
    asked: Asked,
    head: &mut Head,
    body: Framing,
) -> bool {
    let mut keep_alive = asked.keep_alive && !slot.is_parting();
    if !head.has(Name::Date) {
        head.push_known(Name::Date, &*client.worker.date());
    }
    let says_its_length = asked.to_head || matches!(head.status, 204 | 304) || head.has(Name::ContentLength);
    if body == Framing::None && asked.version != Version::Http2 && !says_its_length {
        // HTTP/2 ends an empty answer by a flag; HTTP/1.1 without a length reads to the end of the connection.
        head.push_known(Name::ContentLength, b"0");
    }
    let framing = match (body, asked.version) {
        (Framing::None | Framing::Length(_), _) | (_, Version::Http2) => body,
        (Framing::Chunked | Framing::UntilEnd, Version::Http11) => {
            head.push_known(Name::TransferEncoding, b"chunked");
            Framing::Chunked
        }
        (Framing::Chunked | Framing::UntilEnd, Version::Http10) => {
            keep_alive = false;
            Framing::UntilEnd
        }
    };
    match asked.version {
        Version::Http10 | Version::Http11 if !keep_alive => head.push_known(Name::Connection, b"close"),
        Version::Http10 => head.push_known(Name::Connection, b"keep-alive"),
        Version::Http11 | Version::Http2 => {}
    }
    side.begin_answer(head, framing);
    keep_alive
}

pub(crate) async fn respond_locally(
    (client, slot): (&Rc<Client>, &DeadlineSlot),
    side: &mut Side,
    mut asked: Asked,
    mut head: Head,
    body: &str,
) -> After {
    asked.keep_alive &= side.is_read();
    head.push_known(Name::ContentLength, body.len().to_string().as_bytes());
    let body = if asked.to_head { "" } else { body };
    let framing = if body.is_empty() { Framing::None } else { Framing::Length(body.len() as u64) };
    let keep_alive = begin((client, slot), side, asked, &mut head, framing);
    // A deadline of the request does not keep its answer from being sent.
    slot.take_fired();
    let mut left = body.as_bytes();
    client.worker.slots.enter(slot, Phase::Body, client.idle_timeout());
    let sent = std::future::poll_fn(|cx| {
        if matches!(slot.fired(), Some(Fired::Deadline | Fired::Cut)) {
            return Poll::Ready(false);
        }
        while !left.is_empty() {
            match ready!(side.poll_send(cx, left)) {
                Ok(sent) => left = &left[sent..],
                Err(_) => return Poll::Ready(false),
            }
        }
        side.poll_flush(cx).map(|flushed| flushed.is_ok())
    });
    match (sent.await, keep_alive) {
        (false, _) => After::Cut,
        (true, true) => After::Next,
        (true, false) => After::Close,
    }
}

pub(crate) async fn error(
    client: (&Rc<Client>, &DeadlineSlot),
    side: &mut Side,
    mut asked: Asked,
    request: &Head,
    error: &ProxyError,
    preview: Option<&Mark>,
) -> After {
    let mut head = Head::default();
    let body = error.answer(request, &mut head);
    if let Some(mark) = preview {
        mark.write(&mut head);
    }
    asked.keep_alive &= !error.closes();
    respond_locally(client, side, asked, head, &body).await
}
