//! Automatic rollbacks: visible at once, waiting for nothing, at most once per deployment, and never away from a
//! release that was rolled back to. Each is verified afterwards.

use crate::domain::clock::Now;
use crate::domain::deployment::{Deployment, HeldBack, Mode, OnUnsafe};
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{
    Asker, Effect, Fitness, Move, Outcome, Refusal, Rollout, State, quarantined, rolled_back, whose,
};
use crate::domain::schema::Safety;
use crate::domain::transition::{Decision, Kind, Transition};
use crate::domain::verdict::{Judgement, Verdict};

impl Rollout {
    /// Rolls the deployment back if its release is proved to be worse or can't serve.
    pub(super) fn roll_back_if_needed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(deployment) = self.decision.deployment.clone() else { return };
        // The fitness will be known in a moment.
        if deployment.mode == Mode::Off || *self.reports.fitness(deployment.stable_color()) == Fitness::Unknown {
            return;
        }
        let fails = self.watching.judgement().cloned().filter(|judgement| judgement.verdict == Verdict::Fail);
        let why = match (&fails, self.reports.fitness(deployment.candidate)) {
            (Some(judgement), _) => judgement.to_string(),
            // A forced release serves in spite of its checks.
            (None, Fitness::Down(why))
                if !self.decision.by_force && *self.reports.fitness(deployment.stable_color()) == Fitness::Fit =>
            {
                format!("{} can't serve: {why}", deployment.release)
            }
            (None, _) => return,
        };
        if deployment.mode == Mode::Observe {
            return self.record_would_roll_back(now, fails, &why);
        }
        match self.obstacle_to_rollback(&deployment) {
            Some(obstacle) => self.record_blocked(now, fails, &why, &obstacle),
            None => self.roll_back_automatically(now, &deployment, fails, &why, effects),
        }
    }

    fn obstacle_to_rollback(&self, deployment: &Deployment) -> Option<String> {
        let color = deployment.stable_color();
        if let Some(why) = self.reports.down(color) {
            return Some(format!("{color} can't serve: {why}"));
        }
        if deployment.is_canary() {
            // The stable release serves all the time, so no barrier is crossed.
            return None;
        }
        if let Err(refusal) = self.rollback_target() {
            return Some(refusal.to_string());
        }
        match self.way_back() {
            Safety::No(_) if self.configured.policy.on_unsafe == OnUnsafe::Force => None,
            unsafe_ @ Safety::No(_) => unsafe_.why(),
            Safety::Yes | Safety::Unknown(_) => None,
        }
    }

    fn record_would_roll_back(&mut self, now: Now, judgement: Option<Judgement>, why: &str) {
        let Some(deployment) = self.decision.deployment.as_mut().filter(|deployment| !deployment.told) else { return };
        // The line that is being written carries the whole state.
        if matches!(self.state, State::Committing(..)) {
            return;
        }
        deployment.told = true;
        let line = Transition::new(Kind::WouldRollBack, now.wall, automatic(Some(why)), self.decision.clone());
        self.journal.record(Transition { judgement, ..line });
    }

    /// Pauses the deployment and records the obstacle. The rollback follows as soon as it is possible.
    fn record_blocked(&mut self, now: Now, judgement: Option<Judgement>, why: &str, obstacle: &str) {
        if self.is_committing() || !self.watching.note_obstacle(obstacle) {
            return;
        }
        let Some(deployment) = &mut self.decision.deployment else { return };
        let reason = format!("{why}; it can't be taken back: {obstacle}");
        let held = HeldBack { by: "automatic".to_owned(), reason: reason.clone(), since: now.wall };
        deployment.held.get_or_insert(held);
        let line = Transition::new(Kind::RollbackBlocked, now.wall, automatic(Some(&reason)), self.decision.clone());
        self.journal.record(Transition { judgement, ..line });
    }

    fn roll_back_automatically(
        &mut self,
        now: Now,
        deployment: &Deployment,
        judgement: Option<Judgement>,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        let overruled = self.take_overruled_move();
        // The policy allows a rollback that the stores forbid.
        let forced = !deployment.is_canary() && matches!(self.way_back(), Safety::No(_));
        let (to, release) = (deployment.stable_color(), deployment.stable.clone());
        let target = (to, release);
        let underway =
            Move { quarantine: true, ..Move::new(now, Kind::Rollback, target, Asker::Automatic, automatic(Some(why))) };
        let cooldown = Some(now.wall + self.configured.policy.cooldown);
        let next = if deployment.is_canary() {
            self.without_canary(now, deployment, &underway)
        } else {
            self.planned(now, &underway)
        };
        let next = Decision { cooldown, ..next };
        let line = Transition {
            from: Some((deployment.candidate, deployment.release.clone())),
            forced,
            judgement: judgement.clone(),
            ..Transition::new(Kind::Rollback, now.wall, underway.origin, next.clone())
        };
        self.journal.answer_waiting(false, effects);
        self.make_visible(now, next, effects);
        self.journal.write_behind(now, line, None, effects);
        if let Some(overruled) = overruled {
            self.refuse(now, overruled, Refusal::Withdrawn("the automatic rollback".to_owned()), effects);
        }
        self.aftermath.begin(now.mono, deployment.id, judgement);
    }

    pub(super) fn without_canary(&mut self, now: Now, canary: &Deployment, underway: &Move) -> Decision {
        let mut next = Decision { generation: self.new_generation(), deployment: None, ..self.decision.clone() };
        let labels = self.configured.schema[next.active].clone();
        next.lineage = next.lineage.followed_by(&next.release, &labels, None);
        let left = rolled_back(now, (canary.candidate, &canary.release), &underway.origin);
        next.lineage.note_rollback(left, self.configured.order_window);
        // A release that was rolled back is no rollback target.
        next.previous = next.previous.filter(|previous| previous.release != canary.release);
        if underway.quarantine {
            next.quarantine.retain(|bad| bad.release != canary.release);
            next.quarantine.push(quarantined(now, &canary.release, &underway.origin));
        }
        next
    }

    pub(super) fn abort(&mut self, now: Now, mut underway: Move, effects: &mut Vec<Effect>) {
        let Some(canary) = self.decision.deployment.clone() else { return };
        let overruled = self.take_overruled_move();
        let next = self.without_canary(now, &canary, &underway);
        let line = Transition {
            from: Some((canary.candidate, canary.release.clone())),
            judgement: self.watching.judgement().cloned(),
            ..Transition::new(Kind::Abort, now.wall, underway.origin.clone(), next.clone())
        };
        underway.kind = Kind::Abort;
        let by = whose(&underway.origin, Kind::Abort);
        let cancelled = overruled.as_ref().map(Move::shown);
        let answer = match underway.asker {
            Asker::Command(id) => Some((id, Outcome { cancelled, ..self.outcome(now, &underway, &next, false) })),
            Asker::File | Asker::Automatic => None,
        };
        // An answer that waits for the disk still names the decision before.
        self.journal.answer_waiting(false, effects);
        self.make_visible(now, next, effects);
        self.journal.write_behind(now, line, answer, effects);
        if let Some(overruled) = overruled {
            self.refuse(now, overruled, Refusal::Withdrawn(by), effects);
        }
    }

    /// Removes the move under way if it favors the deployment, or is being written and will be overruled. The caller
    /// refuses it after the overruling line is handed over.
    pub(super) fn take_overruled_move(&mut self) -> Option<Move> {
        let underway = self.under_way()?;
        let continues = self.continues(underway);
        // The active color stays, so a move without relation to the canary may continue at its gate.
        if self.is_canary() && !continues && !matches!(self.state, State::Committing(..)) {
            return None;
        }
        // Any other order of the file is looked at again.
        let by_file = matches!(underway.asker, Asker::File);
        self.file.wait_if(!continues && by_file);
        match std::mem::replace(&mut self.state, State::Steady) {
            State::Steady => None,
            State::Gating(underway, _) | State::Holding(underway, ..) | State::Committing(underway, ..) => {
                Some(underway)
            }
        }
    }

    /// Records whether an automatic rollback helped. If it did not, nothing moves: the other release was bad as well.
    pub(super) fn verify(&mut self, now: Now) {
        let down = self.reports.down(self.decision.active);
        let Some(finding) = self.aftermath.conclude(now.mono, down) else { return };
        let kind = if finding.helped { Kind::Recovered } else { Kind::BothUnhealthy };
        let line = Transition::new(kind, now.wall, automatic(Some(&finding.why)), self.decision.clone());
        self.journal.record(Transition { judgement: finding.judgement, ..line });
    }
}
