//! The end of a canary, by command or by the evidence, and the end of the move that it overrules.

use crate::domain::clock::Now;
use crate::domain::deployment::Deployment;
use crate::domain::rollout::{Asker, Effect, Move, Outcome, Refusal, Rollout, State, quarantined, rolled_back, whose};
use crate::domain::transition::{Decision, Kind, Transition};

impl Rollout {
    /// The decision without the canary: the stable release has all of the traffic.
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
}
