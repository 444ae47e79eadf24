//! The kinds of notices, and their severity.
//!
//! A new kind is a variant here, with its name and its row in [`NoticeEvent::ALL`]; its words are in `notify::event`.

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
pub enum NoticeEvent {
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

impl NoticeEvent {
    pub const ALL: [NoticeEvent; 30] = [
        NoticeEvent::Started,
        NoticeEvent::Promoted,
        NoticeEvent::RolledBack,
        NoticeEvent::Aborted,
        NoticeEvent::CanaryStarted,
        NoticeEvent::Step,
        NoticeEvent::Held,
        NoticeEvent::Resumed,
        NoticeEvent::Suspect,
        NoticeEvent::WouldRollBack,
        NoticeEvent::BaselineUnhealthy,
        NoticeEvent::BothUnhealthy,
        NoticeEvent::Recovered,
        NoticeEvent::Refused,
        NoticeEvent::RollbackBlocked,
        NoticeEvent::Unchanged,
        NoticeEvent::Drained,
        NoticeEvent::Done,
        NoticeEvent::BarrierPassed,
        NoticeEvent::FreezeSet,
        NoticeEvent::FreezeCleared,
        NoticeEvent::HoldSet,
        NoticeEvent::HoldCleared,
        NoticeEvent::MaintenanceSet,
        NoticeEvent::MaintenanceCleared,
        NoticeEvent::TargetUnhealthy,
        NoticeEvent::TargetHealthy,
        NoticeEvent::WrongRelease,
        NoticeEvent::RightRelease,
        NoticeEvent::NotifyFailed,
    ];

    /// The `type` of a notice. Stable, for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeEvent::Started => "deployment.started",
            NoticeEvent::Promoted => "deployment.promoted",
            NoticeEvent::RolledBack => "deployment.rolled_back",
            NoticeEvent::Aborted => "deployment.aborted",
            NoticeEvent::CanaryStarted => "deployment.canary",
            NoticeEvent::Step => "deployment.step",
            NoticeEvent::Held => "deployment.held",
            NoticeEvent::Resumed => "deployment.resumed",
            NoticeEvent::Suspect => "deployment.suspect",
            NoticeEvent::WouldRollBack => "deployment.would_roll_back",
            NoticeEvent::BaselineUnhealthy => "deployment.baseline_unhealthy",
            NoticeEvent::BothUnhealthy => "deployment.both_unhealthy",
            NoticeEvent::Recovered => "deployment.recovered",
            NoticeEvent::Refused => "deployment.refused",
            NoticeEvent::RollbackBlocked => "deployment.rollback_blocked",
            NoticeEvent::Unchanged => "deployment.unchanged",
            NoticeEvent::Drained => "deployment.drained",
            NoticeEvent::Done => "deployment.done",
            NoticeEvent::BarrierPassed => "deployment.barrier_passed",
            NoticeEvent::FreezeSet => "freeze.set",
            NoticeEvent::FreezeCleared => "freeze.cleared",
            NoticeEvent::HoldSet => "hold.set",
            NoticeEvent::HoldCleared => "hold.cleared",
            NoticeEvent::MaintenanceSet => "maintenance.set",
            NoticeEvent::MaintenanceCleared => "maintenance.cleared",
            NoticeEvent::TargetUnhealthy => "target.unhealthy",
            NoticeEvent::TargetHealthy => "target.healthy",
            NoticeEvent::WrongRelease => "target.wrong_release",
            NoticeEvent::RightRelease => "target.right_release",
            NoticeEvent::NotifyFailed => "notify.failed",
        }
    }
}

impl FromStr for NoticeEvent {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<NoticeEvent, Unknown> {
        NoticeEvent::ALL.into_iter().find(|event| event.as_str() == name).ok_or(Unknown)
    }
}

impl fmt::Display for NoticeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
