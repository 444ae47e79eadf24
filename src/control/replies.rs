//! Answers owed to clients: each command is answered once, by the core's reply.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::control::Controller;
use crate::control::handle::Ticket;
use crate::domain::rollout::{Command, CommandId, Outcome, Refusal};
use crate::domain::transition::Origin;

/// How long an answer waits for the write-back of `active`, so that a script that edits the file next finds it
/// written.
const WRITE_BACK_PATIENCE: Duration = Duration::from_secs(1);

pub(super) type Answer = oneshot::Sender<Result<Outcome, Refusal>>;

#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: HashMap<CommandId, Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    trigger: &'static str,
    counts: bool,
    origin: Origin,
    /// The reason why the file could not be taken in first.
    file_problem: Option<String>,
    answer: Answer,
}

impl Replies {
    fn wait(&mut self, waiting: Waiting) -> CommandId {
        self.last += 1;
        let id = CommandId(self.last);
        self.waiting.insert(id, waiting);
        id
    }

    fn take(&mut self, id: CommandId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    /// No command waits for its answer.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn of_ticket(&self, ticket: Ticket) -> Option<CommandId> {
        self.waiting.iter().find_map(|(id, waiting)| (waiting.ticket == ticket).then_some(*id))
    }
}

impl Controller {
    pub(super) fn await_reply(
        &mut self,
        ticket: Ticket,
        command: &Command,
        answer: Answer,
        file_problem: Option<String>,
    ) -> CommandId {
        let (trigger, counts) = match command {
            Command::Switch { dry_run, .. } => ("api", !dry_run),
            Command::Rollback { dry_run, .. } => ("rollback", !dry_run),
            Command::CanaryStart { .. }
            | Command::CanaryAdvance { .. }
            | Command::CanaryHold { .. }
            | Command::CanaryResume { .. }
            | Command::CanaryAbort { .. }
            | Command::Freeze { .. }
            | Command::Unfreeze { .. }
            | Command::Hold { .. }
            | Command::Release { .. }
            | Command::Maintain { .. } => ("", false),
        };
        let origin = command.origin().clone();
        self.replies.wait(Waiting { ticket, trigger, counts, origin, file_problem, answer })
    }

    pub(super) fn reply(&mut self, id: CommandId, mut result: Result<Outcome, Refusal>) {
        let Some(Waiting { trigger, counts, origin, file_problem, answer, .. }) = self.replies.take(id) else {
            return;
        };
        if let Ok(outcome) = &mut result {
            outcome.pending.iter_mut().for_each(|moving| self.add_check_progress(moving));
            outcome.file_problem = file_problem;
        }
        match &result {
            Ok(outcome) if counts => {
                self.numbers.tallies_mut().switched(trigger, if outcome.changed { "done" } else { "unchanged" });
            }
            Ok(_) => {}
            Err(refusal) => {
                if counts {
                    self.numbers.tallies_mut().switched(trigger, "refused");
                }
                let Origin { actor, source, reason, .. } = &origin;
                let reason = reason.as_deref().unwrap_or("");
                tracing::warn!(code = refusal.code(), %refusal, actor, source, reason, "Command refused");
            }
        }
        let moved = result.as_ref().is_ok_and(|outcome| outcome.changed);
        // The answer to a rollback does not wait.
        if moved
            && trigger != "rollback"
            && let Some(written) = self.file.written_back()
        {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(WRITE_BACK_PATIENCE, written).await;
                let _ = answer.send(result);
            });
            return;
        }
        let _ = answer.send(result);
    }
}
