//! The moment a release becomes known good: it has served for `bake.duration` with nothing against it. The release of
//! the first start is known good, because it served before the proxy could watch it.
//!
//! The bake of a release after a switch continues over restarts, and counts watched time only. A release put under the
//! active color has no deployment, and bakes anew with the process.

use std::time::{Instant, SystemTime};

use crate::domain::clock::Now;
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{Move, Rollout, State};
use crate::domain::transition::{Kind, Transition};

impl Rollout {
    /// `None`: it is known good already.
    pub(super) fn becomes_known_good_at(&self) -> Option<Instant> {
        if self.decision.known_good.is_some() {
            return None;
        }
        Some(match self.decision.deployment.as_ref().filter(|deployment| !deployment.is_canary()) {
            Some(deployment) => self.watching.bakes_until(deployment),
            None => self.serves_since + self.configured.policy.plan.bake,
        })
    }

    pub(super) fn known_good(&self, now: Now, underway: &Move) -> Option<SystemTime> {
        let before = self.decision.previous.as_ref();
        let before = before.filter(|before| (before.color, &before.release) == (underway.to, &underway.release));
        let bake = underway.terms.bake.unwrap_or(self.configured.policy.plan.bake);
        let at_once = bake.is_zero().then_some(now.wall);
        before.and_then(|before| before.known_good).or(at_once)
    }

    pub(super) fn mark_known_good(&mut self, now: Now) {
        // The move being written was planned without it.
        let ripe = self.becomes_known_good_at().is_some_and(|at| at <= now.mono)
            && !matches!(self.state, State::Committing(..));
        // It gets the hold-back first.
        let bakes = self.decision.deployment.as_ref().filter(|deployment| !deployment.is_canary());
        let waits = bakes.is_some_and(|deployment| deployment.splits() || self.stopped().is_some());
        if !ripe || waits {
            return;
        }
        let judgement = self.watching.judgement().cloned().filter(|_| bakes.is_some());
        if bakes.is_some() {
            self.decision.deployment = None;
        }
        self.watching.follow(now.mono, &self.decision);
        self.decision.known_good = Some(now.wall);
        let line = Transition::new(Kind::KnownGood, now.wall, automatic(None), self.decision.clone());
        self.journal.record(Transition { judgement, ..line });
    }
}
