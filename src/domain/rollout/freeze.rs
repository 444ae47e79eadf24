//! Freezes and quarantine. A freeze stops forward moves; a quarantine also stops a rollback that names the release.

use std::time::SystemTime;

use crate::domain::clock::Now;
use crate::domain::force::Guard;
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{CommandId, Effect, Move, Outcome, Refusal, Rollout, StageRefusal, State};
use crate::domain::transition::{Asked, Freeze, Kind, Origin, Transition};

fn forced_command(asked: &Move) -> String {
    match asked.kind {
        Kind::Canary => "cutover canary start --force=quarantine".to_owned(),
        Kind::Rollback => format!("cutover rollback --to {} --force=quarantine", asked.to),
        _ => format!("cutover switch {} --force=quarantine", asked.to),
    }
}

impl Rollout {
    pub(super) fn check_forward(&self, asked: &Move) -> Result<(), Refusal> {
        if asked.release.is_none() {
            return Err(Refusal::Stage(StageRefusal::Empty(asked.to)));
        }
        if let Some(freeze) = &self.decision.freeze {
            return Err(Refusal::Frozen(freeze.clone()));
        }
        self.check_quarantine(asked)
    }

    pub(super) fn check_quarantine(&self, asked: &Move) -> Result<(), Refusal> {
        match self.decision.quarantine.iter().find(|bad| bad.release == asked.release) {
            Some(bad) if !asked.force.overrides(Guard::Quarantine) => {
                Err(Refusal::Quarantined { bad: bad.clone(), command: forced_command(asked) })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn freeze(
        &mut self,
        now: Now,
        id: CommandId,
        (until, replace): (Option<SystemTime>, bool),
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let freeze = Freeze {
            by: origin.actor.clone(),
            reason: origin.reason.clone().unwrap_or_default(),
            since: now.wall,
            until,
        };
        if self.refuse_while_writing(now, id, Kind::Freeze, &origin, effects) {
            return;
        }
        let before = self.decision.freeze.clone();
        if let Some(before) = &before {
            if (&before.by, &before.reason, before.until) == (&freeze.by, &freeze.reason, freeze.until) {
                let outcome = self.unchanged(now, false);
                return effects.push(Effect::Reply(id, Ok(outcome)));
            }
            if !replace {
                let refusal = Refusal::FrozenAlready(before.clone());
                self.record_refused(now, Asked { kind: Kind::Freeze, to: None }, origin, None, &refusal);
                return effects.push(Effect::Reply(id, Err(refusal)));
            }
        }
        let mut cancelled = None;
        match std::mem::replace(&mut self.state, State::Steady) {
            State::Gating(underway, _) | State::Holding(underway, ..) => {
                cancelled = Some(underway.shown());
                self.refuse(now, underway, Refusal::Frozen(freeze.clone()), effects);
            }
            State::Steady | State::Committing(..) => {}
        }
        self.decision.freeze = Some(freeze);
        let told = Outcome { cancelled, replaced: before, ..self.unchanged(now, false) };
        self.enact_with(now, id, (Kind::Freeze, told), origin, effects);
    }

    pub(super) fn unfreeze(&mut self, now: Now, id: CommandId, origin: Origin, effects: &mut Vec<Effect>) {
        if self.refuse_while_writing(now, id, Kind::Unfreeze, &origin, effects) {
            return;
        }
        if self.decision.freeze.take().is_none() {
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        self.enact(now, id, Kind::Unfreeze, origin, effects);
    }

    /// A freeze ends by the wall clock.
    pub(super) fn expire_freeze(&mut self, now: Now) {
        let over = self.decision.freeze.as_ref().is_some_and(|freeze| freeze.until.is_some_and(|at| at <= now.wall));
        if over && !matches!(self.state, State::Committing(..)) {
            self.decision.freeze = None;
            let origin = automatic(Some("the freeze ended at its time"));
            self.journal.record(Transition::new(Kind::Unfreeze, now.wall, origin, self.decision.clone()));
        }
        let until = self.decision.freeze.as_ref().and_then(|freeze| freeze.until);
        self.freeze_ends_at = until.map(|until| now.mono + until.duration_since(now.wall).unwrap_or_default());
    }

    /// State that a move keeps can't change while the move is being written: its line carries the whole state.
    pub(super) fn refuse_while_writing(
        &mut self,
        now: Now,
        id: CommandId,
        kind: Kind,
        origin: &Origin,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.is_committing() && self.refuse_while_moving(now, id, kind, origin, effects)
    }

    /// Puts the decision into force; the answer comes when it is on disk or the disk takes too long.
    pub(super) fn enact(&mut self, now: Now, id: CommandId, kind: Kind, origin: Origin, effects: &mut Vec<Effect>) {
        let told = self.unchanged(now, false);
        self.enact_with(now, id, (kind, told), origin, effects);
    }

    fn enact_with(
        &mut self,
        now: Now,
        id: CommandId,
        (kind, told): (Kind, Outcome),
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        self.expire_freeze(now);
        let line = Transition::new(kind, now.wall, origin, self.decision.clone());
        let outcome = Outcome { changed: true, durable: false, ..told };
        if self.journal.is_behind() {
            self.journal.record(line);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        self.journal.write_behind(now, line, Some((id, outcome)), effects);
    }
}
