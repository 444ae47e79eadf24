//! Why the proxy itself answers a request, and what it answers.
//!
//! Clients get a status, a `Proxy-Status` field (RFC 9209) and one plain sentence, as text or as JSON by `Accept`.
//! Nothing of an endpoint's address or of an inner error leaves the process; that is for the log.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::proxy::blame::Blame;
use crate::proxy::headers;
use crate::proxy::request::hold::Notice;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Ambiguous;
use crate::wire::http1::parse::Refused;

/// When a client may come back after a 503: health is probed every few seconds.
const RETRY_AFTER: &str = "2";

/// Why the proxy answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    RequestTimeout,
    NoRoute,
    BodyTooLarge,
    Refused,
    NotTrusted,
    NameUnknown,
    ConnectTimeout,
    UpstreamClosed,
    BadAnswer,
    /// The endpoint did not switch to the protocol that a tunnel needs.
    NotUpgraded,
    /// There is no way to ask the endpoint for a tunnel.
    NoUpgrade,
    NoEndpoint,
    NoPreview,
    LimitReached,
    HoldFull,
    HoldExpired,
    Maintenance,
    ResponseTimeout,
    BodyTimeout,
    DrainTimeout,
    Stopping,
    /// The proxy has no descriptors, ports or memory for it.
    Exhausted(Resource),
    /// A stream was quiet for `stream_idle_timeout`, at both ends.
    StreamIdle,
    /// The client took nothing of its answer for `idle_timeout`.
    ClientStalled,
    ClientLeft,
}

/// What the proxy itself may have run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// For connections to endpoints.
    Descriptors,
    /// To connect to one endpoint from.
    Ports,
    /// For bytes of messages, or in the kernel.
    Memory,
}

/// One reason, with a sentence of its own where the kind's is not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyError {
    pub(crate) kind: Kind,
    pub(crate) blame: Blame,
    detail: Option<&'static str>,
    /// What is said during maintenance.
    notice: Option<Arc<Notice>>,
}

impl From<Kind> for ProxyError {
    fn from(kind: Kind) -> ProxyError {
        ProxyError { kind, blame: kind.blame(), detail: None, notice: None }
    }
}

impl ProxyError {
    pub(crate) fn bad_request(detail: &'static str) -> ProxyError {
        ProxyError { detail: Some(detail), ..Kind::BadRequest.into() }
    }

    /// Where the place of the failure knows better than its kind.
    pub(crate) fn blamed(self, blame: Blame) -> ProxyError {
        ProxyError { blame, ..self }
    }

    pub(crate) fn no_route() -> ProxyError {
        Kind::NoRoute.into()
    }

    pub(crate) fn maintenance(notice: &Arc<Notice>) -> ProxyError {
        ProxyError { notice: Some(Arc::clone(notice)), ..Kind::Maintenance.into() }
    }

    pub(crate) fn status(&self) -> u16 {
        self.notice.as_ref().map_or(self.kind.row().0, |notice| notice.status)
    }

    /// The error's name in `Proxy-Status` and in the access log.
    pub(crate) fn name(&self) -> &'static str {
        self.kind.row().1
    }

    /// The answer for the client, and its body.
    pub(crate) fn answer(&self, asked: &Head, head: &mut Head) -> Cow<'_, str> {
        let (_, _, field, sentence) = self.kind.row();
        let status = self.status();
        let sentence = self.detail.unwrap_or(sentence);
        head.clear();
        if headers::is_grpc(asked) {
            // Trailers-only (the gRPC protocol over HTTP/2, "Responses"): whoever speaks it looks at nothing else.
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

    /// The connection can't be used after it: the rest of the request is unknown or unwanted.
    pub(crate) fn closes(&self) -> bool {
        matches!(self.kind, Kind::BadRequest | Kind::RequestTimeout | Kind::BodyTooLarge | Kind::Stopping)
    }
}

impl Kind {
    /// Status, name, `Proxy-Status`, sentence.
    fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Kind::BadRequest => {
                (400, "http_request_error", "cutover; error=http_request_error", "The request is malformed.")
            }
            Kind::RequestTimeout => {
                (408, "http_request_error", "cutover; error=http_request_error", "The request body stopped coming.")
            }
            Kind::NoRoute => (
                404,
                "destination_not_found",
                "cutover; error=destination_not_found",
                "There is no route for this host and path.",
            ),
            Kind::BodyTooLarge => {
                (413, "http_request_denied", "cutover; error=http_request_denied", "The request body is too large.")
            }
            Kind::Refused => (
                502,
                "connection_refused",
                "cutover; error=connection_refused",
                "The application refused the connection.",
            ),
            Kind::NotTrusted => (
                502,
                "tls_certificate_error",
                "cutover; error=tls_certificate_error",
                "The application could not be trusted.",
            ),
            Kind::NameUnknown => {
                (502, "dns_error", "cutover; error=dns_error", "The application's address is unknown.")
            }
            Kind::ConnectTimeout => (
                504,
                "connection_timeout",
                "cutover; error=connection_timeout",
                "The application could not be reached in time.",
            ),
            Kind::UpstreamClosed => (
                502,
                "connection_terminated",
                "cutover; error=connection_terminated",
                "The application closed the connection before it answered.",
            ),
            Kind::BadAnswer => (
                502,
                "http_protocol_error",
                "cutover; error=http_protocol_error",
                "The application's answer is not valid HTTP.",
            ),
            Kind::NotUpgraded => (
                502,
                "http_upgrade_failed",
                "cutover; error=http_upgrade_failed",
                "The application did not switch to the protocol that was asked for.",
            ),
            Kind::NoUpgrade => (
                501,
                "http_upgrade_failed",
                "cutover; error=http_upgrade_failed",
                "The application can't be asked for this protocol.",
            ),
            Kind::NoEndpoint => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable",
                "No instance of the application is healthy.",
            ),
            Kind::NoPreview => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"preview\"",
                "This is the preview, and no instance of the previewed release is healthy.",
            ),
            Kind::LimitReached => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached",
                "Too many requests are under way.",
            ),
            Kind::Exhausted(Resource::Descriptors) => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"descriptors\"",
                "The proxy has too many open connections.",
            ),
            Kind::Exhausted(Resource::Ports) => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"ports\"",
                "The proxy has too many connections to the application.",
            ),
            Kind::Exhausted(Resource::Memory) => (
                503,
                "proxy_internal_error",
                "cutover; error=proxy_internal_error; details=\"memory\"",
                "The proxy holds too much at once.",
            ),
            Kind::HoldFull => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"hold\"",
                "Too many requests are being held.",
            ),
            Kind::HoldExpired => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"hold\"",
                "The request was held for too long.",
            ),
            Kind::Maintenance => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"maintenance\"",
                "Down for maintenance.",
            ),
            Kind::ResponseTimeout => (
                504,
                "http_response_timeout",
                "cutover; error=http_response_timeout",
                "The application did not answer in time.",
            ),
            Kind::BodyTimeout => (
                504,
                "http_response_incomplete",
                "cutover; error=http_response_incomplete",
                "The application's answer stopped in the middle.",
            ),
            Kind::DrainTimeout => (
                504,
                "drain_timeout",
                "cutover; error=http_response_timeout; details=\"drain\"",
                "The release that began this request was retired before it answered.",
            ),
            Kind::Stopping => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"stopping\"",
                "The proxy is stopping.",
            ),
            // The next two happen in the middle of an answer, so only the log has them.
            Kind::StreamIdle => (
                504,
                "stream_idle",
                "cutover; error=http_response_timeout; details=\"idle\"",
                "The stream was idle for too long.",
            ),
            Kind::ClientStalled => (499, "client_stalled", "cutover", "The client took nothing of its answer."),
            // Never sent: there is nobody to read it. The number is nginx's, known to every log reader.
            Kind::ClientLeft => (499, "client_left", "cutover", "The client closed the connection."),
        }
    }
}

impl Kind {
    /// What ends a gRPC call after its answer has begun: without it clients take the reset for an error of the call.
    pub(crate) fn grpc_trailers(self) -> Head {
        let mut trailers = Head::default();
        trailers.push(b"grpc-status", self.grpc_status().as_bytes());
        trailers.push(b"grpc-message", self.row().3.as_bytes());
        trailers
    }

    /// The gRPC status that says it best (grpc/grpc, doc/http-grpc-status-mapping.md).
    fn grpc_status(self) -> &'static str {
        match self {
            // INTERNAL
            Kind::BadRequest | Kind::BadAnswer => "13",
            // UNIMPLEMENTED
            Kind::NoRoute | Kind::NotUpgraded | Kind::NoUpgrade => "12",
            // RESOURCE_EXHAUSTED
            Kind::BodyTooLarge | Kind::LimitReached | Kind::HoldFull | Kind::Exhausted(_) => "8",
            // DEADLINE_EXCEEDED
            Kind::ResponseTimeout | Kind::BodyTimeout | Kind::RequestTimeout => "4",
            // CANCELLED
            Kind::ClientLeft | Kind::ClientStalled => "1",
            // UNAVAILABLE: the client may try again.
            Kind::Refused
            | Kind::NotTrusted
            | Kind::NameUnknown
            | Kind::ConnectTimeout
            | Kind::UpstreamClosed
            | Kind::NoEndpoint
            | Kind::HoldExpired
            | Kind::Maintenance
            | Kind::NoPreview
            | Kind::DrainTimeout
            | Kind::StreamIdle
            | Kind::Stopping => "14",
        }
    }
}

impl From<Ambiguous> for ProxyError {
    fn from(Ambiguous(_): Ambiguous) -> ProxyError {
        ProxyError::bad_request("The request's framing is ambiguous.")
    }
}

/// The usual phrase for a status that is answered here.
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

/// The answer to a head that can't be served, as bytes: there is no request to answer yet.
pub(crate) fn refusal(refused: Refused) -> (u16, String) {
    match refused {
        Refused::Malformed(detail) => (400, refusal_as(400, detail)),
        Refused::TargetTooLong => (414, refusal_as(414, "The request target is too long.")),
        Refused::TooLarge | Refused::TooManyFields => (431, refusal_as(431, "The request head is too large.")),
        Refused::NoMemory => (503, refusal_as(503, Kind::Exhausted(Resource::Memory).row().3)),
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
        Kind::BadRequest.row().2,
    )
}

/// What a 408 says.
pub(crate) fn slow_head(limit: Duration) -> String {
    let limit = humantime::format_duration(limit);
    refusal_as(408, &format!("The request head was not complete within {limit}."))
}
