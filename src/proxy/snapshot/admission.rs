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

/// One color's side of each upstream, by upstream, then by worker.
pub(crate) type Admissions = Box<[Box<[Arc<Admission>]>]>;

/// What a worker needs to serve a request on one color of one upstream. A request keeps it to its last byte, and with
/// it the lease.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) lease: Lease,
    pub(crate) pool: Arc<Pool>,
    pub(crate) policy: Policy,
    /// Of the upstream, where workers keep something by upstream.
    pub(crate) number: usize,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) generation: u64,
    pub(crate) release: Arc<str>,
    /// Endpoints are asked also while no check of any passes: somebody knows better.
    pub(crate) by_force: bool,
    /// Where the release can be taken back only until its first write.
    pub(crate) first_write: Option<Arc<FirstWrite>>,
    /// Where answers say which release they are of.
    pub(crate) stated: Option<Arc<Stated>>,
    /// What its answers may tell; `None`: nothing is listened to.
    pub(crate) events: Option<Arc<[Arc<AppEvent>]>>,
    /// The color does not serve; what answers have to say then.
    pub(crate) preview: Option<Arc<Mark>>,
    /// What fails here may be asked again of the other color, and at most so much of it.
    pub(crate) shield: Option<Weight>,
    /// What is not here may be asked of the other color.
    pub(crate) lingers: bool,
}

/// The timeouts of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) stream_idle_timeout: Duration,
}

/// `max_in_flight` of one upstream, over all workers. Exact, and so shared between cores; only where it is configured.
#[derive(Debug)]
pub(crate) struct Limit {
    max: AtomicU64,
    taken: AtomicU64,
}

/// A place under a [`Limit`].
#[derive(Debug)]
pub(crate) struct Place(Arc<Limit>);

impl Limit {
    pub(crate) fn new(max: u64) -> Limit {
        Limit { max: AtomicU64::new(max), taken: AtomicU64::new(0) }
    }

    /// Places that are taken stay taken.
    pub(super) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes a place, if there is one.
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
