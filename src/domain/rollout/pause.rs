//! The pause that an operator asked for. It is not durable: after a restart requests are served by the last decision.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::rollout::{Effect, Hold};
use crate::domain::transition::Origin;

#[derive(Debug, Default)]
pub(super) struct Pause(Option<ByHand>);

#[derive(Clone, Debug)]
pub(super) struct ByHand {
    since: Now,
    until: Instant,
    origin: Origin,
}

impl ByHand {
    pub(super) fn shown(&self) -> Hold {
        Hold { since: self.since, until: self.until, for_move: false, origin: self.origin.clone() }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn lasted(&self, now: Now) -> Duration {
        now.mono.saturating_duration_since(self.since.mono)
    }

    pub(super) fn left(&self, now: Now) -> Duration {
        self.until.saturating_duration_since(now.mono)
    }
}

impl Pause {
    pub(super) fn current(&self) -> Option<&ByHand> {
        self.0.as_ref()
    }

    /// Begins a pause, or gives the current one another end.
    pub(super) fn begin(&mut self, now: Now, until: Instant, origin: Origin) {
        let since = self.0.as_ref().map_or(now, |by_hand| by_hand.since);
        self.0 = Some(ByHand { since, until, origin });
    }

    pub(super) fn end(&mut self) -> Option<ByHand> {
        self.0.take()
    }

    pub(super) fn end_if_over(&mut self, now: Instant) -> Option<ByHand> {
        self.0.take_if(|by_hand| by_hand.until <= now)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|by_hand| by_hand.until)
    }

    /// How long requests are held when a move needs them held until `until`.
    pub(super) fn extended_to(&self, until: Instant) -> Instant {
        self.deadline().map_or(until, |by_hand| by_hand.max(until))
    }

    /// The effect when a move needs its hold no more: a pause outlasts it.
    pub(super) fn after_move(&self) -> Effect {
        self.deadline().map_or(Effect::Release, Effect::Hold)
    }
}
