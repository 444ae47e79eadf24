//! The traces of requests and connections that end at the proxy: a counter with the reason, and a line in the access
//! log.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proxy::blame::Blame;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::worker::Worker;
use crate::telemetry::access_log::{Entry, Header};
use crate::telemetry::refused::Refusal;

impl ErrorKind {
    pub(crate) fn refusal(self) -> Option<Refusal> {
        match self {
            ErrorKind::BadRequest => Some(Refusal::Malformed),
            ErrorKind::RequestTimeout => Some(Refusal::SlowBody),
            ErrorKind::NoRoute => Some(Refusal::NoRoute),
            ErrorKind::BodyTooLarge => Some(Refusal::BodyTooLarge),
            ErrorKind::NoEndpoint => Some(Refusal::NoEndpoint),
            ErrorKind::NoPreview => Some(Refusal::NoPreview),
            ErrorKind::LimitReached => Some(Refusal::MaxInFlight),
            ErrorKind::HoldFull => Some(Refusal::HoldFull),
            ErrorKind::HoldExpired => Some(Refusal::HoldExpired),
            ErrorKind::Maintenance => Some(Refusal::Maintenance),
            ErrorKind::Stopping => Some(Refusal::Stopping),
            ErrorKind::Exhausted(Resource::Descriptors) => Some(Refusal::Descriptors),
            ErrorKind::Exhausted(Resource::Ports) => Some(Refusal::Ports),
            ErrorKind::Exhausted(Resource::Memory) => Some(Refusal::Memory),
            ErrorKind::NoUpgrade => Some(Refusal::NotImplemented),
            ErrorKind::Refused
            | ErrorKind::NotTrusted
            | ErrorKind::NameUnknown
            | ErrorKind::ConnectTimeout
            | ErrorKind::UpstreamClosed
            | ErrorKind::BadAnswer
            | ErrorKind::NotUpgraded
            | ErrorKind::ResponseTimeout
            | ErrorKind::BodyTimeout
            | ErrorKind::DrainTimeout
            | ErrorKind::StreamIdle
            | ErrorKind::ClientStalled
            | ErrorKind::ClientLeft => None,
        }
    }
}

/// Reports a head that never became a request. `status`: of the answer; 499 if the client left.
pub(crate) fn head(worker: &Worker, peer: SocketAddr, refusal: Refusal, status: u16) {
    let kind = match refusal {
        Refusal::Memory => ErrorKind::Exhausted(Resource::Memory),
        _ if status == 499 => ErrorKind::ClientLeft,
        _ => ErrorKind::BadRequest,
    };
    report(worker, peer, refusal, status, ProxyError::from(kind).name(), kind.blame());
}

/// Reports requests of one connection that found no room. Each is counted; a burst has a few lines.
pub(crate) fn burst(worker: &Worker, peer: SocketAddr, refusal: Refusal, status: u16, count: u64) {
    for _ in 0..count {
        match worker.bursts_logged.allow(worker.now()) {
            Some(_) => head(worker, peer, refusal, status),
            None => worker.refuse(refusal),
        }
    }
}

/// Reports a connection that ended without an HTTP answer; at a bounded rate, in the process log as well.
pub(crate) fn connection(worker: &Worker, peer: SocketAddr, refusal: Refusal, error: &dyn Display) {
    report(worker, peer, refusal, 0, refusal.label(), Blame::Client);
    if let Some(suppressed) = worker.refusals_logged.allow(worker.now()) {
        tracing::info!(reason = refusal.label(), %peer, %error, suppressed, "connection refused");
    }
}

fn report(worker: &Worker, peer: SocketAddr, refusal: Refusal, status: u16, error: &'static str, blame: Blame) {
    worker.refuse(refusal);
    let mut logger = worker.logger.borrow_mut();
    if !logger.is_on() {
        return;
    }
    logger.log(&Entry {
        request_id: b"",
        trace_id: None,
        client: &peer.ip().to_canonical().to_string(),
        peer,
        method: "",
        host: b"",
        path: "",
        protocol: "",
        status,
        color: "",
        release: "",
        upstream: "",
        endpoint: "",
        generation: 0,
        preview: false,
        duration: Duration::ZERO,
        ttfb: None,
        upstream_time: None,
        bytes_in: 0,
        bytes_out: 0,
        retries: 0,
        grpc_status: None,
        shielded: false,
        lingered: false,
        refused: Some(refusal.label()),
        error: Some(error),
        blame: Some(blame.as_str()),
        header: Header(&|_| None),
    });
}
