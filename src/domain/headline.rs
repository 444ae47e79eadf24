//! The first line of the status: OK, or the worst problem and the command to type next.
//!
//! [`findings`] is a pure function of [`Facts`]. The worst finding comes first; findings of one level keep the order
//! in which clients are hurt.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::transition::{Freeze, Kind, Quarantined};

mod recovery;
mod words;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Ok,
    /// A chosen state, such as a freeze; clients are fine.
    Note,
    /// Something is broken, and requests are still answered.
    Warning,
    /// Requests get no response from the application.
    Outage,
}

impl Level {
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Outage => "outage",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub level: Level,
    pub code: &'static str,
    pub sentence: String,
    pub purpose: &'static str,
    /// A command line to paste; empty where none helps.
    pub next: String,
}

impl Finding {
    fn new(level: Level, code: &'static str, sentence: impl Into<String>) -> Finding {
        Finding { level, code, sentence: sentence.into(), purpose: "", next: String::new() }
    }

    fn next(mut self, purpose: &'static str, command: impl Into<String>) -> Finding {
        (self.purpose, self.next) = (purpose, command.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Ok => f.write_str("OK: ")?,
            Level::Note => f.write_str("Note: ")?,
            Level::Warning => f.write_str("WARNING: ")?,
            Level::Outage => f.write_str("OUTAGE: ")?,
        }
        write!(f, "{}.", self.sentence)?;
        if !self.next.is_empty() {
            write!(f, " {}: {}", self.purpose, self.next)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointFacts {
    pub upstream: String,
    pub endpoint: String,
    /// The result of its checks; `None`: not known yet.
    pub up: Option<bool>,
    /// Ejected after failures: it gets no requests for a while.
    pub ejected: bool,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColorFacts {
    pub release: Release,
    pub endpoints: Vec<EndpointFacts>,
    /// Per second, over the last ten seconds.
    pub requests: f64,
    /// Responses with 5xx per second.
    pub errors: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongRelease {
    pub color: Color,
    pub endpoint: String,
    pub says: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnHold {
    /// False: by hand.
    pub for_move: bool,
    pub by: String,
    pub reason: Option<String>,
    pub requests: usize,
    pub ends_in: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maintained {
    pub since: SystemTime,
    pub by: String,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub kind: Kind,
    pub to: Color,
    pub waits_for: String,
    pub first: Option<String>,
    pub ends_in: Option<Duration>,
    pub by: String,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnItsWay {
    pub color: Color,
    pub release: Release,
    pub weight: String,
    pub canary: bool,
    pub stopped: Option<Stop>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Held { by: String, reason: String },
    Suspect,
    BaselineUnhealthy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub name: String,
    pub path: String,
    pub not_after: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFile {
    pub setting: String,
    pub path: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub has_target: bool,
    pub is_unsafe: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub now: SystemTime,
    pub config: String,
    pub state_dir: String,
    pub active: Color,
    pub release: Release,
    pub colors: PerColor<ColorFacts>,
    pub quorum_percent: u8,
    /// The color was forced: its endpoints get requests although no check passes.
    pub by_force: bool,
    pub both_unhealthy: bool,
    pub durable: bool,
    pub ledger: Option<(SystemTime, String)>,
    pub file_error: Option<String>,
    /// Color, code and sentence of the refused order in the file.
    pub order_refused: Option<(Color, &'static str, String)>,
    /// The file names this color, which does not serve.
    pub file_disagrees: Option<Color>,
    pub write_back_error: Option<String>,
    pub wrong_releases: Vec<WrongRelease>,
    pub certificates: Vec<Certificate>,
    pub bad_files: Vec<BadFile>,
    pub names: Vec<(String, String)>,
    pub sinks: Vec<(String, String)>,
    pub freeze: Option<Freeze>,
    pub held: Option<OnHold>,
    pub maintenance: bool,
    pub maintained: Option<Maintained>,
    pub moving: Option<Pending>,
    pub on_its_way: Option<OnItsWay>,
    pub quarantine: Vec<Quarantined>,
    pub rollback: Way,
    pub switch_unsafe: bool,
}

impl Facts {
    fn live(&self) -> &ColorFacts {
        &self.colors[self.active]
    }

    fn other(&self) -> &ColorFacts {
        &self.colors[self.active.other()]
    }
}

/// The worst finding first. Never empty.
#[must_use]
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = words::all(facts);
    if found.iter().all(|finding| finding.level <= Level::Note) {
        found.push(words::well(facts));
    }
    found.sort_by_key(|finding| match finding.level {
        Level::Outage => 0,
        Level::Warning => 1,
        Level::Ok => 2,
        Level::Note => 3,
    });
    found
}

#[cfg(test)]
mod tests;
