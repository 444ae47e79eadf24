//! The first line of the status: OK, or what is wrong and the command to type next.
//!
//! [`findings`] is a pure function of [`Facts`]. The worst finding comes first; findings of one level keep the order in
//! which clients are hurt.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;
use crate::domain::transition::{Freeze, Kind, Quarantined};

mod recovery;
mod words;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// All is well.
    Ok,
    /// A state that somebody chose, such as a freeze; nobody is hurt.
    Note,
    /// Something is broken, and requests are still answered.
    Warning,
    /// Requests get no answer from the application.
    Outage,
}

impl Level {
    /// For programs.
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

/// One thing to know, and the command that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// How bad.
    pub level: Level,
    /// Stable, for programs.
    pub code: &'static str,
    /// What happened, and what is true now.
    pub sentence: String,
    /// What the command is good for: "To recover".
    pub purpose: &'static str,
    /// A command line that can be pasted; empty where none helps.
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

/// An endpoint, as far as the headline needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointFacts {
    /// Of which upstream.
    pub upstream: String,
    /// As the configuration writes it.
    pub endpoint: String,
    /// It passes its checks; `None`: not known yet.
    pub up: Option<bool>,
    /// It failed too often, and gets no requests for a while.
    pub ejected: bool,
    /// The last probe in a few words.
    pub detail: String,
}

/// One color.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColorFacts {
    /// What is deployed there.
    pub release: Release,
    /// Its endpoints.
    pub endpoints: Vec<EndpointFacts>,
    /// Requests a second, over the last ten.
    pub requests: f64,
    /// Of these with 5xx.
    pub errors: f64,
}

/// An endpoint that answers as another release than its label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WrongRelease {
    /// Of which color.
    pub color: Color,
    /// Which endpoint.
    pub endpoint: String,
    /// What its answers say.
    pub says: String,
}

/// Requests are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// By a move without overlap; else by hand.
    pub for_move: bool,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// How many wait.
    pub requests: usize,
    /// For how long at most.
    pub ends_in: Duration,
}

/// The operator who turned maintenance on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Maintained {
    /// Since when.
    pub since: SystemTime,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// A move that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// What it is.
    pub kind: Kind,
    /// Where it goes.
    pub to: Color,
    /// What it waits for: "health checks".
    pub waits_for: String,
    /// The first thing in its way, where that says more.
    pub first: Option<String>,
    /// For how long at most; `None`: nobody knows.
    pub ends_in: Option<Duration>,
    /// The actor who asked for it.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// A release on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OnItsWay {
    /// On which color.
    pub color: Color,
    /// Which.
    pub release: Release,
    /// Its share in words, such as "5 %".
    pub weight: String,
    /// It has not taken the traffic yet.
    pub canary: bool,
    /// Why it does not advance by itself.
    pub stopped: Option<Stop>,
}

/// Why a release does not advance by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody paused it, and why.
    Held {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// There is evidence against it.
    Suspect,
    /// The release it is compared with fails.
    BaselineUnhealthy,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its first name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

/// A file that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFile {
    /// The setting that names it.
    pub setting: String,
    /// The file.
    pub path: String,
    /// The reason.
    pub reason: String,
}

/// Where a rollback would go, and what stands in its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// It has a target.
    pub has_target: bool,
    /// The data stores speak against it.
    pub is_unsafe: bool,
}

/// What the headline is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// When this was so.
    pub now: SystemTime,
    /// The configuration file.
    pub config: String,
    /// The directory of the ledger.
    pub state_dir: String,
    /// The color that serves.
    pub active: Color,
    /// The release that serves.
    pub release: Release,
    /// Both colors.
    pub colors: PerColor<ColorFacts>,
    /// The share of endpoints that the gate requires, in percent.
    pub quorum_percent: u8,
    /// The color serves by force: its endpoints get requests although no check passes.
    pub by_force: bool,
    /// An automatic rollback did not help.
    pub both_unhealthy: bool,
    /// The decision in force is on disk.
    pub durable: bool,
    /// The ledger can't be written: since when, and why.
    pub ledger: Option<(SystemTime, String)>,
    /// The first error of the configuration file, if it is not valid.
    pub file_error: Option<String>,
    /// The order in the file that was refused: its color, the code and the sentence.
    pub order_refused: Option<(Color, &'static str, String)>,
    /// The file says this color, which does not serve.
    pub file_disagrees: Option<Color>,
    /// Why the file could not be written.
    pub write_back_error: Option<String>,
    /// Endpoints that answer as another release.
    pub wrong_releases: Vec<WrongRelease>,
    /// What clients are shown.
    pub certificates: Vec<Certificate>,
    /// Files that can't be used.
    pub bad_files: Vec<BadFile>,
    /// Names that do not resolve, and why.
    pub names: Vec<(String, String)>,
    /// Sinks of notices that do not get through, and why.
    pub sinks: Vec<(String, String)>,
    /// Moves are frozen.
    pub freeze: Option<Freeze>,
    /// Requests are held.
    pub held: Option<Held>,
    /// Every request gets the maintenance answer.
    pub maintenance: bool,
    /// Since when, by whom and why, as far as is known.
    pub maintained: Option<Maintained>,
    /// A move that waits.
    pub moving: Option<Pending>,
    /// A release on its way.
    pub on_its_way: Option<OnItsWay>,
    /// Releases that are refused.
    pub quarantine: Vec<Quarantined>,
    /// The way back.
    pub rollback: Way,
    /// The data stores speak against a switch to the other color.
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

/// Everything to know, the worst first. Never empty: where nothing is wrong, the first one says so.
#[must_use]
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = words::all(facts);
    if found.iter().all(|finding| finding.level <= Level::Note) {
        found.push(words::well(facts));
    }
    // OK before the notes; the sort is stable.
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
