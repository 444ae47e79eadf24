//! Rollbacks by command: their target, and their effect on a move under way.

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::release::Release;
use crate::domain::rollout::{
    Asker, Command, CommandId, Effect, Move, Moving, Outcome, Refusal, Rollout, State, called_off_by,
};
use crate::domain::transition::{Generation, Kind, Origin, Previous, Transition};

impl Rollout {
    pub(super) fn rollback_color(&self) -> Color {
        if self.is_canary() {
            return self.decision.active;
        }
        self.decision.previous.as_ref().map_or(self.decision.active.other(), |previous| previous.color)
    }

    /// The release that served before, if it was known good and is still deployed there.
    pub(super) fn rollback_target(&self) -> Result<Previous, Refusal> {
        let color = self.rollback_color();
        let deployed = &self.configured.deployed[color];
        if let Some(canary) = self.decision.deployment.as_ref().filter(|deployment| deployment.is_canary()) {
            let known_good = self.decision.known_good;
            return Ok(Previous { color, release: self.decision.release.clone(), until: canary.since, known_good });
        }
        match &self.decision.previous {
            Some(previous) if previous.release == *deployed && previous.known_good.is_some() => Ok(previous.clone()),
            _ => Err(self.no_known_good()),
        }
    }

    /// A move to a release that has served is a rollback, which no freeze stops.
    fn has_served(&self, color: Color, release: &Release) -> bool {
        let mut left = self.decision.lineage.rolled_back.iter();
        self.decision.previous.as_ref().is_some_and(|before| before.color == color && before.release == *release)
            || left.any(|left| left.color == color && left.release == *release)
    }

    fn no_known_good(&self) -> Refusal {
        let (wanted, color) = (self.decision.previous.clone(), self.rollback_color());
        let deployed = self.configured.deployed[color].clone();
        let served = self.has_served(color, &deployed);
        let bad = self.decision.quarantine.iter().any(|bad| bad.release == deployed);
        let command = (!deployed.is_none()).then(|| {
            let way = if served { "rollback --to" } else { "switch" };
            format!("cutover {way} {color}{}", if bad { " --force=quarantine" } else { "" })
        });
        Refusal::NoKnownGood { wanted, color, deployed, served, command }
    }

    pub(super) fn roll_back(
        &mut self,
        now: Now,
        id: CommandId,
        if_generation: Option<Generation>,
        named: bool,
        asked: Move,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.check_generation(if_generation) {
            return self.refuse(now, asked, refusal, effects);
        }
        if let Some(canary) = self.decision.deployment.as_ref().filter(|deployment| deployment.is_canary()) {
            if asked.to == canary.candidate {
                let refusal = canary.is_on_its_way();
                return self.refuse(now, asked, refusal, effects);
            }
            if asked.dry_run {
                let outcome = self.would_be(now, &asked);
                return effects.push(Effect::Reply(id, Ok(outcome)));
            }
            return self.abort(now, asked, effects);
        }
        let forced = |underway: &Move| underway.force.overrides(Guard::Health);
        if let Some(other) = self.under_way() {
            if other.dry_run {
                return self.ask_beside(now, id, named, asked, None, effects);
            }
            let (back, more) = (other.kind == Kind::Rollback, forced(&asked) && !forced(other));
            if back && !more {
                let refusal = other.in_progress();
                return self.refuse(now, asked, refusal, effects);
            }
            // A rollback during a move cancels that move, of which nothing is visible yet. An automatic move, or a new
            // label of the serving color, is cancelled as well, but is not what the operator meant.
            let by_itself = matches!(other.asker, Asker::Automatic) || other.kind == Kind::Release;
            let cancelled = Some(other.shown());
            if asked.dry_run {
                return self.ask_beside(now, id, named, asked, cancelled.filter(|_| !by_itself), effects);
            }
            let by = Refusal::Withdrawn(called_off_by(&asked.origin, Kind::Rollback));
            self.withdraw(now, &asked.origin, by, effects);
            if by_itself {
                return self.roll_back(now, id, None, named, asked, effects);
            }
            if !back {
                let outcome = Outcome { cancelled, ..self.unchanged(now, false) };
                return effects.push(Effect::Reply(id, Ok(outcome)));
            }
            // A forced rollback does not wait for a gate that hangs.
        }
        if named && asked.to == self.decision.active {
            let outcome = self.unchanged(now, asked.dry_run);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        match self.may_roll_back(named, &asked) {
            Err(refusal) => self.refuse(now, asked, refusal, effects),
            Ok(()) => self.begin(now, asked, effects),
        }
    }

    fn may_roll_back(&self, named: bool, asked: &Move) -> Result<(), Refusal> {
        match named {
            false => self.rollback_target().map(|_| ()),
            true if !self.has_served(asked.to, &asked.release) => Err(self.no_known_good()),
            true => self.check_quarantine(asked),
        }
    }

    /// Ends a dry run that a command would have to wait for.
    pub(super) fn set_question_aside(&mut self, now: Now, command: &Command, effects: &mut Vec<Effect>) {
        if self.under_way().is_some_and(|underway| underway.dry_run) && !command.is_question() {
            let by = called_off_by(command.origin(), self.subject_of(command).0);
            self.withdraw(now, command.origin(), Refusal::Withdrawn(by), effects);
        }
    }

    /// A dry run during another move. The gate has room for one move, so it is skipped.
    fn ask_beside(
        &mut self,
        now: Now,
        id: CommandId,
        named: bool,
        asked: Move,
        cancelled: Option<Moving>,
        effects: &mut Vec<Effect>,
    ) {
        // A rollback would only cancel this move.
        if let Some(cancelled) = cancelled.filter(|cancelled| cancelled.kind != Kind::Rollback) {
            let outcome = Outcome { cancelled: Some(cancelled), ..self.unchanged(now, true) };
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        if named && asked.to == self.decision.active {
            let outcome = self.unchanged(now, true);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        match self.may_roll_back(named, &asked) {
            Err(refusal) => self.refuse(now, asked, refusal, effects),
            Ok(()) => self.gate_opened(now, asked, effects),
        }
    }

    /// Cancels a move before it is visible. A line that is on its way to the disk is overruled by one with a newer
    /// generation.
    pub(super) fn withdraw(&mut self, now: Now, by: &Origin, why: Refusal, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.state, State::Steady) {
            State::Steady => {}
            State::Gating(underway, _) | State::Holding(underway, ..) => self.refuse(now, underway, why, effects),
            State::Committing(underway, _, _) => {
                self.decision.generation = self.new_generation();
                let transition = Transition {
                    from: Some((underway.to, underway.release.clone())),
                    ..Transition::new(Kind::Rollback, now.wall, by.clone(), self.decision.clone())
                };
                self.journal.answer_waiting(false, effects);
                effects.push(Effect::Publish(self.decision.clone()));
                self.journal.write_behind(now, transition, None, effects);
                self.refuse(now, underway, why, effects);
            }
        }
    }
}
