//! An upgrade, as those see it who ask for one: another process takes over listeners, ledger and state.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::transition::Generation;
use crate::ledger::Parked;
use crate::telemetry::upgrades::Outcome;

#[derive(Debug)]
pub(crate) struct UpgradeOrder {
    /// How long the new process may take until it serves; `None`: the usual time.
    pub timeout: Option<Duration>,
    pub actor: String,
    pub reason: Option<String>,
    /// The outcome; nobody has to wait for it.
    pub answer: oneshot::Sender<Result<Upgraded, NotUpgraded>>,
}

/// The process that serves from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upgraded {
    pub pid: u32,
    pub version: String,
    pub generation: Generation,
    pub took: Duration,
}

/// Why the running process still serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotUpgraded {
    /// Something has to end first.
    Busy(String),
    /// The new process did not get so far.
    Failed(Outcome, String),
}

impl NotUpgraded {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            NotUpgraded::Busy(_) => Outcome::Refused,
            NotUpgraded::Failed(outcome, _) => *outcome,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        let (NotUpgraded::Busy(reason) | NotUpgraded::Failed(_, reason)) = self;
        reason
    }
}

/// The state of a controller that decides nothing. Dropping it lets the controller go on.
#[derive(Debug)]
pub(crate) struct HandedOver {
    /// With the lock.
    pub ledger: Parked,
    pub generation: Generation,
    /// Processes that served before this one, and their channels.
    pub before: Vec<(u32, OwnedFd)>,
    /// Ends the controller.
    pub done: oneshot::Sender<()>,
}
