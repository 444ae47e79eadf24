//! Lines that move nothing: attempts that were refused, ends of drains, what came by itself. They wait until no move is
//! being written, so that the last line on disk is always the decision in force.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::gate::GateReport;
use crate::domain::rollout::{COMMIT_RETRY, CommitId, Effect, Line, LineState, Refusal, Rollout, State};
use crate::domain::transition::{Asked, Drained, Kind, Origin, Transition, Trigger};

/// The same refusal is written again after this, then after twice as long, and so on,
const AGAIN: Duration = Duration::from_secs(60);
/// up to this.
const AGAIN_AT_MOST: Duration = Duration::from_secs(3_600);
/// Kinds of refusals that are told apart.
const KINDS: usize = 32;
/// So many lines wait for a disk that does not write; the oldest go first.
const WAITING: usize = 100;

/// A refusal that was written down. Ports and reasons differ from try to try, so they do not count.
#[derive(Debug)]
pub(super) struct Refused {
    asked: Asked,
    trigger: Trigger,
    actor: String,
    code: &'static str,
    /// When it was asked last.
    last: Instant,
    /// When the next line is written, and the pause behind that one.
    again: Instant,
    pause: Duration,
    /// Attempts since the last line.
    untold: u32,
}

impl Rollout {
    pub(super) fn record(&mut self, line: Transition) {
        if self.records.len() == WAITING {
            self.records.pop_front();
        }
        self.records.push_back(line);
    }

    /// Writes down that a command was refused.
    pub(super) fn record_refused(
        &mut self,
        now: Now,
        asked: Asked,
        origin: Origin,
        gate: Option<GateReport>,
        refusal: &Refusal,
    ) {
        let code = refusal.code();
        self.refused.retain(|known| now.mono < known.last + AGAIN_AT_MOST);
        let same = |known: &Refused| {
            (&known.asked, known.trigger, &known.actor, known.code) == (&asked, origin.trigger, &origin.actor, code)
        };
        let mut sentence = match refusal {
            // To whoever gave up it is told as their own.
            Refusal::GivenUp { active } => {
                format!(
                    "called off by {}, who asked for it, before any traffic moved; {active} keeps serving",
                    origin.actor
                )
            }
            refusal => refusal.to_string(),
        };
        match self.refused.iter().position(same) {
            Some(index) => {
                let known = &mut self.refused[index];
                known.last = now.mono;
                if now.mono < known.again {
                    known.untold += 1;
                    return;
                }
                if known.untold > 0 {
                    sentence = format!("{sentence} (and {} more times since the last line about it)", known.untold);
                }
                known.pause = (known.pause * 2).min(AGAIN_AT_MOST);
                (known.again, known.untold) = (now.mono + known.pause, 0);
            }
            None => {
                if self.refused.len() == KINDS {
                    self.refused.remove(0);
                }
                self.refused.push(Refused {
                    asked: asked.clone(),
                    trigger: origin.trigger,
                    actor: origin.actor.clone(),
                    code,
                    last: now.mono,
                    again: now.mono + AGAIN,
                    pause: AGAIN,
                    untold: 0,
                });
            }
        }
        self.record(Transition {
            gate,
            refusal: Some((code.to_owned(), sentence)),
            asked: Some(asked),
            ..Transition::new(Kind::Refused, now.wall, origin, self.decision.clone())
        });
    }

    pub(super) fn drained(&mut self, now: Now, drained: Drained) {
        let origin = by_itself(None);
        let line = Transition::new(Kind::Drained, now.wall, origin, self.decision.clone());
        self.record(Transition { took: drained.took, drained: Some(drained), ..line });
    }

    /// Hands over what waits, if no line that decides something is on its way, and the disk is not known to be sick.
    pub(super) fn write_records(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let sick = self.records_again_at.is_some_and(|at| at > now.mono);
        if matches!(self.state, State::Committing(..)) || self.unwritten.is_some() || sick {
            return;
        }
        self.records_again_at = None;
        while let Some(line) = self.records.pop_front() {
            let line = Transition { decision: self.decision.clone(), ..line };
            let commit = self.hand_over(line.clone(), effects);
            self.handed_over.push((commit, line));
        }
    }

    /// Hands over a line that moves nothing.
    pub(super) fn hand_over(&mut self, line: Transition, effects: &mut Vec<Effect>) -> CommitId {
        let commit = CommitId(self.new_id());
        (self.line.says, self.line.state) = (line.decision.clone(), LineState::HandedOver(commit));
        effects.push(Effect::Commit(commit, line));
        commit
    }

    /// What becomes of a line that moved nothing. What one said that could not be written is said again later.
    pub(super) fn line_written(&mut self, commit: CommitId, failed_at: Option<Instant>) {
        if let Some(index) = self.handed_over.iter().position(|(id, _)| *id == commit) {
            let (_, line) = self.handed_over.remove(index);
            if let Some(now) = failed_at {
                self.record(line);
                self.records_again_at = Some(now + COMMIT_RETRY);
            }
        }
        if self.line.state == LineState::HandedOver(commit) {
            match failed_at {
                None => self.line = Line::written(self.line.says.clone()),
                Some(now) => self.line.state = LineState::Failed { again_at: now + COMMIT_RETRY },
            }
        }
    }

    /// Whether the newest line does not say what is in force, and it is time to say so.
    pub(super) fn has_to_note(&self, now: Now) -> bool {
        match self.line.state {
            LineState::Failed { again_at } => again_at <= now.mono,
            LineState::Written | LineState::HandedOver(_) => self.line.says != self.decision,
        }
    }
}

/// What nobody asked for.
pub(super) fn by_itself(reason: Option<&str>) -> Origin {
    Origin {
        trigger: Trigger::Automatic,
        actor: "cutover".to_owned(),
        source: String::new(),
        reason: reason.map(str::to_owned),
        key: None,
    }
}
