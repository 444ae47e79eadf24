//! The reasons for which the proxy itself ends a request, with their names.

use crate::wire::head::Head;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
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
    NotUpgraded,
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
    Exhausted(Resource),
    /// Both ends of a stream were quiet for `stream_idle_timeout`.
    StreamIdle,
    /// The client took nothing of its answer for `idle_timeout`.
    ClientStalled,
    ClientLeft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Descriptors,
    Ports,
    Memory,
}

impl ErrorKind {
    pub(crate) fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            ErrorKind::BadRequest => {
                (400, "http_request_error", "cutover; error=http_request_error", "The request is malformed.")
            }
            ErrorKind::RequestTimeout => {
                (408, "http_request_error", "cutover; error=http_request_error", "The request body stopped coming.")
            }
            ErrorKind::NoRoute => (
                404,
                "destination_not_found",
                "cutover; error=destination_not_found",
                "There is no route for this host and path.",
            ),
            ErrorKind::BodyTooLarge => {
                (413, "http_request_denied", "cutover; error=http_request_denied", "The request body is too large.")
            }
            ErrorKind::Refused => (
                502,
                "connection_refused",
                "cutover; error=connection_refused",
                "The application refused the connection.",
            ),
            ErrorKind::NotTrusted => (
                502,
                "tls_certificate_error",
                "cutover; error=tls_certificate_error",
                "The application could not be trusted.",
            ),
            ErrorKind::NameUnknown => {
                (502, "dns_error", "cutover; error=dns_error", "The application's address is unknown.")
            }
            ErrorKind::ConnectTimeout => (
                504,
                "connection_timeout",
                "cutover; error=connection_timeout",
                "The application could not be reached in time.",
            ),
            ErrorKind::UpstreamClosed => (
                502,
                "connection_terminated",
                "cutover; error=connection_terminated",
                "The application closed the connection before it answered.",
            ),
            ErrorKind::BadAnswer => (
                502,
                "http_protocol_error",
                "cutover; error=http_protocol_error",
                "The application's answer is not valid HTTP.",
            ),
            ErrorKind::NotUpgraded => (
                502,
                "http_upgrade_failed",
                "cutover; error=http_upgrade_failed",
                "The application did not switch to the protocol that was asked for.",
            ),
            ErrorKind::NoUpgrade => (
                501,
                "http_upgrade_failed",
                "cutover; error=http_upgrade_failed",
                "The application can't be asked for this protocol.",
            ),
            ErrorKind::NoEndpoint => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable",
                "No instance of the application is healthy.",
            ),
            ErrorKind::NoPreview => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"preview\"",
                "This is the preview, and no instance of the previewed release is healthy.",
            ),
            ErrorKind::LimitReached => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached",
                "Too many requests are in flight.",
            ),
            ErrorKind::Exhausted(Resource::Descriptors) => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"descriptors\"",
                "The proxy has too many open connections.",
            ),
            ErrorKind::Exhausted(Resource::Ports) => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"ports\"",
                "The proxy has too many connections to the application.",
            ),
            ErrorKind::Exhausted(Resource::Memory) => (
                503,
                "proxy_internal_error",
                "cutover; error=proxy_internal_error; details=\"memory\"",
                "The proxy holds too much at once.",
            ),
            ErrorKind::HoldFull => (
                503,
                "connection_limit_reached",
                "cutover; error=connection_limit_reached; details=\"hold\"",
                "Too many requests are being held.",
            ),
            ErrorKind::HoldExpired => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"hold\"",
                "The request was held for too long.",
            ),
            ErrorKind::Maintenance => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"maintenance\"",
                "Down for maintenance.",
            ),
            ErrorKind::ResponseTimeout => (
                504,
                "http_response_timeout",
                "cutover; error=http_response_timeout",
                "The application did not answer in time.",
            ),
            ErrorKind::BodyTimeout => (
                504,
                "http_response_incomplete",
                "cutover; error=http_response_incomplete",
                "The application's answer stopped in the middle.",
            ),
            ErrorKind::DrainTimeout => (
                504,
                "drain_timeout",
                "cutover; error=http_response_timeout; details=\"drain\"",
                "The release that began this request was retired before it answered.",
            ),
            ErrorKind::Stopping => (
                503,
                "destination_unavailable",
                "cutover; error=destination_unavailable; details=\"stopping\"",
                "The proxy is stopping.",
            ),
            // The next two happen in the middle of an answer, so only the log has them.
            ErrorKind::StreamIdle => (
                504,
                "stream_idle",
                "cutover; error=http_response_timeout; details=\"idle\"",
                "The stream was idle for too long.",
            ),
            ErrorKind::ClientStalled => (499, "client_stalled", "cutover", "The client took nothing of its answer."),
            // Never sent. The number is nginx's, known to every log reader.
            ErrorKind::ClientLeft => (499, "client_left", "cutover", "The client closed the connection."),
        }
    }
}

impl ErrorKind {
    /// The end of a gRPC call whose answer has begun: a bare reset would look like an error of the call.
    pub(crate) fn grpc_trailers(self) -> Head {
        let mut trailers = Head::default();
        trailers.push(b"grpc-status", self.grpc_status().as_bytes());
        trailers.push(b"grpc-message", self.row().3.as_bytes());
        trailers
    }

    /// See grpc/grpc, doc/http-grpc-status-mapping.md.
    pub(crate) fn grpc_status(self) -> &'static str {
        match self {
            // INTERNAL
            ErrorKind::BadRequest | ErrorKind::BadAnswer => "13",
            // UNIMPLEMENTED
            ErrorKind::NoRoute | ErrorKind::NotUpgraded | ErrorKind::NoUpgrade => "12",
            // RESOURCE_EXHAUSTED
            ErrorKind::BodyTooLarge | ErrorKind::LimitReached | ErrorKind::HoldFull | ErrorKind::Exhausted(_) => "8",
            // DEADLINE_EXCEEDED
            ErrorKind::ResponseTimeout | ErrorKind::BodyTimeout | ErrorKind::RequestTimeout => "4",
            // CANCELLED
            ErrorKind::ClientLeft | ErrorKind::ClientStalled => "1",
            // UNAVAILABLE: the client may try again.
            ErrorKind::Refused
            | ErrorKind::NotTrusted
            | ErrorKind::NameUnknown
            | ErrorKind::ConnectTimeout
            | ErrorKind::UpstreamClosed
            | ErrorKind::NoEndpoint
            | ErrorKind::HoldExpired
            | ErrorKind::Maintenance
            | ErrorKind::NoPreview
            | ErrorKind::DrainTimeout
            | ErrorKind::StreamIdle
            | ErrorKind::Stopping => "14",
        }
    }
}
