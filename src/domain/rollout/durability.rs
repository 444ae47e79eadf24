//! Writing decisions down: forward moves before they are visible, backward moves after.
//!
//! What is in force and not known to be on disk is [`Unwritten`], and is tried again until it is. Each attempt has a
//! number of its own, so an acknowledgement that comes late or twice belongs to nobody.

use crate::domain::clock::Now;
use crate::domain::rollout::{
    ANSWER_PATIENCE, Asker, COMMIT_RETRY, CommandId, CommitId, Effect, Line, LineState, OrderState, Outcome, Refusal,
    Rollout, State, Unwritten,
};
use crate::domain::schema::Lineage;
use crate::domain::transition::{Decision, Transition};

impl Rollout {
    /// Writes down what is already in force.
    pub(super) fn write_behind(
        &mut self,
        now: Now,
        transition: Transition,
        answer: Option<(CommandId, Outcome)>,
        effects: &mut Vec<Effect>,
    ) {
        // An earlier one that still waits for its answer is answered by what is known now.
        self.answer_unwritten(false, effects);
        let commit = CommitId(self.new_id());
        effects.push(Effect::Commit(commit, transition.clone()));
        self.durable = false;
        self.unwritten = Some(Unwritten {
            transition,
            commit: Some(commit),
            retry_at: now.mono,
            answer: answer.map(|(id, outcome)| (id, outcome, now.mono + ANSWER_PATIENCE)),
        });
    }

    pub(super) fn answer_unwritten(&mut self, durable: bool, effects: &mut Vec<Effect>) {
        if let Some(unwritten) = &mut self.unwritten
            && let Some((id, outcome, _)) = unwritten.answer.take()
        {
            effects.push(Effect::Reply(id, Ok(Outcome { durable, ..outcome })));
        }
    }

    pub(super) fn committed(&mut self, now: Now, commit: CommitId, effects: &mut Vec<Effect>) {
        // The disk is well.
        self.records_again_at = None;
        if self.unwritten.as_ref().is_some_and(|unwritten| unwritten.commit == Some(commit)) {
            self.answer_unwritten(true, effects);
            if let Some(written) = self.unwritten.take() {
                self.line = Line::written(written.transition.decision);
            }
            self.durable = true;
            return;
        }
        if !matches!(&self.state, State::Committing(_, awaited, _) if *awaited == commit) {
            return self.line_written(commit, None);
        }
        let State::Committing(underway, _, next) = std::mem::replace(&mut self.state, State::Steady) else { return };
        // The line carries the whole state, so whatever was not durable before is overtaken by it.
        self.answer_unwritten(true, effects);
        self.unwritten = None;
        self.durable = true;
        let next = *next;
        let outcome = self.outcome(now, &underway, &next, true);
        self.line = Line::written(next.clone());
        // What was seen in the file and in the traffic meanwhile stays seen.
        let seen = self.decision.seen.clone();
        let overridden = next.lineage.overridden.clone();
        let lineage = Lineage { overridden, ..self.lineage_after(&underway) };
        self.make_visible(now, Decision { seen, lineage, ..next }, effects);
        if underway.held.is_some() {
            self.release_held(effects);
        }
        match underway.asker {
            Asker::Command(id) => {
                // An earlier order of the file is overtaken; a file that still names the other color disagrees.
                self.order = OrderState::Done;
                effects.push(Effect::Reply(id, Ok(outcome)));
            }
            Asker::File => self.order = OrderState::Done,
            Asker::Itself => {}
        }
    }

    pub(super) fn commit_failed(&mut self, now: Now, commit: CommitId, cause: &str, effects: &mut Vec<Effect>) {
        if let Some(unwritten) = &mut self.unwritten
            && unwritten.commit == Some(commit)
        {
            unwritten.commit = None;
            unwritten.retry_at = now.mono + COMMIT_RETRY;
            return self.answer_unwritten(false, effects);
        }
        if matches!(&self.state, State::Committing(_, awaited, _) if *awaited == commit)
            && let State::Committing(underway, _, _) = std::mem::replace(&mut self.state, State::Steady)
        {
            // Said again until the disk takes it: so it is known when the disk is well, also while nobody asks for a
            // move.
            self.line.state = LineState::Failed { again_at: now.mono + COMMIT_RETRY };
            return self.refuse(now, underway, Refusal::NotDurable(cause.to_owned()), effects);
        }
        self.line_written(commit, Some(now.mono));
    }

    /// Writes down again what could not be written, and answers who has waited long enough.
    pub(super) fn retry(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let may_retry = !matches!(self.state, State::Committing(..));
        let Some(unwritten) = &mut self.unwritten else { return };
        if may_retry && unwritten.commit.is_none() && unwritten.retry_at <= now.mono {
            let commit = CommitId(self.last_id + 1);
            self.last_id += 1;
            // With what was seen meanwhile.
            unwritten.transition.decision.seen = self.decision.seen.clone();
            unwritten.transition.decision.lineage = self.decision.lineage.clone();
            unwritten.commit = Some(commit);
            effects.push(Effect::Commit(commit, unwritten.transition.clone()));
        }
        if unwritten.answer.as_ref().is_some_and(|(_, _, until)| *until <= now.mono) {
            self.answer_unwritten(false, effects);
        }
    }
}
