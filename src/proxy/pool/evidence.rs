//! Since when a connection to an endpoint may carry requests.
//!
//! A process that stops gracefully lives on for its open connections after another one has taken its port. A probe sees
//! the new process, an old connection still leads to the old one. So an endpoint has a moment, its *evidence*, and only
//! a connection that was begun after it carries requests: the passed probe of a gate, the order of a move without one,
//! the last time that nobody listened or another label was put on, an ejection. A request compares two integers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::proxy::clock;
use crate::proxy::pool::Endpoint;

/// What decides whether a connection is used.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// In nanoseconds of the clock.
    since: AtomicU64,
    /// Free connections are kept: the color serves, or is about to.
    keeps: AtomicBool,
}

impl Endpoint {
    /// Connections that were begun before this moment carry no request any more.
    pub(crate) fn renew(&self, at: Instant) {
        self.evidence.since.fetch_max(clock::nanos(at), Ordering::Relaxed);
    }

    /// A connection carries requests if its [`begun`](clock::nanos) is beyond this.
    pub(crate) fn evidence(&self) -> u64 {
        self.evidence.since.load(Ordering::Relaxed)
    }

    /// Whether its free connections are kept for the next request.
    pub(crate) fn keeps(&self) -> bool {
        self.evidence.keeps.load(Ordering::Relaxed)
    }

    /// It serves from now on, or is about to; true: it was not before.
    pub(crate) fn keep(&self) -> bool {
        !self.evidence.keeps.swap(true, Ordering::Relaxed)
    }

    /// It does not serve any more: what is free is closed, and what becomes free.
    pub(crate) fn stop_keeping(&self) {
        self.evidence.keeps.store(false, Ordering::Relaxed);
    }
}
