//! What there is to tell people: the kinds of notices, and how bad each is.
//!
//! A new kind is a new variant here, with its name and its row in [`Event::ALL`]; the words are in `notify::event`.

use std::fmt;
use std::str::FromStr;

/// How much attention a notice asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Went as it was meant to.
    Info,
    /// Somebody should look at it today.
    Warn,
    /// Somebody should look at it now.
    Error,
    /// Wake somebody up.
    Page,
}

impl Severity {
    /// All, in order.
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warn, Severity::Error, Severity::Page];

    /// As in the configuration and in notices.
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

/// It names no kind or severity.
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

/// What kind of thing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The first start with an empty ledger: the file's color serves.
    Started,
    /// A release took the traffic: by a switch, or under the live color.
    Promoted,
    /// The traffic went back to what served before.
    RolledBack,
    /// A switch was called off before a request saw it, or a canary.
    Aborted,
    /// A release gets its first share of the requests.
    CanaryStarted,
    /// It gets a larger one.
    Step,
    /// It stays where it is.
    Held,
    /// It may go on.
    Resumed,
    /// There is evidence against it.
    Suspect,
    /// It would have been rolled back, and is only observed.
    WouldRollBack,
    /// The release that it is compared with fails itself.
    BaselineUnhealthy,
    /// It was rolled back, and that did not help.
    BothUnhealthy,
    /// It was rolled back, and that helped.
    Recovered,
    /// An order was refused.
    Refused,
    /// A rollback was refused: somebody wants back and can't.
    RollbackBlocked,
    /// An order in the file was so already.
    Unchanged,
    /// What began before a switch has ended.
    Drained,
    /// The release that serves is known good.
    Done,
    /// The way back is not safe any more.
    BarrierPassed,
    /// Forward moves were stopped.
    FreezeSet,
    /// They are allowed again.
    FreezeCleared,
    /// Requests are held by hand.
    HoldSet,
    /// They are served again.
    HoldCleared,
    /// Requests get the maintenance answer.
    MaintenanceSet,
    /// They are served again.
    MaintenanceCleared,
    /// An endpoint fails its health checks.
    TargetUnhealthy,
    /// It passes them again.
    TargetHealthy,
    /// An endpoint that serves answers as another release than its label.
    WrongRelease,
    /// Its answers name the label again.
    RightRelease,
    /// Another sink gets no notices.
    NotifyFailed,
}

impl Event {
    /// All of them.
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

    /// The `type` of a notice: stable, for programs.
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
