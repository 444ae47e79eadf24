//! The kinds of notices, and their severity.
//!
//! A new kind is a variant here, with its name and its row in [`Event::ALL`]; its words are in `notify::event`.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Info,
    /// Look at it today.
    Warn,
    /// Look at it now.
    Error,
    /// Wake somebody.
    Page,
}

impl Severity {
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warn, Severity::Error, Severity::Page];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
            Severity::Page => "page",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl FromStr for Severity {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Severity, Unknown> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == name).ok_or(Unknown)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    Started,
    /// A release took the traffic: by a switch, or as a new release of the live color.
    Promoted,
    RolledBack,
    /// A switch was called off before a request saw it, or a canary ended.
    Aborted,
    CanaryStarted,
    Step,
    Held,
    Resumed,
    Suspect,
    WouldRollBack,
    BaselineUnhealthy,
    BothUnhealthy,
    Recovered,
    Refused,
    RollbackBlocked,
    /// An order in the file was already in force.
    Unchanged,
    Drained,
    Done,
    BarrierPassed,
    FreezeSet,
    FreezeCleared,
    HoldSet,
    HoldCleared,
    MaintenanceSet,
    MaintenanceCleared,
    TargetUnhealthy,
    TargetHealthy,
    WrongRelease,
    RightRelease,
    /// Another sink gets no notices.
    NotifyFailed,
}

impl Event {
    pub const ALL: [Event; 30] = [
        Event::Started,
        Event::Promoted,
        Event::RolledBack,
        Event::Aborted,
        Event::CanaryStarted,
        Event::Step,
        Event::Held,
        Event::Resumed,
        Event::Suspect,
        Event::WouldRollBack,
        Event::BaselineUnhealthy,
        Event::BothUnhealthy,
        Event::Recovered,
        Event::Refused,
        Event::RollbackBlocked,
        Event::Unchanged,
        Event::Drained,
        Event::Done,
        Event::BarrierPassed,
        Event::FreezeSet,
        Event::FreezeCleared,
        Event::HoldSet,
        Event::HoldCleared,
        Event::MaintenanceSet,
        Event::MaintenanceCleared,
        Event::TargetUnhealthy,
        Event::TargetHealthy,
        Event::WrongRelease,
        Event::RightRelease,
        Event::NotifyFailed,
    ];

    /// The `type` of a notice. Stable, for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Event::Started => "deployment.started",
            Event::Promoted => "deployment.promoted",
            Event::RolledBack => "deployment.rolled_back",
            Event::Aborted => "deployment.aborted",
            Event::CanaryStarted => "deployment.canary",
            Event::Step => "deployment.step",
            Event::Held => "deployment.held",
            Event::Resumed => "deployment.resumed",
            Event::Suspect => "deployment.suspect",
            Event::WouldRollBack => "deployment.would_roll_back",
            Event::BaselineUnhealthy => "deployment.baseline_unhealthy",
            Event::BothUnhealthy => "deployment.both_unhealthy",
            Event::Recovered => "deployment.recovered",
            Event::Refused => "deployment.refused",
            Event::RollbackBlocked => "deployment.rollback_blocked",
            Event::Unchanged => "deployment.unchanged",
            Event::Drained => "deployment.drained",
            Event::Done => "deployment.done",
            Event::BarrierPassed => "deployment.barrier_passed",
            Event::FreezeSet => "freeze.set",
            Event::FreezeCleared => "freeze.cleared",
            Event::HoldSet => "hold.set",
            Event::HoldCleared => "hold.cleared",
            Event::MaintenanceSet => "maintenance.set",
            Event::MaintenanceCleared => "maintenance.cleared",
            Event::TargetUnhealthy => "target.unhealthy",
            Event::TargetHealthy => "target.healthy",
            Event::WrongRelease => "target.wrong_release",
            Event::RightRelease => "target.right_release",
            Event::NotifyFailed => "notify.failed",
        }
    }
}

impl FromStr for Event {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Event, Unknown> {
        Event::ALL.into_iter().find(|event| event.as_str() == name).ok_or(Unknown)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
