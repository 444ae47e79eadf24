//! One color's side of one upstream, as a request gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::split::Weight;
use crate::evidence::routes::AppEvent;
use crate::proxy::pool::Pool;
use crate::proxy::pool::stated::Stated;
use crate::proxy::snapshot::first_write::FirstWrite;
use crate::proxy::snapshot::lease::Lease;
use crate::proxy::snapshot::mark::Mark;
use crate::telemetry::meter::Meter;

pub(crate) type Admissions = Box<[Box<[Arc<Admission>]>]>;

/// The needs of a request on one color of one upstream. A request keeps it, and the lease with it, to the last byte.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) lease: Lease,
    pub(crate) pool: Arc<Pool>,
    pub(crate) timeouts: Timeouts,
    /// The index of the upstream in tables of workers.
    pub(crate) number: usize,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) generation: u64,
    pub(crate) release: Arc<str>,
    /// Endpoints are asked even while none is up.
    pub(crate) by_force: bool,
    pub(crate) first_write: Option<Arc<FirstWrite>>,
    pub(crate) stated: Option<Arc<Stated>>,
    pub(crate) events: Option<Arc<[Arc<AppEvent>]>>,
    pub(crate) preview: Option<Arc<Mark>>,
    pub(crate) shield: Option<Weight>,
    pub(crate) lingers: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) stream_idle_timeout: Duration,
}

/// `max_in_flight` of one upstream. Exact, so shared between cores; only where it is configured.
#[derive(Debug)]
pub(crate) struct Limit {
    max: AtomicU64,
    taken: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Place(Arc<Limit>);

impl Limit {
    pub(crate) fn new(max: u64) -> Limit {
        Limit { max: AtomicU64::new(max), taken: AtomicU64::new(0) }
    }

    /// Taken places stay taken.
    pub(super) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn take(self: &Arc<Limit>) -> Option<Place> {
        let max = self.max.load(Ordering::Relaxed);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < max).then_some(taken + 1))
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
