//! Moves without overlap, pauses, and maintenance: times at which no color gets requests.
//!
//! A move without overlap is one transaction: the gate; new requests are held; in-flight requests end; the decision is
//! written and published; held requests go to the new color. If anything fails before the publish, they go to the old
//! color. The gate comes first, so an unhealthy target delays nobody.
//!
//! A pause is not durable: a restart serves by the last decision. Maintenance is part of the decision, because an
//! operator relies on it even after a crash.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::rollout::pause::ByHand;
use crate::domain::rollout::{CommandId, DrainId, Effect, Hold, Move, Outcome, Refusal, Rollout, State, called_off_by};
use crate::domain::transition::InFlight;
use crate::domain::transition::{Asked, Kind, Origin, Transition};

#[derive(Clone, Copy, Debug)]
pub(super) struct HoldSpan {
    since: Now,
    until: Instant,
}

impl Move {
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.map(|held| held.until)
    }

    pub(super) fn held_for(&self, now: Now) -> Option<Duration> {
        self.held.map(|held| now.mono.saturating_duration_since(held.since.mono))
    }
}

impl Rollout {
    /// The gate has opened for a move without overlap: holds requests, and waits for in-flight ones.
    pub(super) fn hold_for(&mut self, now: Now, mut underway: Move, effects: &mut Vec<Effect>) {
        let until = now.mono + self.configured.hold_timeout;
        underway.held = Some(HoldSpan { since: now, until });
        let drain = DrainId(self.new_id());
        effects.push(Effect::Hold(self.pause.extended_to(until)));
        // No request is cut off for a hold that would fail first.
        let ends = self.configured.drain_timeout < self.configured.hold_timeout;
        effects.push(Effect::Empty(drain, ends.then(|| now.mono + self.configured.drain_timeout)));
        self.state = State::Holding(underway, drain, InFlight::default());
    }

    pub(super) fn emptied(&mut self, now: Now, drain: DrainId, effects: &mut Vec<Effect>) {
        if matches!(&self.state, State::Holding(_, awaited, _) if *awaited == drain)
            && let State::Holding(underway, _, _) = std::mem::replace(&mut self.state, State::Steady)
        {
            // Obstacles may have appeared since the gate opened.
            self.gate_opened(now, underway, effects);
        }
    }

    pub(super) fn set_remaining(&mut self, drain: DrainId, now_left: InFlight) {
        if let State::Holding(_, awaited, left) = &mut self.state
            && *awaited == drain
        {
            *left = now_left;
        }
    }

    pub(super) fn release_held(&self, effects: &mut Vec<Effect>) {
        effects.push(self.pause.after_move());
    }

    fn held_move(&self) -> Option<(&Move, HoldSpan)> {
        let underway = self.under_way()?;
        Some((underway, underway.held?))
    }

    pub(super) fn hold_deadline(&self) -> Option<Instant> {
        let of_move = self.held_move().map(|(_, held)| held.until);
        [of_move, self.pause.deadline()].into_iter().flatten().min()
    }

    pub(super) fn shown_hold(&self) -> Option<Hold> {
        let of_move = self.held_move().map(|(underway, held)| Hold {
            since: held.since,
            until: held.until,
            for_move: true,
            origin: underway.origin.clone(),
        });
        of_move.or_else(|| self.pause.current().map(ByHand::shown))
    }

    pub(super) fn end_holds(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some((underway, held)) = self.held_move()
            && held.until <= now.mono
        {
            // The answer to the command is the refusal.
            let origin = Origin { key: None, ..underway.origin.clone() };
            let after = now.mono.saturating_duration_since(held.since.mono);
            let why = match &self.state {
                State::Holding(_, _, left) => Refusal::NotDrained { color: self.decision.active, after, left: *left },
                State::Steady | State::Gating(..) | State::Committing(..) => Refusal::NotDurable(format!(
                    "the disk did not answer while requests were held ({:.1} s)",
                    after.as_secs_f64()
                )),
            };
            self.withdraw(now, &origin, why, effects);
        }
        if let Some(by_hand) = self.pause.end_if_over(now.mono) {
            let why = Some("the time of the pause was up".to_owned());
            let origin = Origin { reason: why, key: None, ..by_hand.origin().clone() };
            self.hold_ended(now, &by_hand, origin, effects);
        }
    }

    fn hold_ended(&mut self, now: Now, by_hand: &ByHand, origin: Origin, effects: &mut Vec<Effect>) {
        if self.held_move().is_none() {
            effects.push(Effect::Release);
        }
        let took = by_hand.lasted(now);
        let line = Transition::new(Kind::HoldEnd, now.wall, origin, self.decision.clone());
        self.journal.record(Transition { took, ..line });
    }

    /// Begins or extends a pause. Another actor's pause, or one with another reason, is replaced only on request.
    pub(super) fn hold(
        &mut self,
        now: Now,
        id: CommandId,
        (timeout, replace): (Duration, bool),
        mut origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let holds = matches!(self.state, State::Holding(..) | State::Committing(..));
        if holds && self.refuse_while_moving(now, id, Kind::Hold, &origin, effects) {
            return;
        }
        let mut replaced_pause = None;
        if let Some(before) = self.pause.current() {
            let other_reason = origin.reason.is_some() && origin.reason != before.origin().reason;
            if before.origin().actor == origin.actor && !other_reason {
                origin.reason.clone_from(&before.origin().reason);
            } else {
                let pause = before.shown();
                if !replace {
                    let left = before.left(now);
                    let refusal = Refusal::PausedAlready { pause: Box::new(pause), left };
                    self.record_refused(now, Asked { kind: Kind::Hold, to: None }, origin, None, &refusal);
                    return effects.push(Effect::Reply(id, Err(refusal)));
                }
                replaced_pause = Some(pause);
            }
        }
        let until = now.mono + timeout;
        self.pause.begin(now, until, origin.clone());
        effects.push(Effect::Hold(until));
        self.journal.record(Transition::new(Kind::Hold, now.wall, origin, self.decision.clone()));
        let outcome = Outcome { changed: true, replaced_pause, ..self.unchanged(now, false) };
        effects.push(Effect::Reply(id, Ok(outcome)));
    }

    pub(super) fn release(&mut self, now: Now, id: CommandId, origin: &Origin, effects: &mut Vec<Effect>) {
        let (mut changed, mut cancelled) = (false, None);
        if let Some(by_hand) = self.pause.end() {
            self.hold_ended(now, &by_hand, origin.clone(), effects);
            changed = true;
        }
        if self.held_move().is_some() {
            cancelled = self.under_way().map(Move::shown);
            self.withdraw(now, origin, Refusal::Withdrawn(called_off_by(origin, Kind::HoldEnd)), effects);
            changed = true;
        }
        let outcome = Outcome { changed, cancelled, ..self.unchanged(now, false) };
        effects.push(Effect::Reply(id, Ok(outcome)));
    }

    /// Maintenance is visible at once and written afterwards, like a rollback.
    pub(super) fn maintain(&mut self, now: Now, id: CommandId, on: bool, origin: Origin, effects: &mut Vec<Effect>) {
        if self.decision.maintenance == on {
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        // The line that is being written carries the whole state.
        let written = matches!(self.state, State::Committing(..));
        if written && self.refuse_while_moving(now, id, Kind::Maintenance, &origin, effects) {
            return;
        }
        // An answer that waits for the disk still names the decision before.
        self.journal.answer_waiting(false, effects);
        self.decision.maintenance = on;
        self.decision.generation = self.new_generation();
        effects.push(Effect::Publish(self.decision.clone()));
        let transition = Transition::new(Kind::Maintenance, now.wall, origin, self.decision.clone());
        let outcome = Outcome { changed: true, ..self.unchanged(now, false) };
        self.journal.write_behind(now, transition, Some((id, outcome)), effects);
    }

    pub(super) fn refuse_while_moving(
        &mut self,
        now: Now,
        id: CommandId,
        kind: Kind,
        origin: &Origin,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(underway) = self.under_way() else { return false };
        let refusal = underway.in_progress();
        self.record_refused(now, Asked { kind, to: None }, origin.clone(), None, &refusal);
        effects.push(Effect::Reply(id, Err(refusal)));
        true
    }
}
