//! Why the proxy itself answers a request, and what it answers.
//!
//! Clients get a status, a `Proxy-Status` field (RFC 9209) and one plain sentence, as text or as JSON by `Accept`.
//! Nothing of an endpoint's address or of an inner error leaves the process; that is for the log.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::proxy::body::ResponseBody;

/// `Proxy-Status`, RFC 9209.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// When a client may come back after a 503: health is probed every few seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why the proxy answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    NoRoute,
    BodyTooLarge,
    Refused,
    NameUnknown,
    ConnectTimeout,
    UpstreamClosed,
    BadAnswer,
    NoEndpoint,
    LimitReached,
    ResponseTimeout,
    BodyTimeout,
    DrainTimeout,
    Stopping,
    ClientLeft,
}

/// One reason, with a sentence of its own where the kind's is not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyError {
    pub(crate) kind: Kind,
    detail: Option<&'static str>,
}

impl From<Kind> for ProxyError {
    fn from(kind: Kind) -> ProxyError {
        ProxyError { kind, detail: None }
    }
}

impl ProxyError {
    pub(crate) fn bad_request(detail: &'static str) -> ProxyError {
        ProxyError { kind: Kind::BadRequest, detail: Some(detail) }
    }

    pub(crate) fn no_route() -> ProxyError {
        Kind::NoRoute.into()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.row().0
    }

    /// The error's name in `Proxy-Status` and in the access log.
    pub(crate) fn name(&self) -> &'static str {
        self.kind.row().1
    }

    /// The answer for the client.
    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response<ResponseBody> {
        let (status, _, field, sentence) = self.kind.row();
        let sentence = self.detail.unwrap_or(sentence);
        let json = asked.get(ACCEPT).is_some_and(|accept| {
            let accept = accept.to_str().unwrap_or_default();
            accept.contains("json") && !accept.contains("text/html")
        });
        let (kind, body) = if json {
            ("application/json", format!("{{\"status\":{},\"error\":\"{sentence}\"}}\n", status.as_u16()))
        } else {
            ("text/plain; charset=utf-8", format!("{} {sentence}\n", status.as_u16()))
        };
        let mut response = Response::new(ResponseBody::own(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(PROXY_STATUS, HeaderValue::from_static(field));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The connection can't be used after it: the rest of the request is unknown or unwanted.
    fn closes(&self) -> bool {
        matches!(self.kind, Kind::BadRequest | Kind::BodyTooLarge | Kind::Stopping)
    }
}

impl Kind {
    /// Status, name, `Proxy-Status`, sentence.
    fn row(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Kind::BadRequest => (
                StatusCode::BAD_REQUEST,
                "http_request_error",
                "cutover; error=http_request_error",
                "The request is malformed.",
            ),
            Kind::NoRoute => (
                StatusCode::NOT_FOUND,
                "destination_not_found",
                "cutover; error=destination_not_found",
                "There is no route for this host and path.",
            ),
            Kind::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "http_request_denied",
                "cutover; error=http_request_denied",
                "The request body is too large.",
            ),
            Kind::Refused => (
                StatusCode::BAD_GATEWAY,
                "connection_refused",
                "cutover; error=connection_refused",
                "The application refused the connection.",
            ),
            Kind::NameUnknown => (
                StatusCode::BAD_GATEWAY,
                "dns_error",
                "cutover; error=dns_error",
                "The application's address is unknown.",
            ),
            Kind::ConnectTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "connection_timeout",
                "cutover; error=connection_timeout",
                "The application could not be reached in time.",
            ),
            Kind::UpstreamClosed => (
                StatusCode::BAD_GATEWAY,
                "connection_terminated",
                "cutover; error=connection_terminated",
                "The application closed the connection before it answered.",
            ),
            Kind::BadAnswer => (
                StatusCode::BAD_GATEWAY,
                "http_protocol_error",
                "cutover; error=http_protocol_error",
                "The application's answer is not valid HTTP.",
            ),
            Kind::NoEndpoint => (
                StatusCode::SERVICE_UNAVAILABLE,
                "destination_unavailable",
                "cutover; error=destination_unavailable",
                "No instance of the application is healthy.",
            ),
            Kind::LimitReached => (
                StatusCode::SERVICE_UNAVAILABLE,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached",
                "Too many requests are under way.",
            ),
            Kind::ResponseTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "cutover; error=http_response_timeout",
                "The application did not answer in time.",
            ),
            Kind::BodyTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "http_response_incomplete",
                "cutover; error=http_response_incomplete",
                "The application's answer stopped in the middle.",
            ),
            Kind::DrainTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "cutover; error=http_response_timeout; details=\"drain\"",
                "The release that began this request was retired before it answered.",
            ),
            Kind::Stopping => (
                StatusCode::SERVICE_UNAVAILABLE,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"stopping\"",
                "The proxy is stopping.",
            ),
            // Never sent: there is nobody to read it. The number is nginx's, known to every log reader.
            Kind::ClientLeft => (
                StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                "client_left",
                "cutover",
                "The client closed the connection.",
            ),
        }
    }
}

/// The answer to a head that can't be served, as bytes: there is no request to answer yet.
pub(crate) fn refusal(status: u16, detail: Option<&str>) -> String {
    let (reason, sentence) = match status {
        408 => ("Request Timeout", "The request head was not complete in time."),
        414 => ("URI Too Long", "The request target is too long."),
        431 => ("Request Header Fields Too Large", "The request head is too large."),
        505 => ("HTTP Version Not Supported", "Only HTTP/1.1 and HTTP/1.0 are spoken here."),
        _ => ("Bad Request", "The request is malformed."),
    };
    let body = format!("{status} {}\n", detail.unwrap_or(sentence));
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         proxy-status: {}\r\nconnection: close\r\n\r\n{body}",
        body.len(),
        Kind::BadRequest.row().2,
    )
}

/// What a 408 says.
pub(crate) fn slow_head(limit: Duration) -> String {
    let limit = humantime::format_duration(limit);
    refusal(408, Some(&format!("The request head was not complete within {limit}.")))
}
