//! The head of an endpoint's response as the client gets it.

use crate::proxy::error_kind::ErrorKind;
use crate::proxy::headers;
use crate::proxy::request::bad_answer;
use crate::proxy::request::event;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::linger;
use crate::proxy::request::respond::Asked;
use crate::proxy::request::shield;
use crate::proxy::request::upgrade;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::body::{Ambiguous, Framing};

pub(super) struct Checked {
    pub(super) framing: Framing,
    pub(super) switches: bool,
    pub(super) keeps_connection: bool,
}

pub(super) fn check(
    exchange: &Exchange,
    answer: &Head,
    asked: Asked,
    no_body: bool,
    upgrade: bool,
) -> Result<Checked, ErrorKind> {
    let framing = match no_body {
        true => Framing::None,
        false => Framing::of_answer(answer, asked.to_head).map_err(|Ambiguous(rule)| {
            bad_answer::ambiguous(exchange, rule, answer);
            ErrorKind::BadAnswer
        })?,
    };
    if headers::lists_too_many(answer) {
        bad_answer::tell(exchange, "Connection has more members than a message needs.", b"");
        return Err(ErrorKind::BadAnswer);
    }
    let switches = upgrade::is_granted(answer, &exchange.head, upgrade)
        .inspect_err(|_| bad_answer::not_asked_for(exchange, answer))?;
    let ends_with_body = framing == Framing::UntilEnd && answer.version != Version::Http2;
    let keeps_connection = headers::keeps_alive(answer) && !ends_with_body;
    Ok(Checked { framing, switches, keeps_connection })
}

pub(super) fn rewrite(exchange: &mut Exchange, answer: &mut Head, asked: Asked, switches: bool) {
    // A 426 names the protocol to upgrade to (RFC 9110, 15.5.22); HTTP/2 has no such field.
    let tells_upgrade = switches || (answer.status == 426 && asked.version != Version::Http2);
    headers::to_client(answer, tells_upgrade, exchange.via);
    if matches!(answer.status, 100..=199 | 204) {
        answer.remove(Name::ContentLength);
    }
    exchange.note_answer(answer.status);
    if answer.has(Name::CutoverEvent) {
        event::tell(exchange, answer);
    }
    exchange.give_visitor_cookie(answer);
    if let Some(mark) = &exchange.preview {
        mark.write(answer);
    }
    if exchange.report.is_shielded() {
        shield::mark(answer);
    }
    if exchange.report.is_lingered() {
        linger::mark(answer);
    }
}

pub(super) fn note_streaming(exchange: &mut Exchange, answer: &Head) -> bool {
    const ENDLESS: [&str; 2] = ["text/event-stream", "multipart/x-mixed-replace"];
    let grpc = headers::is_grpc(answer);
    if grpc {
        exchange.report.note_grpc_status(answer);
    }
    let kind = answer.text(Name::ContentType);
    if grpc || kind.is_some_and(|kind| ENDLESS.iter().any(|endless| kind.starts_with(endless))) {
        exchange.set_streaming(grpc);
    }
    grpc
}
