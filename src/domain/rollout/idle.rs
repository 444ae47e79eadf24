//! Work that waits for the end of a move: the order of the file, queued records, and the write-back.

use crate::domain::clock::Now;
use crate::domain::rollout::{Effect, Rollout, State};
use crate::domain::transition::{Kind, Transition, Trigger};

impl Rollout {
    /// Runs after each event.
    pub(super) fn resume_idle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if matches!(self.state, State::Steady) && self.file.take_waiting() {
            self.start_ordered_switch(now, effects);
        }
        if !self.is_committing() {
            self.journal.write_records(now.mono, &self.decision, effects);
        }
        if let Some(line) = self.barrier_line() {
            self.journal.write_behind(now, line, None, effects);
        }
        if matches!(self.state, State::Steady) && !self.file.is_waiting() {
            self.correct_file(now, effects);
            self.note_file(now, effects);
        }
    }

    /// Writes `active` where the file names another color than the decision.
    fn correct_file(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let active = self.decision.active;
        let differs = self.configured.order.active != active;
        if differs && self.configured.write_back && self.file.may_write_back() {
            self.file.begin_write_back();
            self.journal.await_write_back(now.mono);
            self.decision.written_back = self.written_back(active);
            effects.push(Effect::WriteBack(active));
        } else if !self.file.is_writing_back() {
            self.decision.written_back.clear();
        }
    }

    /// Records the state of the file, unless a line on its way to the disk has it already.
    fn note_file(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.journal.is_behind() && self.journal.has_to_note(now.mono, &self.decision) {
            let origin = self.configured.origin(Trigger::File);
            self.journal.hand_over(Transition::new(Kind::Noted, now.wall, origin, self.decision.clone()), effects);
        }
    }
}
