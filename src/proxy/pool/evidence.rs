//! The evidence of an endpoint: a moment, and only connections begun after it carry requests.
//!
//! A process that stops gracefully serves its open connections after another process has taken its port. A probe sees
//! the new process, an old connection leads to the old one. So the evidence moves with the passed probe of a gate, a
//! switch without a gate, a moment without a listener, a new label, an ejection. A request compares two integers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::proxy::clock;
use crate::proxy::pool::Endpoint;

#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// In nanoseconds of the clock.
    since: AtomicU64,
    /// Free connections are kept: the color serves, or is about to.
    keeps: AtomicBool,
}

impl Endpoint {
    /// Connections begun before `at` carry no further request.
    pub(crate) fn renew(&self, at: Instant) {
        self.evidence.since.fetch_max(clock::nanos(at), Ordering::Relaxed);
    }

    /// A connection carries requests if its [`begun`](clock::nanos) is greater.
    pub(crate) fn evidence(&self) -> u64 {
        self.evidence.since.load(Ordering::Relaxed)
    }

    pub(crate) fn keeps(&self) -> bool {
        self.evidence.keeps.load(Ordering::Relaxed)
    }

    /// The color serves, or is about to. Returns true if it did not before.
    pub(crate) fn keep(&self) -> bool {
        !self.evidence.keeps.swap(true, Ordering::Relaxed)
    }

    /// Closes free connections, and each that becomes free.
    pub(crate) fn stop_keeping(&self) {
        self.evidence.keeps.store(false, Ordering::Relaxed);
    }
}
