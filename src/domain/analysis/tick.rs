//! Everything seen in a second, as plain data that can be kept and replayed.
//!
//! Outcomes carry the tick in which their requests were assigned, because the split is known only there: a response
//! may come under another weight.

use std::time::Duration;

use super::histogram::{Quantiles, Thresholds};
use crate::domain::split::Weight;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arms<T> {
    pub stable: T,
    pub candidate: T,
}

impl Arms<u64> {
    pub(super) fn add(&mut self, other: Arms<u64>) {
        self.stable = self.stable.saturating_add(other.stable);
        self.candidate = self.candidate.saturating_add(other.candidate);
    }
}

impl Arms<Counts> {
    pub(super) fn add(&mut self, other: &Arms<Counts>) {
        self.stable.add(&other.stable);
        self.candidate.add(&other.candidate);
    }

    pub(super) fn subtract(&mut self, other: &Arms<Counts>) {
        self.stable.subtract(&other.stable);
        self.candidate.subtract(&other.candidate);
    }
}

/// Outcomes of requests. A request is charged to the color it was assigned to, even if the other one responded.
///
/// In a [keyed](Tick::keyed) deployment only evidence is counted: the events of one user share one coin, and a user
/// who knows its color can choose what to request (docs/blame.md). `completed` and `failed` are of a sample then, and
/// events may be of other requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub completed: u64,
    pub failed: u64,
    /// Errors that count as events: equal to `failed` unless the deployment is keyed.
    pub errors: u64,
    pub client_errors: u64,
    pub aborts: u64,
    /// Requests beyond each of the route's [`Thresholds`], counted when they pass it, finished or not. A request that
    /// fails at once is an error and never slow: errors that are tolerated must not come back as "slower".
    pub slow: [u64; 3],
    /// Responses that are neither an error nor 4xx; all of them, keyed or not.
    pub good: u64,
    /// 4xx; all of them, keyed or not.
    pub refused: u64,
}

impl Counts {
    pub(super) fn answered(&self) -> u64 {
        self.good.saturating_add(self.refused)
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.each(other, u64::saturating_add);
    }

    fn subtract(&mut self, other: &Counts) {
        self.each(other, u64::saturating_sub);
    }

    fn each(&mut self, other: &Counts, with: impl Fn(u64, u64) -> u64) {
        let Counts { completed, failed, errors, client_errors, aborts, slow, good, refused } = self;
        let [p50, p90, p99] = slow;
        for (mine, theirs) in [
            (completed, other.completed),
            (failed, other.failed),
            (errors, other.errors),
            (client_errors, other.client_errors),
            (aborts, other.aborts),
            (p50, other.slow[0]),
            (p90, other.slow[1]),
            (p99, other.slow[2]),
            (good, other.good),
            (refused, other.refused),
        ] {
            *mine = with(*mine, theirs);
        }
    }
}

/// Requests assigned in one tick, as far as they became known since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub tick: u64,
    pub weight: Weight,
    /// Requests of this route assigned in that tick: the same in each batch of that tick and route.
    pub assigned: Arms<u64>,
    pub done: Arms<Counts>,
}

/// Below this many requests per tick, the weight replaces the observed split: a second with one request has nothing to
/// compare with, and such seconds in a row would never say anything. Only the total decides which one is used, and
/// neither release can influence it, so the test stays valid.
pub(super) const FEW: u64 = 20;

impl Batch {
    pub(super) fn without_client_errors(mut self) -> Batch {
        for done in [&mut self.done.stable, &mut self.done.candidate] {
            (done.client_errors, done.refused, done.good) = (0, 0, 0);
        }
        self
    }

    /// Requests to the candidate per request to the stable release; `None`: nothing to compare.
    pub(super) fn odds(&self, keyed: bool) -> Option<f64> {
        let Arms { stable, candidate } = self.assigned;
        let (candidate, stable) = if keyed || stable.saturating_add(candidate) < FEW {
            (self.weight.share(), self.weight.rest().share())
        } else {
            (number(candidate), number(stable))
        };
        (candidate > 0.0 && stable > 0.0).then(|| candidate / stable)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTick {
    /// Routes are numbered in order of appearance. From [`Policy::max_routes`](super::Policy::max_routes) on they are
    /// one.
    pub slot: usize,
    pub name: String,
    /// Frozen when the step began; `None`: too little known to judge latency.
    pub thresholds: Option<Thresholds>,
    pub quantiles: Arms<Option<Quantiles>>,
    /// One batch per tick of assignment, oldest first.
    pub batches: Vec<Batch>,
    /// Keyed deployments: the part that counts among all routes together, where each user counts once and not once per
    /// route.
    pub overall: Option<Vec<Batch>>,
    /// Keyed deployments: all finished requests, for display.
    pub seen: Option<Arms<Seen>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub completed: u64,
    pub failed: u64,
}

impl RouteTick {
    pub(super) fn among_all(&self) -> &[Batch] {
        self.overall.as_deref().unwrap_or(&self.batches)
    }

    pub(super) fn seen(&self) -> Arms<Seen> {
        self.seen.unwrap_or_else(|| {
            let mut seen: Arms<Seen> = Arms::default();
            for Batch { done: Arms { stable, candidate }, .. } in &self.batches {
                seen.stable.add(Seen { completed: stable.completed, failed: stable.failed });
                seen.candidate.add(Seen { completed: candidate.completed, failed: candidate.failed });
            }
            seen
        })
    }
}

impl Seen {
    pub(super) fn add(&mut self, other: Seen) {
        self.completed = self.completed.saturating_add(other.completed);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// CPU time of one side in a window, without its idle use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuUse {
    pub busy: Duration,
    pub requests: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick {
    pub number: u64,
    /// Time since the deployment began.
    pub at: Duration,
    /// The candidate's weight at the end of the tick.
    pub weight: Weight,
    /// Users stay on a color: see [`Counts`]. The weight is then the exact share, since a hash of the user decided.
    pub keyed: bool,
    pub assigned: Arms<u64>,
    /// Present latencies on all routes, for display; `None`: too few.
    pub quantiles: Arms<Option<Quantiles>>,
    pub routes: Vec<RouteTick>,
    /// Failures of the candidate in this tick that no shared dependency can cause: no connection, a broken one, an
    /// invalid or truncated response.
    pub broken: u64,
    /// A window of CPU time that ended in this tick.
    pub cpu: Option<Arms<CpuUse>>,
    /// Keyed deployments: a minute that ended with this tick.
    pub minute: Option<Minute>,
    pub events: Vec<EventTick>,
}

/// One event in responses to the requests of one tick, as far as they became known since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventTick {
    /// Index into the [rules](super::Policy::events).
    pub event: usize,
    /// The tick of assignment; older ones share the newest of them.
    pub tick: u64,
    pub weight: Weight,
    /// At most [`EventRule::per_request`](super::EventRule::per_request) per response. With sticky users, those that
    /// count.
    pub told: Arms<u64>,
}

/// Users of about a minute with one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    pub weight: Weight,
    pub active: Arms<u64>,
    /// Users with any error, with errors in at least one of ten requests, and in at least one of two.
    pub bad: [Arms<u64>; 3],
    /// Ticks in which a request to the candidate failed.
    pub moments: u64,
}

/// Counts stay far below 2^53, where this would round; rounding would do no harm.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
