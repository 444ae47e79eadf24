//! Evidence that the candidate is *not* worse. "Nothing bad was seen" is what little traffic looks like; so to go on has to be
//! proved, like to go back.
//!
//! It begins anew with each step: what 5 % of the traffic showed says nothing about load at 50 %.

use super::evidence::{Ratio, Share, ln_add};
use super::policy::Policy;
use super::tick::{Arms, Batch, number};
use crate::domain::split::Weight;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pass {
    first: u64,
    absolute: Share,
    relative: Ratio,
    requests: Arms<u64>,
    failed: Arms<u64>,
    /// Events of the comparison, which are fewer than failures where users stay with a color.
    events: Arms<u64>,
    odds: Option<f64>,
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
        }
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

    /// Either proof is one: their mean.
    pub(super) fn ln_evidence(&self) -> f64 {
        ln_add(self.absolute.ln_evidence(0.0), self.relative.ln_evidence(0.0)) - std::f64::consts::LN_2
    }

    /// How many requests the candidate still needs at the rates seen so far; `None`: each takes it further away.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and never negative")]
    pub(super) fn requests_needed(&self, policy: &Policy) -> Option<u64> {
        let target = std::f64::consts::LN_2 - policy.pass_beta.ln();
        let needed = |evidence: f64, gain: f64| (gain > 0.0).then(|| ((target - evidence).max(0.0) / gain).ceil());
        let absolute = {
            // What the stable release shows counts for fifty requests: at first the candidate has shown nothing. And for the
            // stable one as many count with a tenth of what would be bad, or little traffic would seem to need ten times as much.
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

/// What one event tells two shares apart, in nats.
fn divergence(share: f64, other: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    term(share, other) + term(1.0 - share, 1.0 - other)
}
