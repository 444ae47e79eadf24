//! What was seen in a second: plain data, so that it can be kept and replayed.
//!
//! Outcomes carry the tick in which their requests were assigned, because only there is it known how requests were
//! shared: an answer may come when the weight is another one.

use std::time::Duration;

use super::histogram::{Quantiles, Thresholds};
use crate::domain::split::Weight;

/// A value for each side of the comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arms<T> {
    /// The release that is compared with.
    pub stable: T,
    /// The release that is watched.
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

    /// What was added before.
    pub(super) fn subtract(&mut self, other: &Arms<Counts>) {
        self.stable.subtract(&other.stable);
        self.candidate.subtract(&other.candidate);
    }
}

/// What came of requests. A request is charged to the color that it was assigned to, even if another answered in the
/// end.
///
/// In a [keyed](Tick::keyed) deployment only evidence is counted: the events of one user share one coin, and who knows
/// a user's color can choose what is asked for (docs/blame.md). `completed` and `failed` are of a sample then, and
/// events may be of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that are over, in whatever way.
    pub completed: u64,
    /// How many of them ended in an error.
    pub failed: u64,
    /// Errors that count as events: the same as `failed` unless the deployment is keyed.
    pub errors: u64,
    /// 4xx.
    pub client_errors: u64,
    /// Clients that left before the answer.
    pub aborts: u64,
    /// Requests beyond each of the route's [`Thresholds`], as soon as they are, though they be not over, and whatever
    /// comes of them. One that fails at once is not slow: it is an error, and so many of those as are tolerated there
    /// must not come back as "slower". That fewer were slow takes nothing from the evidence of errors.
    pub slow: [u64; 3],
    /// Answers that are neither an error nor 4xx: every one, in a keyed deployment, too.
    pub good: u64,
    /// 4xx: every one.
    pub refused: u64,
}

impl Counts {
    /// Good answers and 4xx.
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

/// What became known since the last tick of the requests that were assigned in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The tick in which they were assigned.
    pub tick: u64,
    /// The candidate's weight then.
    pub weight: Weight,
    /// How many of this route were assigned in that tick: the same in each batch of that tick and route.
    pub assigned: Arms<u64>,
    /// What became known since the last tick.
    pub done: Arms<Counts>,
}

/// Of fewer requests than this the real share says little: a second that has one request has none to compare it with,
/// and such seconds, one after the other, would never say anything. Each request was drawn by the weight, so the weight
/// is as true. Which of the two counts depends on how many there were, and that is not for either release to say.
pub(super) const FEW: u64 = 20;

impl Batch {
    pub(super) fn without_client_errors(mut self) -> Batch {
        for done in [&mut self.done.stable, &mut self.done.candidate] {
            (done.client_errors, done.refused, done.good) = (0, 0, 0);
        }
        self
    }

    /// How many requests the candidate was given for each one of the stable release; `None`: there is nothing to
    /// compare.
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

/// What was seen on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTick {
    /// Its place: routes are numbered as they first appear. From [`Policy::max_routes`](super::Policy::max_routes) on,
    /// all are one.
    pub slot: usize,
    /// Its name.
    pub name: String,
    /// What is slow here, frozen when the step began; `None`: not known well enough to judge latency.
    pub thresholds: Option<Thresholds>,
    /// What its latencies are at present, to be shown; `None`: too few.
    pub quantiles: Arms<Option<Quantiles>>,
    /// What became known, one batch for each tick of assignment, the oldest first.
    pub batches: Vec<Batch>,
    /// In a keyed deployment, what counts of it among all routes together, where each user counts once, and not once on
    /// each route.
    pub overall: Option<Vec<Batch>>,
    /// In a keyed deployment, all requests that are over, and how many of them failed; to be shown.
    pub seen: Option<Arms<Seen>>,
}

/// Requests, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// That are over.
    pub completed: u64,
    /// How many of them failed.
    pub failed: u64,
}

impl RouteTick {
    /// See [`RouteTick::overall`].
    pub(super) fn among_all(&self) -> &[Batch] {
        self.overall.as_deref().unwrap_or(&self.batches)
    }

    /// See [`RouteTick::seen`].
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

/// CPU time that a side has used in a window, less what it uses without requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuUse {
    /// CPU time.
    pub busy: Duration,
    /// Requests that it served meanwhile.
    pub requests: u64,
}

/// What was seen since the last tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Grows by one with each.
    pub number: u64,
    /// How long after the deployment began.
    pub at: Duration,
    /// The candidate's weight at the end of the tick.
    pub weight: Weight,
    /// Users stay with a color: see [`Counts`]. The share is then the weight itself, since a hash of the user decided.
    pub keyed: bool,
    /// Requests that were given to each side in this tick, on all routes.
    pub assigned: Arms<u64>,
    /// What latencies on all routes together are at present, to be shown; `None`: too few.
    pub quantiles: Arms<Option<Quantiles>>,
    /// Routes on which something became known.
    pub routes: Vec<RouteTick>,
    /// Failures of the candidate that became known in this tick and that no shared dependency can cause: no connection,
    /// one that broke, an answer that was none or was cut short.
    pub broken: u64,
    /// A window of CPU time that ended in this tick.
    pub cpu: Option<Arms<CpuUse>>,
    /// In a keyed deployment, a minute that ended with this tick.
    pub minute: Option<Minute>,
    /// Events that the application told.
    pub events: Vec<EventTick>,
}

/// What became known since the last tick of an event, in answers to requests that were assigned in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventTick {
    /// Its place among the [rules](super::Policy::events).
    pub event: usize,
    /// The tick in which the requests were assigned; of what is older, the newest of the older ones.
    pub tick: u64,
    /// The candidate's weight then.
    pub weight: Weight,
    /// How many: of one answer no more than [`EventRule::per_request`](super::EventRule::per_request). Where users
    /// stay, those that count.
    pub told: Arms<u64>,
}

/// Users of about a minute, in which requests were shared in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    /// The candidate's weight.
    pub weight: Weight,
    /// Users who had a request that ended.
    pub active: Arms<u64>,
    /// Of them, those with an error; with errors in one of ten requests, or more; in one of two.
    pub bad: [Arms<u64>; 3],
    /// Ticks in which a request to the candidate failed.
    pub moments: u64,
}

/// Counts are far below the 2^53 from which on this rounds, and rounding would do no harm.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
