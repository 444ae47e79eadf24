//! The durable facts: the decision state, and the record of each change to it.
//!
//! A [`Transition`] carries the whole [`Decision`] after it, so the last one that can be read says everything that a
//! restart needs.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::gate::GateReport;
use crate::domain::release::Release;
use crate::domain::schema::Lineage;

/// The number of the decision in force. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that was decided and has to survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Grows with every decision that moves traffic or relabels the active color.
    pub generation: Generation,
    /// The color that serves.
    pub active: Color,
    /// The release that serves.
    pub release: Release,
    /// Since when this color serves.
    pub since: SystemTime,
    /// What served before on the other color: where a rollback goes.
    pub previous: Option<Previous>,
    /// The order last seen in the configuration file, obeyed or not. Only a change against it is a new order.
    pub seen: FileOrder,
    /// The releases that took traffic, with what they did to the data stores.
    pub lineage: Lineage,
}

/// What served before the present decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// On which color.
    pub color: Color,
    /// Which release.
    pub release: Release,
    /// When it stopped serving.
    pub until: SystemTime,
}

/// What the configuration file says about who should serve: its `active`, and the `release` of that color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrder {
    /// The value of `active`.
    pub active: Color,
    /// The `release` of that color.
    pub release: Release,
}

/// What kind of thing a [`Transition`] records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first start with an empty ledger took the file's word.
    Start,
    /// A forward move to the other color.
    Switch,
    /// A move back to what served before.
    Rollback,
    /// The active color got another release under it.
    Release,
    /// An order in the file was looked at and nothing moved: it was refused, or already so.
    /// Recorded so that a restart does not take the same words for a new order.
    Seen,
    /// The release that serves passed its barrier: the way back is not safe any more.
    Barrier,
    /// The file says something else and that orders nothing: it was put right, or a label changed. Recorded so that a
    /// restart can tell an edit made while the process was down. Bookkeeping; the history does not show it.
    Noted,
}

/// Where a command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The admin API, and so the command line.
    Api,
    /// An edit of the configuration file.
    File,
    /// The program's own start.
    Start,
    /// What was seen in the traffic.
    Traffic,
}

/// Who asked, from where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// By which way.
    pub trigger: Trigger,
    /// Token name, `uid 1000`, the file's path, or a request.
    pub actor: String,
    /// The peer's address, or empty.
    pub source: String,
    /// The reason that was given.
    pub reason: Option<String>,
}

/// One durable record: one line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What happened.
    pub kind: Kind,
    /// When.
    pub at: SystemTime,
    /// Who, and why.
    pub origin: Origin,
    /// What served before.
    pub from: Option<(Color, Release)>,
    /// The gate was told to stand aside.
    pub forced: bool,
    /// What the gate saw, if it was asked.
    pub gate: Option<GateReport>,
    /// For [`Kind::Seen`]: why nothing moved (a stable code and a sentence); `None` if it was already so.
    pub refusal: Option<(String, String)>,
    /// From the command to the decision.
    pub took: Duration,
    /// The whole state after it.
    pub decision: Decision,
}
