//! Ledger lines: written, acknowledged, announced, and kept as the history.
//!
//! A forward move is published after the acknowledgement of its line, which has the whole decision after the move:
//! `ledger/format.rs` has its fields, `ledger/format/decision.rs` those of the decision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::control::handle::News;
use crate::control::{Controller, Input, canary};
use crate::domain::history::{Filter, History};
use crate::domain::rollout::{CommitId, Event};
use crate::domain::transition::{Generation, Kind, Origin, Transition, Trigger};
use crate::ledger::Ledger;
use crate::notify::RecordedLine;
use crate::proxy::precedence;

const HISTORY_LOOKED_THROUGH: usize = 200;
const TELL_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Records {
    ledger: Ledger,
    unacknowledged: HashMap<CommitId, Arc<Transition>>,
    history: History,
    /// The last move back that was announced; it may not be on disk yet.
    announced: Generation,
    maintained: Option<(SystemTime, Origin)>,
    /// Begin and reason of a failure of the ledger.
    trouble: Option<(SystemTime, String)>,
    trouble_logged: Instant,
}

impl Records {
    /// `lines`: the whole ledger, oldest first. `durable`: it has the first decision.
    pub(super) fn new(ledger: Ledger, lines: Vec<RecordedLine>, durable: bool) -> Records {
        let mut history = History::default();
        for (sequence, transition) in lines {
            history.push(sequence, transition);
        }
        let maintained = history.newest_first().find(|(_, line)| line.kind == Kind::Maintenance);
        let maintained = maintained.map(|(_, line)| (line.at, line.origin.clone()));
        let trouble = (!durable).then(|| (SystemTime::now(), "the first decision could not be written".to_owned()));
        Records {
            ledger,
            unacknowledged: HashMap::new(),
            history,
            announced: Generation::default(),
            maintained,
            trouble,
            trouble_logged: Instant::now(),
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn maintained(&self) -> Option<&(SystemTime, Origin)> {
        self.maintained.as_ref()
    }

    pub(super) fn trouble(&self) -> Option<&(SystemTime, String)> {
        self.trouble.as_ref()
    }

    /// Every line that was handed to the ledger was answered.
    pub(super) fn is_settled(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    pub(super) fn last_refused_order(&self) -> Option<(String, String)> {
        let lines = self.history.page(HISTORY_LOOKED_THROUGH, None, &Filter::default());
        let last = lines.into_iter().find(|(_, line)| line.origin.trigger == Trigger::File && line.kind.shown())?;
        last.1.refusal.clone()
    }

    fn write(
        &mut self,
        commit: CommitId,
        transition: &Arc<Transition>,
        done: impl FnOnce(Result<u64, String>) + Send + 'static,
    ) {
        if transition.kind == Kind::Maintenance {
            self.maintained = Some((transition.at, transition.origin.clone()));
        }
        self.unacknowledged.insert(commit, Arc::clone(transition));
        self.ledger.commit(Transition::clone(transition), precedence::pause, done);
    }

    /// True once for each move back.
    fn announce(&mut self, transition: &Transition) -> bool {
        let new = goes_back(transition) && transition.decision.generation > self.announced;
        if new {
            self.announced = transition.decision.generation;
        }
        new
    }

    fn was_announced(&self, transition: &Transition) -> bool {
        goes_back(transition) && transition.decision.generation <= self.announced
    }

    fn push(&mut self, sequence: u64, transition: Arc<Transition>) {
        self.history.push(sequence, transition);
    }

    fn note_disk(&mut self, result: Result<(), &str>) {
        match (result, &self.trouble) {
            (Ok(()), Some((since, _))) => {
                let failed_s = SystemTime::now().duration_since(*since).unwrap_or(Duration::ZERO).as_secs();
                tracing::info!(failed_s, "Ledger writable again");
                self.trouble = None;
            }
            (Ok(()), None) => {}
            (Err(error), known) => {
                // The write is repeated every second.
                let news = known.as_ref().is_none_or(|(_, before)| before != error);
                if news || self.trouble_logged.elapsed() >= TELL_AGAIN {
                    tracing::error!(error, "Ledger not writable");
                    self.trouble_logged = Instant::now();
                }
                let since = known.as_ref().map_or_else(SystemTime::now, |(since, _)| *since);
                self.trouble = Some((since, error.to_owned()));
            }
        }
    }
}

impl Controller {
    /// A forward move waits for its connections as well, unless it holds requests. Lines are acknowledged in their
    /// order: the next one ends the wait.
    pub(super) fn committed(&mut self, commit: CommitId, result: Result<u64, String>) {
        self.end_wait_for_connections(None);
        let is_forward =
            self.records.unacknowledged.get(&commit).is_some_and(|transition| !self.is_in_force(transition));
        if is_forward
            && result.is_ok()
            && !self.hold.is_held()
            && let Some(warming) = self.warming.take()
        {
            self.waiting_for_connections = Some((commit, result));
            let inputs = self.inputs.clone();
            tokio::spawn(async move {
                warming.ended().await;
                let _ = inputs.send(Input::Warmed(commit));
            });
            return;
        }
        self.acknowledged(commit, result);
    }

    /// Ends the wait of this line, or of any.
    pub(super) fn end_wait_for_connections(&mut self, of: Option<CommitId>) {
        let waiting = self.waiting_for_connections.take_if(|(commit, _)| of.is_none_or(|of| of == *commit));
        if let Some((commit, result)) = waiting {
            self.acknowledged(commit, result);
        }
    }

    fn acknowledged(&mut self, commit: CommitId, result: Result<u64, String>) {
        let transition = self.records.unacknowledged.remove(&commit);
        let event = match &result {
            Ok(_) => Event::Committed(commit),
            Err(reason) => Event::CommitFailed(commit, reason.clone()),
        };
        self.handle(event);
        self.records.note_disk(result.as_ref().map(|_| ()).map_err(String::as_str));
        if let (Ok(sequence), Some(transition)) = (result, transition) {
            self.recorded(sequence, transition);
        }
    }

    pub(super) fn commit(&mut self, commit: CommitId, transition: Transition) {
        let transition = Arc::new(transition);
        precedence::pause();
        let inputs = self.inputs.clone();
        self.records.write(commit, &transition, move |result| {
            let _ = inputs.send(Input::Committed(commit, result));
        });
        // A move back is in force already, so it is announced before it is on disk, and once even if the disk fails.
        if self.is_in_force(&transition) && self.records.announce(&transition) {
            self.announce(0, &transition);
            self.notify_transition(0, &transition);
        }
    }

    fn is_in_force(&self, transition: &Transition) -> bool {
        self.rollout.decision().generation == transition.decision.generation
    }

    pub(super) fn recorded(&mut self, sequence: u64, transition: Arc<Transition>) {
        if self.records.was_announced(&transition) {
            self.notices.recorded(sequence, &transition);
        } else {
            if transition.kind.shown() {
                self.announce(sequence, &transition);
            }
            self.notify_transition(sequence, &transition);
        }
        self.records.push(sequence, transition);
    }

    fn announce(&mut self, sequence: u64, transition: &Arc<Transition>) {
        let decision = &transition.decision;
        let (color, release, generation) = (decision.active, &decision.release, decision.generation.0);
        let (actor, reason) = (&transition.origin.actor, transition.origin.reason.as_deref().unwrap_or(""));
        let took_ms = millis(transition.took);
        match (transition.kind, &transition.refusal) {
            (Kind::Start, _) => {
                tracing::info!(%color, %release, generation, "First start: the color of the file serves")
            }
            (Kind::Switch, _) => {
                tracing::info!(%color, %release, generation, actor, reason, took_ms, forced = transition.forced, "Switched");
            }
            (Kind::Rollback, _) => {
                tracing::warn!(%color, %release, generation, actor, reason, took_ms, forced = transition.forced, "Rolled back");
            }
            (Kind::Release, _) => {
                tracing::info!(%color, %release, generation, actor, "Live color relabeled")
            }
            (Kind::Freeze, _) => {
                tracing::warn!(%color, actor, reason, "Moves frozen; only a rollback moves traffic")
            }
            (Kind::Unfreeze, _) => tracing::info!(%color, actor, reason, "Moves allowed again"),
            (Kind::KnownGood, _) => tracing::info!(%color, %release, "Release known good"),
            // Logged when they happened.
            (Kind::Refused, _) => {}
            (Kind::Seen, Some((code, refusal))) => {
                tracing::warn!(%color, code, refusal, actor, "Order of the file refused");
            }
            (Kind::Barrier, _) => {
                tracing::warn!(%color, %release, actor, reason, "Barrier passed; a rollback is no longer safe");
            }
            (Kind::Hold, _) => tracing::warn!(%color, actor, reason, "Traffic paused"),
            (Kind::HoldEnd, _) => tracing::info!(%color, actor, reason, took_ms, "Traffic resumed"),
            (Kind::Maintenance, _) => {
                let maintenance = decision.maintenance;
                tracing::warn!(maintenance, %color, generation, actor, reason, "Maintenance turned on or off");
            }
            (
                Kind::Canary
                | Kind::Advance
                | Kind::Abort
                | Kind::CanaryHold
                | Kind::CanaryResume
                | Kind::Suspect
                | Kind::WouldRollBack
                | Kind::RollbackBlocked
                | Kind::BaselineUnhealthy
                | Kind::BothUnhealthy
                | Kind::Recovered,
                _,
            ) => canary::announce(transition),
            (Kind::Noted | Kind::Drained, _) => {}
            (Kind::Staged, _) => {}
            (Kind::Seen, None) => tracing::info!(%color, actor, "Order of the file already in force"),
        }
        if goes_back(transition) {
            self.numbers.tallies_mut().rolled_back(transition.origin.trigger.name());
        }
        if transition.origin.trigger == Trigger::File {
            self.numbers.tallies_mut().switched(
                "file",
                match (transition.kind, &transition.refusal) {
                    (Kind::Seen, Some(_)) => "refused",
                    (Kind::Seen, None) => "unchanged",
                    _ => "done",
                },
            );
        }
        let _ = self.news.send(News::Transition(sequence, Arc::clone(transition)));
    }
}

/// Such a move is in force before it is on disk.
fn goes_back(transition: &Transition) -> bool {
    matches!(transition.kind, Kind::Rollback | Kind::Abort)
}

/// Exact to the microsecond, for log lines.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
