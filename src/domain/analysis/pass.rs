//! Evidence that the candidate is *not* worse. Little traffic also shows nothing bad, so an advance needs proof as
//! much as a rollback does.
//!
//! The proof starts anew with each step: 5 % of the traffic says nothing about the load of 50 %.

use std::time::Duration;

use super::evidence::{Ratio, Share, ln_add};
use super::policy::Policy;
use super::tick::{Arms, Batch, number};
use crate::domain::split::Weight;

/// Judged latencies that are enough to advance if nothing was found.
pub(super) const LOOKED_AT: u64 = 50;

/// Least time: within a second nothing would be found.
const SOONEST: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pass {
    first: u64,
    absolute: Share,
    relative: Ratio,
    requests: Arms<u64>,
    failed: Arms<u64>,
    /// Events of the comparison; with sticky users fewer than failures.
    events: Arms<u64>,
    odds: Option<f64>,
    /// Judged latencies of this step's requests to the candidate, and the first judged moment.
    timed: u64,
    timed_since: Option<Duration>,
    at: Duration,
    can_be_timed: bool,
}

impl Pass {
    pub(super) fn new(policy: &Policy, first: u64) -> Pass {
        Pass {
            first,
            absolute: Share::below(policy.pass_error_below),
            relative: Ratio::below(policy.pass_ratio),
            requests: Arms::default(),
            failed: Arms::default(),
            events: Arms::default(),
            odds: None,
            timed: 0,
            timed_since: None,
            at: Duration::ZERO,
            can_be_timed: false,
        }
    }

    pub(super) fn observe_latency(&mut self, batch: &Batch, at: Duration) {
        if batch.tick >= self.first {
            self.timed = self.timed.saturating_add(batch.done.candidate.completed);
            self.timed_since.get_or_insert(at);
        }
    }

    pub(super) fn time(&mut self, at: Duration, can_be_timed: bool) {
        self.at = at;
        self.can_be_timed |= can_be_timed;
    }

    /// Latency was judged for a third of the warm-up, some seconds, and enough requests; or it can't be judged. A
    /// route with at most one of ten requests does not hold up the others.
    pub(super) fn knows_latency(&self, policy: &Policy, warm: bool) -> bool {
        if !self.can_be_timed {
            return true;
        }
        let least = (policy.warmup_time / 3).max(SOONEST);
        let long = self.timed_since.is_some_and(|since| self.at.saturating_sub(since) >= least);
        let many = policy.warmup_requests.min(LOOKED_AT);
        let enough = self.timed >= many || self.requests.candidate >= 10 * many.max(1);
        warm && long && enough
    }

    pub(super) fn observe(&mut self, batch: &Batch, keyed: bool) {
        if batch.tick < self.first {
            return;
        }
        let Arms { stable, candidate } = &batch.done;
        self.requests.add(Arms { stable: stable.completed, candidate: candidate.completed });
        self.failed.add(Arms { stable: stable.failed, candidate: candidate.failed });
        self.absolute.observe(candidate.completed, candidate.failed);
        if batch.weight != Weight::ALL
            && let Some(odds) = batch.odds(keyed)
        {
            self.relative.observe(odds, candidate.errors, stable.errors);
            self.events.add(Arms { stable: stable.errors, candidate: candidate.errors });
            self.odds = Some(batch.weight.share() / batch.weight.rest().share());
        }
    }

    pub(super) fn ln_evidence(&self) -> f64 {
        ln_add(self.absolute.ln_evidence(0.0), self.relative.ln_evidence(0.0)) - std::f64::consts::LN_2
    }

    /// Requests to the candidate that are needed before any are seen.
    #[must_use]
    pub(super) fn requests_at_first(policy: &Policy) -> u64 {
        Pass::new(policy, 0).requests_needed(policy).unwrap_or_default()
    }

    /// `None`: each request takes it further away.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and never negative")]
    pub(super) fn requests_needed(&self, policy: &Policy) -> Option<u64> {
        let target = std::f64::consts::LN_2 - policy.pass_beta.ln();
        let needed = |evidence: f64, gain: f64| (gain > 0.0).then(|| ((target - evidence).max(0.0) / gain).ceil());
        let absolute = {
            // A prior of fifty requests: the stable release's share for the candidate, and a tenth of the bad share
            // for the stable release; otherwise little traffic would seem to need ten times as much.
            let bad = policy.pass_error_below;
            let stable = (number(self.failed.stable) + 5.0 * bad)
                / (number(self.requests.stable.max(self.failed.stable)) + 50.0);
            let requests = number(self.requests.candidate.max(self.failed.candidate));
            let share = (number(self.failed.candidate) + 50.0 * stable) / (requests + 50.0);
            if share < bad { needed(self.absolute.ln_evidence(0.0), divergence(share, bad)) } else { None }
        };
        let relative = self.odds.and_then(|odds| {
            let events = number(self.events.candidate) + number(self.events.stable);
            let share = |ratio: f64| ratio * odds / (ratio * odds + 1.0);
            let bad = share(policy.pass_ratio);
            // One event more, at equal rates.
            let seen = (number(self.events.candidate) + share(1.0)) / (events + 1.0);
            let for_each = events / number(self.requests.candidate.max(1));
            if seen < bad { needed(self.relative.ln_evidence(0.0), divergence(seen, bad) * for_each) } else { None }
        });
        let least = match (absolute, relative) {
            (Some(absolute), Some(relative)) => absolute.min(relative),
            (absolute, relative) => absolute.or(relative)?,
        };
        Some((least as u64).max(1))
    }
}

/// Information of one event between two shares, in nats.
fn divergence(share: f64, other: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    term(share, other) + term(1.0 - share, 1.0 - other)
}

impl Policy {
    /// Requests that prove the candidate's share of errors if it has hardly any.
    #[must_use]
    pub fn requests_to_pass(&self) -> u64 {
        Pass::requests_at_first(self)
    }
}
