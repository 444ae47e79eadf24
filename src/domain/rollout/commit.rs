//! Acknowledgements of the ledger: a forward move on disk becomes visible, a failed one is refused.

use crate::domain::clock::Now;
use crate::domain::rollout::{Asker, CommitId, Effect, Refusal, Rollout, State};
use crate::domain::schema::Lineage;
use crate::domain::transition::Decision;

impl Rollout {
    fn is_committing_as(&self, commit: CommitId) -> bool {
        matches!(&self.state, State::Committing(_, awaited, _) if *awaited == commit)
    }

    pub(super) fn committed(&mut self, now: Now, commit: CommitId, effects: &mut Vec<Effect>) {
        if !self.is_committing_as(commit) {
            return self.journal.committed(commit, effects);
        }
        let State::Committing(underway, _, next) = std::mem::replace(&mut self.state, State::Steady) else { return };
        self.journal.ahead_written(&next, effects);
        let next = *next;
        let outcome = self.outcome(now, &underway, &next, true);
        // The file and the traffic may have changed these while the line was being written.
        let seen = self.decision.seen.clone();
        let overridden = next.lineage.overridden.clone();
        let lineage = Lineage { overridden, ..self.lineage_after(&underway) };
        self.make_visible(now, Decision { seen, lineage, ..next }, effects);
        if underway.held.is_some() {
            self.release_held(effects);
        }
        match underway.asker {
            Asker::Command(id) => {
                // An earlier order of the file is overtaken.
                self.file.carried_out();
                effects.push(Effect::Reply(id, Ok(outcome)));
            }
            Asker::File => self.file.carried_out(),
            Asker::Automatic => {}
        }
    }

    pub(super) fn commit_failed(&mut self, now: Now, commit: CommitId, cause: &str, effects: &mut Vec<Effect>) {
        if !self.is_committing_as(commit) {
            return self.journal.failed(now.mono, commit, effects);
        }
        if let State::Committing(underway, _, _) = std::mem::replace(&mut self.state, State::Steady) {
            self.journal.ahead_failed(now.mono);
            self.refuse(now, underway, Refusal::NotDurable(cause.to_owned()), effects);
        }
    }
}
