//! The ledger from the core's side: lines on disk, lines on their way, and retries.
//!
//! A forward move is written before it is visible, a backward move after it. A restart takes the last line on disk into
//! force. Each attempt has a number of its own, so a late or repeated acknowledgement matches nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::gate::GateReport;
use crate::domain::rollout::refusals::Refusals;
use crate::domain::rollout::{CommandId, CommitId, Effect, Outcome, Refusal};
use crate::domain::transition::{Asked, Decision, Freeze, Kind, Origin, Transition};

/// How long the answer to a rollback waits for the disk. The rollback itself never waits.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// A write-back takes milliseconds, unless its disk hangs.
const WRITE_BACK_PATIENCE: Duration = Duration::from_secs(1);
/// Lines kept for a failing disk; the oldest are dropped first.
const WAITING: usize = 100;

#[derive(Debug)]
pub(super) struct Journal {
    durable: bool,
    unwritten: Option<Unwritten>,
    newest: Newest,
    /// Lines that move nothing, oldest first.
    records: VecDeque<Transition>,
    /// Lines that move nothing, until they are acknowledged.
    handed_over: Vec<(CommitId, Transition)>,
    /// After a failed line no other one is handed over before this, unless another write succeeds.
    records_again_at: Option<Instant>,
    /// The end of a drain waits until then for the outcome of the write-back, to share its line.
    write_back_until: Option<Instant>,
    refusals: Refusals,
    last_commit: u64,
}

#[derive(Debug)]
struct Unwritten {
    transition: Transition,
    /// `None`: the next attempt is at `retry_at`.
    commit: Option<CommitId>,
    retry_at: Instant,
    answer: Option<(CommandId, Outcome, Instant)>,
}

/// The newest line that moved nothing or is on disk: the decision that a restart would load.
#[derive(Debug)]
struct Newest {
    says: Decision,
    state: LineState,
    freeze: Option<Freeze>,
}

impl Newest {
    fn written(says: Decision) -> Newest {
        Newest { freeze: says.freeze.clone(), says, state: LineState::Written }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Written,
    HandedOver(CommitId),
    Failed { again_at: Instant },
}

impl Journal {
    /// `first`: the line of a decision that could not be written at the start.
    pub(super) fn new(now: Instant, decision: &Decision, first: Option<Transition>) -> Journal {
        let retry_at = now + COMMIT_RETRY;
        Journal {
            durable: first.is_none(),
            unwritten: first.map(|transition| Unwritten { transition, commit: None, retry_at, answer: None }),
            newest: Newest::written(decision.clone()),
            records: VecDeque::new(),
            handed_over: Vec::new(),
            records_again_at: None,
            write_back_until: None,
            refusals: Refusals::default(),
            last_commit: 0,
        }
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Includes the freeze, which takes effect without a new generation.
    pub(super) fn has_saved(&self, decision: &Decision) -> bool {
        self.durable && self.newest.freeze == decision.freeze
    }

    pub(super) fn is_behind(&self) -> bool {
        self.unwritten.is_some()
    }

    fn next_commit(&mut self) -> CommitId {
        self.last_commit += 1;
        CommitId(self.last_commit)
    }

    pub(super) fn write_ahead(&mut self, transition: Transition, effects: &mut Vec<Effect>) -> CommitId {
        let commit = self.next_commit();
        effects.push(Effect::Commit(commit, transition));
        commit
    }

    pub(super) fn write_behind(
        &mut self,
        now: Now,
        transition: Transition,
        answer: Option<(CommandId, Outcome)>,
        effects: &mut Vec<Effect>,
    ) {
        self.answer_waiting(false, effects);
        let commit = self.next_commit();
        effects.push(Effect::Commit(commit, transition.clone()));
        self.durable = false;
        self.unwritten = Some(Unwritten {
            transition,
            commit: Some(commit),
            retry_at: now.mono,
            answer: answer.map(|(id, outcome)| (id, outcome, now.mono + ANSWER_PATIENCE)),
        });
    }

    pub(super) fn answer_waiting(&mut self, durable: bool, effects: &mut Vec<Effect>) {
        if let Some(unwritten) = &mut self.unwritten
            && let Some((id, outcome, _)) = unwritten.answer.take()
        {
            effects.push(Effect::Reply(id, Ok(Outcome { durable, ..outcome })));
        }
    }

    /// A forward move is on disk. Its line carries the whole state, so it stands for everything unwritten.
    pub(super) fn ahead_written(&mut self, decision: &Decision, effects: &mut Vec<Effect>) {
        self.records_again_at = None;
        self.answer_waiting(true, effects);
        self.unwritten = None;
        self.durable = true;
        self.newest = Newest::written(decision.clone());
    }

    /// A forward move could not be written. The line before it is repeated until the disk takes it, so that a
    /// recovered disk is noticed without a move.
    pub(super) fn ahead_failed(&mut self, now: Instant) {
        self.newest.state = LineState::Failed { again_at: now + COMMIT_RETRY };
    }

    pub(super) fn committed(&mut self, commit: CommitId, effects: &mut Vec<Effect>) {
        self.records_again_at = None;
        if self.unwritten.as_ref().is_none_or(|unwritten| unwritten.commit != Some(commit)) {
            return self.line_written(commit, None);
        }
        self.answer_waiting(true, effects);
        if let Some(written) = self.unwritten.take() {
            self.newest = Newest::written(written.transition.decision);
        }
        self.durable = true;
    }

    pub(super) fn failed(&mut self, now: Instant, commit: CommitId, effects: &mut Vec<Effect>) {
        match &mut self.unwritten {
            Some(unwritten) if unwritten.commit == Some(commit) => {
                unwritten.commit = None;
                unwritten.retry_at = now + COMMIT_RETRY;
                self.answer_waiting(false, effects);
            }
            _ => self.line_written(commit, Some(now)),
        }
    }

    fn line_written(&mut self, commit: CommitId, failed_at: Option<Instant>) {
        if let Some(index) = self.handed_over.iter().position(|(id, _)| *id == commit) {
            let (_, line) = self.handed_over.remove(index);
            if let Some(now) = failed_at {
                self.record(line);
                self.records_again_at = Some(now + COMMIT_RETRY);
            }
        }
        if self.newest.state == LineState::HandedOver(commit) {
            match failed_at {
                None => self.newest = Newest::written(self.newest.says.clone()),
                Some(now) => self.newest.state = LineState::Failed { again_at: now + COMMIT_RETRY },
            }
        }
    }

    /// `may_write`: no forward move is being written, whose line must be the last one.
    pub(super) fn retry(&mut self, now: Instant, decision: &Decision, may_write: bool, effects: &mut Vec<Effect>) {
        let Some(unwritten) = &mut self.unwritten else { return };
        if may_write && unwritten.commit.is_none() && unwritten.retry_at <= now {
            self.last_commit += 1;
            let commit = CommitId(self.last_commit);
            unwritten.transition.decision.seen = decision.seen.clone();
            unwritten.transition.decision.lineage = decision.lineage.clone();
            unwritten.commit = Some(commit);
            effects.push(Effect::Commit(commit, unwritten.transition.clone()));
        }
        if unwritten.answer.as_ref().is_some_and(|(_, _, until)| *until <= now) {
            self.answer_waiting(false, effects);
        }
    }

    pub(super) fn record(&mut self, line: Transition) {
        if self.records.len() == WAITING {
            self.records.pop_front();
        }
        self.records.push_back(line);
    }

    /// Repeated refusals are summed up.
    pub(super) fn record_refused(
        &mut self,
        now: Now,
        (asked, origin): (Asked, Origin),
        gate: Option<GateReport>,
        refusal: &Refusal,
        decision: &Decision,
    ) {
        let Some(sentence) = self.refusals.sentence(now.mono, &asked, &origin, refusal) else { return };
        self.record(Transition {
            gate,
            refusal: Some((refusal.code().to_owned(), sentence)),
            asked: Some(asked),
            ..Transition::new(Kind::Refused, now.wall, origin, decision.clone())
        });
    }

    pub(super) fn await_write_back(&mut self, now: Instant) {
        self.write_back_until = Some(now + WRITE_BACK_PATIENCE);
    }

    pub(super) fn write_back_ended(&mut self) {
        self.write_back_until = None;
    }

    pub(super) fn write_records(&mut self, now: Instant, decision: &Decision, effects: &mut Vec<Effect>) {
        if self.is_behind() || self.records_again_at.is_some_and(|at| at > now) {
            return;
        }
        let drains_alone = self.records.iter().all(|line| line.kind == Kind::Drained);
        if drains_alone && self.write_back_until.is_some_and(|until| until > now) {
            return;
        }
        self.records_again_at = None;
        while let Some(line) = self.records.pop_front() {
            let line = Transition { decision: decision.clone(), ..line };
            let commit = self.hand_over(line.clone(), effects);
            self.handed_over.push((commit, line));
        }
    }

    pub(super) fn hand_over(&mut self, line: Transition, effects: &mut Vec<Effect>) -> CommitId {
        let commit = self.next_commit();
        (self.newest.says, self.newest.state) = (line.decision.clone(), LineState::HandedOver(commit));
        effects.push(Effect::Commit(commit, line));
        commit
    }

    /// The newest line differs from the decision in force, and may be written now.
    pub(super) fn has_to_note(&self, now: Instant, decision: &Decision) -> bool {
        match self.newest.state {
            LineState::Failed { again_at } => again_at <= now,
            LineState::Written | LineState::HandedOver(_) => self.newest.says != *decision,
        }
    }

    /// `steady`: no move is under way, which would wake the core itself.
    pub(super) fn deadline(&self, steady: bool, may_write: bool) -> Option<Instant> {
        let unwritten = self.unwritten.as_ref();
        let answer = unwritten.and_then(|unwritten| unwritten.answer.as_ref()).map(|(_, _, until)| *until);
        let retry = unwritten.filter(|unwritten| unwritten.commit.is_none() && may_write).map(|it| it.retry_at);
        let line = match self.newest.state {
            LineState::Failed { again_at } => Some(again_at),
            LineState::Written | LineState::HandedOver(_) => None,
        };
        let records = self.records_again_at.max(self.write_back_until).filter(|_| !self.records.is_empty());
        let again = line.into_iter().chain(records).filter(|_| steady && unwritten.is_none());
        [answer, retry].into_iter().flatten().chain(again).min()
    }
}
