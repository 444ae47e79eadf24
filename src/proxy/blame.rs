//! Blame for the end of a request.
//!
//! Blame is decided where a failure happens; the access log, ejection, retries and the evidence about a release follow
//! from it. **The rule:** an endpoint or a release is charged only with what it demonstrably did to a request that was
//! delivered to it whole and on time, and whose answer the client was ready to take. `docs/blame.md` has a row for each
//! way in which a request can end. A client that stops reading a response is charged
//! itself ([`ErrorKind::ClientStalled`]); a tunnel that its client stalls counts as good.

use std::time::Duration;

use crate::proxy::error_kind::ErrorKind;

/// The total wait for the client after which an upload is late: until it is whole, an endpoint that gives it up is not
/// charged.
pub(crate) const LATE: Duration = Duration::from_millis(100);
/// The wait for the client after which an answer is held up: an endpoint that breaks it off then is not charged.
pub(crate) const HELD_UP: Duration = Duration::from_secs(1);

/// A client that leaves sooner was not driven away by a slow release: a stranger can leave at any time.
pub(crate) const DRIVEN_AWAY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Its request, the way it was sent, or the way the answer was taken.
    Client,
    Proxy,
    /// A failure of a request that the endpoint had, or a refused connection. Counts for ejection and against the
    /// release.
    Endpoint,
    /// An error of the application, or no endpoint is up. Counts against the release only.
    Release,
    /// Two healthy ends and a clock, or a name server.
    Nobody,
}

impl Blame {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Proxy => "proxy",
            Blame::Endpoint => "endpoint",
            Blame::Release => "release",
            Blame::Nobody => "nobody",
        }
    }

    pub(crate) fn of_status(status: u16) -> Option<Blame> {
        match status {
            // Unknown methods and versions; an outsider chooses both.
            400..=499 | 501 | 505 => Some(Blame::Client),
            502..=504 => Some(Blame::Endpoint),
            500.. => Some(Blame::Release),
            _ => None,
        }
    }

    /// The request is evidence against the release that had it.
    pub(crate) fn is_charged(self) -> bool {
        matches!(self, Blame::Endpoint | Blame::Release)
    }
}

impl ErrorKind {
    /// The default, where the place of the failure knows no better.
    pub(crate) fn blame(self) -> Blame {
        match self {
            ErrorKind::BadRequest
            | ErrorKind::RequestTimeout
            | ErrorKind::NoRoute
            | ErrorKind::BodyTooLarge
            | ErrorKind::ClientStalled
            | ErrorKind::ClientLeft => Blame::Client,
            ErrorKind::Exhausted(_)
            | ErrorKind::LimitReached
            | ErrorKind::HoldFull
            | ErrorKind::HoldExpired
            | ErrorKind::Maintenance
            | ErrorKind::DrainTimeout
            | ErrorKind::Stopping => Blame::Proxy,
            ErrorKind::Refused
            | ErrorKind::NotTrusted
            | ErrorKind::ConnectTimeout
            | ErrorKind::UpstreamClosed
            | ErrorKind::BadAnswer
            | ErrorKind::ResponseTimeout
            | ErrorKind::BodyTimeout => Blame::Endpoint,
            ErrorKind::NoEndpoint | ErrorKind::NoPreview => Blame::Release,
            ErrorKind::NameUnknown | ErrorKind::StreamIdle | ErrorKind::NotUpgraded | ErrorKind::NoUpgrade => {
                Blame::Nobody
            }
        }
    }
}

/// The HTTP status with the same blame (the inverse of grpc/grpc, doc/http-grpc-status-mapping.md).
pub(crate) fn grpc_as_http(status: u16) -> u16 {
    match status {
        0 => 200,
        // CANCELLED by the client.
        1 => 499,
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
        2 | 4 | 13..=15 => 500,
        // UNIMPLEMENTED: no such method.
        12 => 404,
        _ => 400,
    }
}

/// The value of `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_blames_the_client_the_endpoint_or_the_release() {
        for (status, blame) in [
            (200, None),
            (304, None),
            (404, Some(Blame::Client)),
            (408, Some(Blame::Client)),
            (500, Some(Blame::Release)),
            (501, Some(Blame::Client)),
            (502, Some(Blame::Endpoint)),
            (504, Some(Blame::Endpoint)),
            (505, Some(Blame::Client)),
            (599, Some(Blame::Release)),
        ] {
            assert_eq!(Blame::of_status(status), blame, "{status}");
        }
    }

    #[test]
    fn a_grpc_status_that_the_client_brought_about_is_no_error_of_the_release() {
        for (status, http) in
            [(0, 200), (1, 499), (2, 500), (3, 400), (4, 500), (12, 404), (13, 500), (14, 500), (16, 400)]
        {
            assert_eq!(grpc_as_http(status), http, "{status}");
        }
    }

    #[test]
    fn a_grpc_timeout_has_digits_and_a_unit() {
        assert_eq!(grpc_timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(grpc_timeout(b"1n"), Some(Duration::from_nanos(1)));
        for wrong in [&b""[..], b"m", b"1", b"-1S", b"1s", b"999999999S"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong:?}");
        }
    }
}
