//! Automatic rollbacks: visible at once, waiting for nothing, at most once per deployment, and never away from a
//! release that was rolled back to. Each is verified afterwards.
//!
//! [`Rollout::roll_back_if_needed`] finds the reason. Then the rollback is only recorded (`observe`), or blocked by an
//! obstacle, or made.

use crate::domain::clock::Now;
use crate::domain::deployment::{Deployment, HeldBack, Mode, OnUnsafe};
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{Asker, Effect, Fitness, Move, Refusal, Rollout, State};
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
        let Some(why) = self.reason_to_roll_back(&deployment, fails.as_ref()) else { return };
        if deployment.mode == Mode::Observe {
            return self.record_would_roll_back(now, fails, &why);
        }
        match self.obstacle_to_rollback(&deployment) {
            Some(obstacle) => self.record_blocked(now, fails, &why, &obstacle),
            None => self.roll_back_automatically(now, &deployment, fails, &why, effects),
        }
    }

    fn reason_to_roll_back(&self, deployment: &Deployment, fails: Option<&Judgement>) -> Option<String> {
        if let Some(judgement) = fails {
            return Some(judgement.to_string());
        }
        let Fitness::Down(why) = self.reports.fitness(deployment.candidate) else { return None };
        let stable_is_fit = *self.reports.fitness(deployment.stable_color()) == Fitness::Fit;
        // A forced release serves in spite of its checks.
        (stable_is_fit && !self.decision.by_force).then(|| format!("{} can't serve: {why}", deployment.release))
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

    /// Records whether an automatic rollback helped. If it did not, nothing moves: the other release was bad as well.
    pub(super) fn verify(&mut self, now: Now) {
        let down = self.reports.down(self.decision.active);
        let Some(finding) = self.aftermath.conclude(now.mono, down) else { return };
        let kind = if finding.helped { Kind::Recovered } else { Kind::BothUnhealthy };
        let line = Transition::new(kind, now.wall, automatic(Some(&finding.why)), self.decision.clone());
        self.journal.record(Transition { judgement: finding.judgement, ..line });
    }
}
