//! When a release is known good: it has served for as long as `bake.duration`, in one process. What was there at the first start
//! is known good, because it served before there was anybody to watch it.

use std::time::{Instant, SystemTime};

use crate::domain::clock::Now;
use crate::domain::rollout::record::by_itself;
use crate::domain::rollout::{Move, Rollout, State};
use crate::domain::transition::{Kind, Transition};

impl Rollout {
    /// When the release that serves will be known good, if it is not.
    pub(super) fn proven_at(&self) -> Option<Instant> {
        self.decision.known_good.is_none().then(|| self.serves_since + self.configured.bake)
    }

    /// Since when the release that a move leads to is known good.
    pub(super) fn known_good(&self, now: Now, underway: &Move) -> Option<SystemTime> {
        let before = self.decision.previous.as_ref();
        let before = before.filter(|before| (before.color, &before.release) == (underway.to, &underway.release));
        let at_once = self.configured.bake.is_zero().then_some(now.wall);
        before.and_then(|before| before.known_good).or(at_once)
    }

    pub(super) fn prove(&mut self, now: Now) {
        // A move that is being written was planned with what is known now.
        let ripe = self.proven_at().is_some_and(|at| at <= now.mono) && !matches!(self.state, State::Committing(..));
        if ripe {
            self.decision.known_good = Some(now.wall);
            self.record(Transition::new(Kind::KnownGood, now.wall, by_itself(None), self.decision.clone()));
        }
    }
}
