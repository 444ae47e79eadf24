//! A move that waits, as shown to people; and its end when its client gives up.
//!
//! Both are events that are handled in sequence, so a move is either cancelled or made.

use std::fmt;
use std::time::{Instant, SystemTime};

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::gate::CheckProgress;
use crate::domain::release::Release;
use crate::domain::rollout::checks::CheckState;
use crate::domain::rollout::{Asker, Command, CommandId, Effect, Move, Refusal, Rollout, State};
use crate::domain::transition::{Kind, Origin, Trigger};
use crate::domain::written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    pub kind: Kind,
    pub to: Color,
    pub release: Release,
    pub origin: Origin,
    pub since: SystemTime,
    /// The latest end of the present wait; `None`: a disk has none.
    pub until: Option<Instant>,
    pub waits: Waits,
    /// The first obstacle, as far as known.
    pub waits_for: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Waits {
    /// Its turn.
    #[default]
    Nothing,
    Health,
    Checks(Option<CheckProgress>),
    Requests,
    Disk,
}

impl Waits {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Waits::Nothing => "nothing",
            Waits::Health => "health_checks",
            Waits::Checks(_) => "gate_checks",
            Waits::Requests => "in_flight_requests",
            Waits::Disk => "disk",
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waits::Nothing => "its turn",
            Waits::Health => "health checks",
            Waits::Checks(_) => "gate checks",
            Waits::Requests => "in-flight requests",
            Waits::Disk => "the disk",
        })
    }
}

impl Moving {
    #[must_use]
    pub fn whose(&self) -> String {
        whose(&self.origin, self.kind)
    }
}

/// `alice's switch`, `the automatic rollback`, `the switch by /etc/cutover/cutover.toml`.
#[must_use]
pub(crate) fn whose(origin: &Origin, kind: Kind) -> String {
    let what = match kind {
        Kind::Canary => "canary start",
        Kind::Advance => "canary advance",
        Kind::Abort => "canary abort",
        Kind::CanaryHold => "canary pause",
        Kind::HoldEnd => "unpause",
        Kind::Release => "new release",
        other => other.name(),
    };
    match origin.trigger {
        Trigger::Api => format!("{}'s {what}", origin.actor),
        Trigger::Automatic => format!("the automatic {what}"),
        Trigger::File | Trigger::Start => format!("the {what} by {}", origin.actor),
        Trigger::Traffic => format!("the {what}"),
    }
}

/// `alice's rollback (wrong build)`.
#[must_use]
pub(crate) fn called_off_by(origin: &Origin, kind: Kind) -> String {
    match &origin.reason {
        Some(reason) => format!("{} ({reason})", whose(origin, kind)),
        None => whose(origin, kind),
    }
}

impl fmt::Display for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = written::time(self.since);
        write!(f, "{} to {} ({}) runs since {since}", self.whose(), self.to, self.release)?;
        match &self.origin.reason {
            Some(reason) => write!(f, " (reason: {reason})"),
            None => Ok(()),
        }
    }
}

impl Rollout {
    pub(super) fn moving(&self) -> Option<Moving> {
        let underway = self.under_way()?;
        let until = match &self.state {
            State::Gating(_, gating) => Some(gating.deadline),
            State::Holding(..) | State::Committing(..) | State::Steady => underway.held_until(),
        };
        let gate = underway.report.as_ref().and_then(|report| {
            let failed = report.endpoints.iter().find(|probed| !probed.passed)?;
            Some(format!("{} {}", failed.endpoint, failed.detail))
        });
        let waits = match &self.state {
            State::Gating(_, gating) if gating.checks == CheckState::NotYet => Waits::Health,
            State::Gating(..) => Waits::Checks(None),
            State::Holding(..) => Waits::Requests,
            State::Committing(..) => Waits::Disk,
            State::Steady => Waits::Nothing,
        };
        let waits_for = match &self.state {
            State::Gating(..) => gate.or_else(|| check(underway)).or_else(|| Some(waits.to_string())),
            State::Holding(_, _, left) => {
                let left = if left.total() == 0 { "requests".to_owned() } else { left.to_string() };
                Some(format!("{left} on {} to end", self.decision.active))
            }
            State::Committing(..) => Some("the ledger to be written".to_owned()),
            State::Steady => None,
        };
        Some(Moving { until, waits, waits_for, ..underway.shown() })
    }

    #[must_use]
    pub fn would_move(&self, now: Now, command: &Command) -> Moving {
        let (kind, to, _) = self.subject_of(command);
        let release = self.configured.deployed[to].clone();
        Move::new(now, kind, (to, release), Asker::Automatic, command.origin().clone()).shown()
    }

    /// Cancels a move whose client gave up, unless it is being written.
    pub(super) fn give_up(&mut self, now: Now, id: CommandId, effects: &mut Vec<Effect>) {
        let (State::Gating(underway, _) | State::Holding(underway, ..)) = &self.state else { return };
        if matches!(underway.asker, Asker::Command(asker) if asker == id) {
            let (origin, active) = (underway.origin.clone(), self.decision.active);
            self.withdraw(now, &origin, Refusal::GivenUp { active }, effects);
        }
    }
}

fn check(underway: &Move) -> Option<String> {
    let failed = underway.report.as_ref()?.checks.iter().find(|check| !check.has_passed())?;
    Some(format!("check {} to pass", failed.check))
}

impl Move {
    pub(super) fn shown(&self) -> Moving {
        Moving {
            kind: self.kind,
            to: self.to,
            release: self.release.clone(),
            origin: self.origin.clone(),
            since: self.began.wall,
            until: None,
            waits: Waits::Nothing,
            waits_for: None,
        }
    }
}
