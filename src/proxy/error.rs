//! The proxy's own error answers.
//!
//! A client gets a status, a `Proxy-Status` field (RFC 9209) and one plain sentence, as text or as JSON by `Accept`. An
//! endpoint's address or an inner error stays in the log.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::proxy::blame::Blame;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::headers::{self, BadHost};
use crate::proxy::notice::Notice;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Ambiguous;
use crate::wire::http1::parse::Refused;

/// In seconds; health is probed every few seconds.
const RETRY_AFTER: &str = "2";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyError {
    pub(crate) kind: ErrorKind,
    pub(crate) blame: Blame,
    detail: Option<&'static str>,
    notice: Option<Arc<Notice>>,
}

impl From<ErrorKind> for ProxyError {
    fn from(kind: ErrorKind) -> ProxyError {
        ProxyError { kind, blame: kind.blame(), detail: None, notice: None }
    }
}

impl ProxyError {
    pub(crate) fn bad_request(detail: &'static str) -> ProxyError {
        ProxyError { detail: Some(detail), ..ErrorKind::BadRequest.into() }
    }

    /// For a place of failure that knows better than the kind.
    pub(crate) fn blamed(self, blame: Blame) -> ProxyError {
        ProxyError { blame, ..self }
    }

    pub(crate) fn no_route() -> ProxyError {
        ErrorKind::NoRoute.into()
    }

    pub(crate) fn maintenance(notice: &Arc<Notice>) -> ProxyError {
        ProxyError { notice: Some(Arc::clone(notice)), ..ErrorKind::Maintenance.into() }
    }

    pub(crate) fn status(&self) -> u16 {
        self.notice.as_ref().map_or(self.kind.row().0, |notice| notice.status)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.row().1
    }

    pub(crate) fn answer(&self, asked: &Head, head: &mut Head) -> Cow<'_, str> {
        let (_, _, field, sentence) = self.kind.row();
        let status = self.status();
        let sentence = self.detail.unwrap_or(sentence);
        head.clear();
        if headers::is_grpc(asked) {
            // Trailers-only (the gRPC protocol over HTTP/2, "Responses"): a gRPC client reads no body.
            head.set_status_line(200, b"OK");
            head.push_known(Name::ContentType, b"application/grpc");
            head.push(b"grpc-status", self.kind.grpc_status().as_bytes());
            head.push(b"grpc-message", sentence.as_bytes());
            head.push(b"proxy-status", field.as_bytes());
            return Cow::Borrowed("");
        }
        let json =
            asked.text(Name::Accept).is_some_and(|accept| accept.contains("json") && !accept.contains("text/html"));
        let page = self.notice.as_ref().and_then(|notice| notice.page.as_deref());
        let (kind, body) = match page {
            _ if json => ("application/json", format!("{{\"status\":{status},\"error\":\"{sentence}\"}}\n").into()),
            Some(page) => (page.content_type, Cow::Borrowed(&*page.text)),
            None => ("text/plain; charset=utf-8", format!("{status} {sentence}\n").into()),
        };
        head.set_status_line(status, reason(status).as_bytes());
        head.push_known(Name::ContentType, kind.as_bytes());
        head.push(b"proxy-status", field.as_bytes());
        match &self.notice {
            Some(notice) if notice.retry_after >= Duration::from_secs(1) => {
                head.push(b"retry-after", notice.retry_after.as_secs().to_string().as_bytes());
            }
            None if status == 503 => head.push(b"retry-after", RETRY_AFTER.as_bytes()),
            Some(_) | None => {}
        }
        body
    }

    /// The rest of the request is unknown or unwanted, so the connection ends with the answer.
    pub(crate) fn closes(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::BadRequest | ErrorKind::RequestTimeout | ErrorKind::BodyTooLarge | ErrorKind::Stopping
        )
    }
}

impl From<BadHost> for ProxyError {
    fn from(BadHost(detail): BadHost) -> ProxyError {
        ProxyError::bad_request(detail)
    }
}

impl From<Ambiguous> for ProxyError {
    fn from(Ambiguous(_): Ambiguous) -> ProxyError {
        ProxyError::bad_request("The request's framing is ambiguous.")
    }
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

/// The answer, as bytes, to a head that never became a request.
pub(crate) fn refusal(refused: Refused) -> (u16, String) {
    match refused {
        Refused::Malformed(detail) => (400, refusal_as(400, detail)),
        Refused::TargetTooLong => (414, refusal_as(414, "The request target is too long.")),
        Refused::TooLarge | Refused::TooManyFields => (431, refusal_as(431, "The request head is too large.")),
        Refused::NoMemory => (503, refusal_as(503, ErrorKind::Exhausted(Resource::Memory).row().3)),
    }
}

fn refusal_as(status: u16, detail: &str) -> String {
    let body = format!("{status} {detail}\n");
    let retry_after = if status == 503 { format!("retry-after: {RETRY_AFTER}\r\n") } else { String::new() };
    format!(
        "HTTP/1.1 {status} {}\r\n{retry_after}content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         proxy-status: {}\r\nconnection: close\r\n\r\n{body}",
        reason(status),
        body.len(),
        ErrorKind::BadRequest.row().2,
    )
}

pub(crate) fn slow_head(limit: Duration) -> String {
    let limit = humantime::format_duration(limit);
    refusal_as(408, &format!("The request head was not complete within {limit}."))
}
