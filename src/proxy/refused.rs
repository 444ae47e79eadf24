//! The traces of requests and connections that end at the proxy: a counter with the reason, and a line in the access
//! log.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proxy::blame::Blame;
use crate::proxy::error::ProxyError;
use crate::proxy::kind::{Kind, Resource};
use crate::proxy::worker::Worker;
use crate::telemetry::access_log::{Entry, Header};
use crate::telemetry::refused::Refusal;

impl Kind {
    pub(crate) fn refusal(self) -> Option<Refusal> {
        match self {
            Kind::BadRequest => Some(Refusal::Malformed),
            Kind::RequestTimeout => Some(Refusal::SlowBody),
            Kind::NoRoute => Some(Refusal::NoRoute),
            Kind::BodyTooLarge => Some(Refusal::BodyTooLarge),
            Kind::NoEndpoint => Some(Refusal::NoEndpoint),
            Kind::NoPreview => Some(Refusal::NoPreview),
            Kind::LimitReached => Some(Refusal::MaxInFlight),
            Kind::HoldFull => Some(Refusal::HoldFull),
            Kind::HoldExpired => Some(Refusal::HoldExpired),
            Kind::Maintenance => Some(Refusal::Maintenance),
            Kind::Stopping => Some(Refusal::Stopping),
            Kind::Exhausted(Resource::Descriptors) => Some(Refusal::Descriptors),
            Kind::Exhausted(Resource::Ports) => Some(Refusal::Ports),
            Kind::Exhausted(Resource::Memory) => Some(Refusal::Memory),
            Kind::NoUpgrade => Some(Refusal::NotImplemented),
            Kind::Refused
            | Kind::NotTrusted
            | Kind::NameUnknown
            | Kind::ConnectTimeout
            | Kind::UpstreamClosed
            | Kind::BadAnswer
            | Kind::NotUpgraded
            | Kind::ResponseTimeout
            | Kind::BodyTimeout
            | Kind::DrainTimeout
            | Kind::StreamIdle
            | Kind::ClientStalled
            | Kind::ClientLeft => None,
        }
    }
}

/// Reports a head that never became a request. `status`: of the answer; 499 if the client left.
pub(crate) fn head(worker: &Worker, peer: SocketAddr, refusal: Refusal, status: u16) {
    let kind = match refusal {
        Refusal::Memory => Kind::Exhausted(Resource::Memory),
        _ if status == 499 => Kind::ClientLeft,
        _ => Kind::BadRequest,
    };
    report(worker, peer, refusal, status, ProxyError::from(kind).name(), kind.blame());
}

/// Reports requests of one connection that found no room. Each is counted; a burst has a few lines.
pub(crate) fn burst(worker: &Worker, peer: SocketAddr, refusal: Refusal, status: u16, count: u64) {
    for _ in 0..count {
        match worker.bursts_logged.admit(worker.now()) {
            Some(_) => head(worker, peer, refusal, status),
            None => worker.refuse(refusal),
        }
    }
}

/// Reports a connection that ended without an HTTP answer; at a bounded rate, in the process log as well.
pub(crate) fn connection(worker: &Worker, peer: SocketAddr, refusal: Refusal, error: &dyn Display) {
    report(worker, peer, refusal, 0, refusal.label(), Blame::Client);
    if let Some(suppressed) = worker.refusals_logged.admit(worker.now()) {
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
