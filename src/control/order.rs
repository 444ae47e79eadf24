//! Orders and the file: an order to move traffic first takes in the file as it stands.
//!
//! The watch reads the file on its own thread, while the order waits outside the core for a bounded time. An invalid
//! file refuses a forward move. A rollback uses the configuration in force and says so.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::error::ConfigError;
use crate::config::watch::{LookError, Looked, PATIENCE};
use crate::control::handle::Ticket;
use crate::control::{Controller, Input};
use crate::domain::deployment::Deployment;
use crate::domain::force::Guard;
use crate::domain::rollout::{Command, Event, FileError, FileProblem, Moving, Outcome, Refusal, Target, called_off_by};
use crate::domain::transition::{Kind, Origin};
use crate::proxy::precedence;

/// How long a rollback waits for a file that is being written.
const BACK_PATIENCE: Duration = Duration::from_millis(300);
/// How long a disk may take to answer at all.
const DISK_PATIENCE: Duration = Duration::from_millis(200);

type Answer = oneshot::Sender<Result<Outcome, Refusal>>;

#[derive(Debug, Default)]
pub(super) struct Orders {
    waiting: BTreeMap<Ticket, (Command, Answer)>,
    /// The mark that an order's target must have: see [`Request::Command`](crate::control::handle::Request::Command).
    marks: BTreeMap<Ticket, String>,
}

impl Orders {
    /// No command waits for the file.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The direction of an order, which decides about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// More traffic for a release: needs a valid file.
    Forward,
    /// Less traffic, or none at all: never blocked.
    Back,
    /// No traffic moves.
    Aside,
}

impl Controller {
    pub(super) fn order(&mut self, ticket: Ticket, command: Command, mark: Option<String>, answer: Answer) {
        let patience = match self.direction(&command) {
            Direction::Forward => PATIENCE,
            Direction::Back => BACK_PATIENCE,
            Direction::Aside => return self.command(ticket, command, answer, None),
        };
        if matches!(command, Command::Rollback { dry_run: false, .. } | Command::CanaryAbort { .. })
            && let Some(cancelled) = self.cancel_waiting(command.origin())
        {
            // A rollback during a move cancels that move.
            let id = self.await_reply(ticket, &command, answer, None);
            let cancelled = Some(cancelled);
            let outcome = Outcome { cancelled, ..self.rollout.untouched(super::now()) };
            return self.reply(id, Ok(outcome));
        }
        self.orders.waiting.insert(ticket, (command, answer));
        self.orders.marks.extend(mark.map(|mark| (ticket, mark)));
        let (sender, looked) = oneshot::channel();
        precedence::pause();
        self.watch.look(patience, move |found| {
            let _ = sender.send(found);
        });
        let (inputs, path) = (self.inputs.clone(), self.file.shown_path());
        tokio::spawn(async move {
            let longest = patience + DISK_PATIENCE;
            let busy = || Err(LookError::Busy(format!("{path} could not be read in {} ms", longest.as_millis())));
            let looked = tokio::time::timeout(longest, looked).await;
            // Queued behind the file's event, so that the order finds the edit in force.
            let _ =
                inputs.send(Input::Ordered(ticket, looked.unwrap_or_else(|_| Ok(busy())).unwrap_or_else(|_| busy())));
        });
    }

    pub(super) fn ordered(&mut self, ticket: Ticket, looked: Looked) {
        let mark = self.orders.marks.remove(&ticket);
        let Some((command, answer)) = self.orders.waiting.remove(&ticket) else { return };
        let forward = self.direction(&command) == Direction::Forward;
        if forward && self.staging.is_writing(self.rollout.active().other()) {
            // A release being staged is newer than this read.
            return self.order(ticket, command, mark, answer);
        }
        if let Some(refusal) =
            mark.filter(|_| looked.is_ok()).and_then(|mark| self.differs_from_staged(&command, &mark))
        {
            return self.obstruct(ticket, command, answer, refusal);
        }
        precedence::pause();
        let Err(mut refusal) = taken_in(looked, self.file.not_in_force()) else {
            return self.command(ticket, command, answer, None);
        };
        if let Refusal::InvalidFile(problem) = &mut refusal {
            problem.instead = self.command_without_file(&command);
        }
        let forced = match &command {
            Command::Switch { force, .. } | Command::CanaryStart { force, .. } => force.overrides(Guard::File),
            _ => false,
        };
        if forward && !forced {
            return self.obstruct(ticket, command, answer, refusal);
        }
        let problem = match &refusal {
            Refusal::InvalidFile(problem) => format!("the configuration file is not valid: {}", problem.text),
            other => match other {
                Refusal::FileBusy(why) => why.clone(),
                _ => other.to_string(),
            },
        };
        tracing::warn!(reason = problem, "Command uses the configuration in force");
        let mut command = command;
        if let Command::Switch { terms, .. } | Command::CanaryStart { terms, .. } = &mut command {
            terms.past_file = forced;
        }
        self.command(ticket, command, answer, Some(problem));
    }

    fn command_without_file(&self, command: &Command) -> Option<String> {
        let other = self.rollout.active().other();
        match command {
            Command::Switch { to: Target::Color(color), .. } => Some(format!("cutover switch {color} --force=file")),
            Command::Switch { .. } => Some(format!("cutover switch {other} --force=file")),
            Command::CanaryStart { .. } => Some("cutover canary start --force=file".to_owned()),
            _ => None,
        }
    }

    pub(super) fn goes_forward(&self, command: &Command) -> bool {
        self.direction(command) == Direction::Forward
    }

    fn direction(&self, command: &Command) -> Direction {
        match command {
            // No move, or the end of a canary.
            Command::Switch { to, .. } if *to == Target::Color(self.rollout.active()) => Direction::Back,
            Command::Switch { .. } | Command::CanaryStart { .. } | Command::CanaryAdvance { .. } => Direction::Forward,
            Command::Rollback { .. } | Command::CanaryAbort { .. } | Command::Maintain { .. } => Direction::Back,
            Command::CanaryHold { .. }
            | Command::CanaryResume { .. }
            | Command::Hold { .. }
            | Command::Release { .. }
            | Command::Freeze { .. }
            | Command::Unfreeze { .. } => Direction::Aside,
        }
    }

    /// Refuses forward moves that wait for the file. Returns one if there was any and no canary is under way.
    fn cancel_waiting(&mut self, by: &Origin) -> Option<Moving> {
        let waiting = std::mem::take(&mut self.orders.waiting);
        let (forward, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            waiting.into_iter().partition(|(_, (command, _))| self.direction(command) == Direction::Forward);
        self.orders.waiting = rest;
        let called_off = forward.values().next().map(|(command, _)| self.rollout.would_move(super::now(), command));
        for (ticket, (command, answer)) in forward {
            self.obstruct(ticket, command, answer, Refusal::Withdrawn(called_off_by(by, Kind::Rollback)));
        }
        let canary = self.rollout.decision().deployment.as_ref().is_some_and(Deployment::is_canary);
        called_off.filter(|_| !canary)
    }

    pub(super) fn give_up(&mut self, ticket: Ticket) {
        if let Some((command, answer)) = self.orders.waiting.remove(&ticket) {
            let active = self.rollout.active();
            return self.obstruct(ticket, command, answer, Refusal::GivenUp { active });
        }
        if let Some(id) = self.replies.of_ticket(ticket) {
            self.handle(Event::GivenUp(id));
        }
    }

    fn obstruct(&mut self, ticket: Ticket, command: Command, answer: Answer, refusal: Refusal) {
        let id = self.await_reply(ticket, &command, answer, None);
        self.handle(Event::Obstructed(id, command, refusal));
    }

    fn command(&mut self, ticket: Ticket, command: Command, answer: Answer, file_problem: Option<String>) {
        // A client that saw the response to the first write must not find the rollback safe.
        while let Some(seen) = self.inbox.try_first_write() {
            self.first_write(seen);
        }
        let id = self.await_reply(ticket, &command, answer, file_problem);
        self.handle(Event::Command(id, command));
    }
}

/// The file's content is in force. `wrong`: the reason why a valid text is not.
pub(super) fn taken_in(looked: Looked, wrong: Option<&ConfigError>) -> Result<bool, Refusal> {
    match (looked, wrong) {
        (Err(LookError::Busy(why)), _) => Err(Refusal::FileBusy(why)),
        (Err(LookError::Invalid(error)), _) => Err(Refusal::InvalidFile(Box::new(problem(&error)))),
        (Ok(_), Some(error)) => Err(Refusal::InvalidFile(Box::new(problem(error)))),
        (Ok(changed), None) => Ok(changed),
    }
}

fn problem(error: &ConfigError) -> FileProblem {
    let errors = error.diagnostics.iter().map(|diagnostic| {
        let (line, column) = error.place(diagnostic);
        FileError { line, column, message: diagnostic.message.clone(), help: diagnostic.help.clone() }
    });
    FileProblem { text: error.to_string(), drawn: error.render(false), errors: errors.collect(), instead: None }
}
