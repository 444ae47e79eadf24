//! When a release is known good: it has served for as long as `bake.duration`, with nothing shown against it. What was
//! there at the first start is known good, because it served before there was anybody to watch it.
//!
//! The bake of a release that took the traffic by a switch goes on over restarts, and only the time counts in which it
//! was watched. One that was put under the live color has no deployment, and bakes anew with the process.

use std::time::{Instant, SystemTime};

use crate::domain::clock::Now;
use crate::domain::rollout::record::by_itself;
use crate::domain::rollout::{Move, Rollout, State};
use crate::domain::transition::{Kind, Transition};

impl Rollout {
    /// When the release that serves will be known good, if it is not, and nothing comes between.
    pub(super) fn proven_at(&self) -> Option<Instant> {
        if self.decision.known_good.is_some() {
            return None;
        }
        Some(match self.decision.deployment.as_ref().filter(|deployment| !deployment.is_canary()) {
            Some(deployment) => self.watching.bakes_until(deployment),
            None => self.serves_since + self.configured.policy.plan.bake,
        })
    }

    /// Since when the release that a move leads to is known good.
    pub(super) fn known_good(&self, now: Now, underway: &Move) -> Option<SystemTime> {
        let before = self.decision.previous.as_ref();
        let before = before.filter(|before| (before.color, &before.release) == (underway.to, &underway.release));
        let bake = underway.terms.bake.unwrap_or(self.configured.policy.plan.bake);
        let at_once = bake.is_zero().then_some(now.wall);
        before.and_then(|before| before.known_good).or(at_once)
    }

    pub(super) fn mark_known_good(&mut self, now: Now) {
        // A move that is being written was planned with what is known now.
        let ripe = self.proven_at().is_some_and(|at| at <= now.mono) && !matches!(self.state, State::Committing(..));
        // What was held back has to be given to it first.
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
        let line = Transition::new(Kind::KnownGood, now.wall, by_itself(None), self.decision.clone());
        self.journal.record(Transition { judgement, ..line });
    }
}
