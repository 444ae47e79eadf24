//! An operator's commands for a canary.

use crate::domain::clock::Now;
use crate::domain::deployment::{HeldBack, Wishes};
use crate::domain::force::{Force, Guard};
use crate::domain::rollout::stages::next_move;
use crate::domain::rollout::{
    Asker, CommandId, Effect, Move, Outcome, Overlap, Refusal, Rollout, Share, State, Terms, called_off_by,
};
use crate::domain::transition::{Asked, Generation, Kind, Origin};

impl Rollout {
    pub(super) fn start_canary(
        &mut self,
        now: Now,
        id: CommandId,
        wishes: &Wishes,
        (if_generation, force, terms): (Option<Generation>, Force, Terms),
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let policy = &self.configured.policy;
        let color = self.decision.active.other();
        let target = (color, self.configured.deployed[color].clone());
        let mode = wishes.mode.unwrap_or(policy.canary);
        let plan = wishes.plan(&policy.plan);
        let mut underway = Move { force, terms, ..Move::new(now, Kind::Canary, target, Asker::Command(id), origin) };
        let may = self.check_generation(if_generation).and_then(|()| self.may_start(now, &underway));
        match may.and_then(|()| plan.map_err(Refusal::BadPlan)) {
            Err(refusal) => self.refuse(now, underway, refusal, effects),
            Ok(plan) => {
                underway.share = Share::First(plan, mode);
                self.begin(now, underway, effects);
            }
        }
    }

    fn may_start(&self, now: Now, underway: &Move) -> Result<(), Refusal> {
        if let Some(other) = &self.decision.deployment
            && (other.is_canary() || (other.splits() && !underway.force.overrides(Guard::Bake)))
        {
            return Err(other.is_on_its_way());
        }
        if let Some(other) = self.under_way() {
            return Err(other.in_progress());
        }
        self.check_forward(underway)?;
        match self.decision.cooldown.filter(|until| *until > now.wall && !underway.force.overrides(Guard::Cooldown)) {
            Some(until) => Err(Refusal::CoolingDown { until }),
            None => Ok(()),
        }
    }

    pub(super) fn advance_by_hand(
        &mut self,
        now: Now,
        id: CommandId,
        full: bool,
        (if_generation, terms): (Option<Generation>, Terms),
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let Some(deployment) = self.decision.deployment.clone() else {
            return self.refuse_without_canary(now, id, Kind::Advance, origin, effects);
        };
        let target = (deployment.candidate, deployment.release.clone());
        let asker = Asker::Command(id);
        let underway = if !deployment.is_canary() {
            Move { share: Share::Rest, ..Move::new(now, Kind::Advance, target, asker, origin) }
        } else if full {
            Move::new(now, Kind::Switch, target, asker, origin)
        } else {
            next_move(now, &deployment, asker, origin)
        };
        let underway = Move { terms, ..underway };
        let may = self.check_generation(if_generation).and_then(|()| match self.under_way() {
            Some(other) => Err(other.in_progress()),
            None if !deployment.is_canary() && !deployment.splits() => Err(Refusal::Baking),
            None => self.check_forward(&underway),
        });
        match may {
            Err(refusal) => self.refuse(now, underway, refusal, effects),
            Ok(()) => self.begin(now, underway, effects),
        }
    }

    pub(super) fn hold_canary(&mut self, now: Now, id: CommandId, origin: Origin, effects: &mut Vec<Effect>) {
        if self.refuse_while_writing(now, id, Kind::CanaryHold, &origin, effects) {
            return;
        }
        let Some(deployment) = &self.decision.deployment else {
            return self.refuse_without_canary(now, id, Kind::CanaryHold, origin, effects);
        };
        if deployment.held.is_some() {
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        // A pause cancels a move that would give the canary more.
        if self.under_way().is_some_and(|underway| self.continues(underway))
            && let Some(overruled) = self.take_overruled_move()
        {
            self.refuse(now, overruled, Refusal::Withdrawn(called_off_by(&origin, Kind::CanaryHold)), effects);
        }
        let reason = origin.reason.clone().unwrap_or_else(|| "no reason was given".to_owned());
        let held = HeldBack { by: origin.actor.clone(), reason, since: now.wall };
        if let Some(deployment) = &mut self.decision.deployment {
            deployment.held = Some(held);
        }
        self.enact(now, id, Kind::CanaryHold, origin, effects);
    }

    pub(super) fn resume_canary(&mut self, now: Now, id: CommandId, origin: Origin, effects: &mut Vec<Effect>) {
        if self.refuse_while_writing(now, id, Kind::CanaryResume, &origin, effects) {
            return;
        }
        let Some(deployment) = &mut self.decision.deployment else {
            return self.refuse_without_canary(now, id, Kind::CanaryResume, origin, effects);
        };
        if deployment.held.take().is_none() {
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        self.watching.resume(now.mono);
        self.enact(now, id, Kind::CanaryResume, origin, effects);
    }

    pub(super) fn abort_by_hand(
        &mut self,
        now: Now,
        id: CommandId,
        quarantine: bool,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        if self.decision.deployment.is_none() {
            // An abort cancels a canary that is still at its gate.
            let starts = |underway: &Move| matches!(underway.share, Share::First(..));
            if self.under_way().is_some_and(starts) {
                let cancelled = self.under_way().map(Move::shown);
                self.withdraw(now, &origin, Refusal::Withdrawn(called_off_by(&origin, Kind::Abort)), effects);
                let outcome = Outcome { cancelled, ..self.unchanged(now, false) };
                return effects.push(Effect::Reply(id, Ok(outcome)));
            }
            let outcome = self.unchanged(now, false);
            return effects.push(Effect::Reply(id, Ok(outcome)));
        }
        let to = self.rollback_color();
        let target = (to, self.configured.deployed[to].clone());
        let stays = self.rollback_target().err().filter(|_| self.under_way().is_none());
        let underway = Move {
            quarantine,
            overlap: Overlap::Allow,
            ..Move::new(now, Kind::Rollback, target, Asker::Command(id), origin)
        };
        if let Some(why) = stays {
            let (release, color) = (self.decision.release.clone(), self.decision.active);
            let refusal = Refusal::NoWayBack { release, color, why: Box::new(why) };
            return self.refuse(now, underway, refusal, effects);
        }
        self.roll_back(now, id, None, false, underway, effects);
    }

    fn refuse_without_canary(
        &mut self,
        now: Now,
        id: CommandId,
        kind: Kind,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        debug_assert!(self.decision.deployment.is_none() || matches!(self.state, State::Steady));
        self.record_refused(now, Asked { kind, to: None }, origin, None, &Refusal::NoCanary);
        effects.push(Effect::Reply(id, Err(Refusal::NoCanary)));
    }
}
