//! The log's line for a refused answer: the rule that it breaks, and the bytes.

use crate::proxy::request::exchange::Exchange;
use crate::wire::head::{Head, Name};
use crate::wire::http1::parse::Refused;

const SHOWN: usize = 120;

#[cold]
pub(super) fn refused(exchange: &Exchange, refused: Refused, line: &[u8]) {
    let limits = exchange.target().1.rules().limits();
    match refused {
        Refused::Malformed(rule) => tell(exchange, rule, line),
        Refused::TooManyFields => {
            let rule = format!("The answer has more fields than max_response_headers ({}).", limits.fields);
            tell(exchange, &rule, b"");
        }
        Refused::TooLarge | Refused::TargetTooLong | Refused::NoMemory => {
            let rule = format!("The head is larger than max_response_header_bytes ({}).", limits.bytes);
            tell(exchange, &rule, b"");
        }
    }
}

#[cold]
pub(super) fn ambiguous(exchange: &Exchange, rule: &str, answer: &Head) {
    let mut fields = Vec::new();
    for name in [Name::ContentLength, Name::TransferEncoding] {
        for value in answer.all(name) {
            fields.extend_from_slice(&[name.as_str().as_bytes(), b": ", value, b"\r\n"].concat());
        }
    }
    tell(exchange, rule, &fields);
}

#[cold]
pub(super) fn not_asked_for(exchange: &Exchange, answer: &Head) {
    let named = answer.get(Name::Upgrade).unwrap_or_default();
    let rule = match answer.status {
        101 => "A 101 has to name a protocol that the request offers.",
        _ => "An extended CONNECT needs a 101 from an endpoint that speaks HTTP/1.1.",
    };
    tell(exchange, rule, &[answer.status.to_string().as_bytes(), b" upgrade: ", named].concat());
}

#[cold]
pub(super) fn tell(exchange: &Exchange, rule: &str, bytes: &[u8]) {
    let worker = &exchange.client.worker;
    let Some(suppressed) = worker.bad_answers.allow(worker.now()) else { return };
    let (endpoint, pool) = exchange.target();
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    let cut = bytes.len().saturating_sub(SHOWN);
    tracing::warn!(
        color = %pool.color, upstream = %pool.upstream, endpoint = %endpoint.name, rule, received = %shown, cut, suppressed,
        "answer refused"
    );
}
