//! The durable facts: the decision, and the record of each change to it.
//!
//! A [`Transition`] carries the whole [`Decision`] after it, so the last readable one is enough for a restart.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::deployment::Deployment;
use crate::domain::force::Guard;
use crate::domain::gate::GateReport;
use crate::domain::release::Release;
use crate::domain::schema::Lineage;
use crate::domain::split::Split;
use crate::domain::verdict::Judgement;

/// The number of a decision. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Grows with each decision that moves traffic, relabels the active color, or turns maintenance on or off.
    pub generation: Generation,
    pub active: Color,
    pub release: Release,
    pub since: SystemTime,
    /// When the serving release became known good: it has served for `bake.duration`, or was there at the first start.
    pub known_good: Option<SystemTime>,
    pub previous: Option<Previous>,
    pub freeze: Option<Freeze>,
    /// Rolled-back releases that stay away unless forced, oldest first.
    pub quarantine: Vec<Quarantined>,
    /// The color was forced: its endpoints get requests even if no check passes.
    pub by_force: bool,
    pub maintenance: bool,
    /// The order last seen in the configuration file, carried out or not. Only a change against it is a new order.
    pub seen: FileOrder,
    /// Colors that this program writes or has written into the file. After a crash the file may name one of them,
    /// which is no order.
    pub written_back: Vec<Color>,
    pub lineage: Lineage,
    /// A release on its way. Before it has the traffic `active` is the other color, afterwards its own.
    pub deployment: Option<Deployment>,
    /// An automatic rollback was made: until then nothing advances by itself, and no canary begins unless forced.
    pub cooldown: Option<SystemTime>,
}

impl Decision {
    /// The first decision of all: a color serves, and nothing else is known.
    #[must_use]
    pub fn first(active: Color, release: Release, since: SystemTime) -> Decision {
        Decision {
            generation: Generation(1),
            active,
            release: release.clone(),
            since,
            known_good: None,
            previous: None,
            freeze: None,
            quarantine: Vec::new(),
            by_force: false,
            maintenance: false,
            seen: FileOrder { active, release },
            written_back: Vec::new(),
            lineage: Lineage::default(),
            deployment: None,
            cooldown: None,
        }
    }

    #[must_use]
    pub fn split(&self) -> Option<Split> {
        self.deployment.as_ref().filter(|deployment| deployment.splits()).map(Deployment::split)
    }

    #[must_use]
    pub fn release_on(&self, color: Color) -> Option<&Release> {
        if color == self.active {
            return Some(&self.release);
        }
        let deployment = self.deployment.as_ref()?;
        Some(if color == deployment.candidate { &deployment.release } else { &deployment.stable })
    }

    #[must_use]
    pub fn serves(&self, color: Color) -> bool {
        color == self.active || self.split().is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    pub color: Color,
    pub release: Release,
    pub until: SystemTime,
    /// `None`: it never was, so a rollback does not go there.
    pub known_good: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    pub by: String,
    pub reason: String,
    pub since: SystemTime,
    pub until: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub release: Release,
    pub since: SystemTime,
    pub by: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: Kind,
    pub to: Option<(Color, Release)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    pub requests: u64,
    pub streams: u64,
    pub tunnels: u64,
}

impl InFlight {
    #[must_use]
    pub fn total(self) -> u64 {
        self.requests + self.streams + self.tunnels
    }
}

/// `2 requests and 1 tunnel`; empty for none.
impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (count, kind) in [(self.requests, "request"), (self.streams, "stream"), (self.tunnels, "tunnel")] {
            if count > 0 {
                write!(f, "{between}{count} {kind}{}", if count == 1 { "" } else { "s" })?;
                between = " and ";
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    pub color: Color,
    /// From the move to the last request.
    pub took: Duration,
    /// Closed by `drain.streams` or cut off at `drain.timeout`.
    pub ended: InFlight,
    pub timed_out: bool,
}

impl Drained {
    /// Clients that lost what they had begun. Tunnels closed by `drain.streams` are not lost.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        let tunnels = if self.timed_out { self.ended.tunnels } else { 0 };
        self.ended.requests + self.ended.streams + tunnels
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrder {
    pub active: Color,
    pub release: Release,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Start,
    Switch,
    Rollback,
    Release,
    /// An operator paused requests. A restart ends the pause.
    Hold,
    HoldEnd,
    /// The decision tells whether it is on or off.
    Maintenance,
    /// An order in the file was refused or already in force. Recorded so that a restart does not take the same words
    /// for a new order.
    Seen,
    Refused,
    KnownGood,
    Freeze,
    Unfreeze,
    Drained,
    Canary,
    /// A canary got a larger weight. If it got all of the traffic, that is a [`Kind::Switch`].
    Advance,
    /// An operator ended a canary. If the evidence did, that is a [`Kind::Rollback`].
    Abort,
    CanaryHold,
    CanaryResume,
    Suspect,
    WouldRollBack,
    RollbackBlocked,
    BaselineUnhealthy,
    BothUnhealthy,
    Recovered,
    Barrier,
    Staged,
    /// The file changed without an order: a write-back, or a new label. Recorded so that a restart can recognize an
    /// edit made while the process was down. The history does not show it.
    Noted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    Api,
    File,
    Start,
    Automatic,
    Traffic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub trigger: Trigger,
    /// A token's or a user's name, the file's path, or a request.
    pub actor: String,
    /// The peer's address, or empty.
    pub source: String,
    pub reason: Option<String>,
    /// The `Idempotency-Key` of the command, so that a restart finds its outcome.
    pub key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub kind: Kind,
    pub at: SystemTime,
    pub origin: Origin,
    pub from: Option<(Color, Release)>,
    pub forced: bool,
    /// Guards that would have refused the move, or were skipped.
    pub overrode: Vec<Guard>,
    pub gate: Option<GateReport>,
    /// Code and sentence, for [`Kind::Refused`] and [`Kind::Seen`]; `None` with the latter: already in force.
    pub refusal: Option<(String, String)>,
    /// The refused command of [`Kind::Refused`], or the staged release of [`Kind::Staged`].
    pub asked: Option<Asked>,
    pub drained: Option<Drained>,
    /// The reason for an automatic move.
    pub judgement: Option<Judgement>,
    /// From the command to the decision; the length of the pause for [`Kind::HoldEnd`].
    pub took: Duration,
    /// Time for which requests were held; `None`: they were not.
    pub held: Option<Duration>,
    pub decision: Decision,
}

impl Transition {
    #[must_use]
    pub fn new(kind: Kind, at: SystemTime, origin: Origin, decision: Decision) -> Transition {
        Transition {
            kind,
            at,
            origin,
            from: None,
            forced: false,
            overrode: Vec::new(),
            gate: None,
            refusal: None,
            asked: None,
            drained: None,
            judgement: None,
            took: Duration::ZERO,
            held: None,
            decision,
        }
    }
}

impl Kind {
    pub const NAMES: [(Kind, &str); 27] = [
        (Kind::Hold, "hold"),
        (Kind::HoldEnd, "hold_end"),
        (Kind::Maintenance, "maintenance"),
        (Kind::Start, "start"),
        (Kind::Switch, "switch"),
        (Kind::Rollback, "rollback"),
        (Kind::Release, "release"),
        (Kind::Seen, "seen"),
        (Kind::Refused, "refused"),
        (Kind::KnownGood, "known_good"),
        (Kind::Freeze, "freeze"),
        (Kind::Unfreeze, "unfreeze"),
        (Kind::Drained, "drained"),
        (Kind::Canary, "canary"),
        (Kind::Advance, "advance"),
        (Kind::Abort, "abort"),
        (Kind::CanaryHold, "canary_hold"),
        (Kind::CanaryResume, "canary_resume"),
        (Kind::Suspect, "suspect"),
        (Kind::WouldRollBack, "would_roll_back"),
        (Kind::RollbackBlocked, "rollback_blocked"),
        (Kind::BaselineUnhealthy, "baseline_unhealthy"),
        (Kind::BothUnhealthy, "both_unhealthy"),
        (Kind::Recovered, "recovered"),
        (Kind::Barrier, "barrier"),
        (Kind::Staged, "staged"),
        (Kind::Noted, "noted"),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Kind::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The history shows it as a line of its own.
    #[must_use]
    pub fn shown(self) -> bool {
        !matches!(self, Kind::Noted | Kind::Drained)
    }

    /// All traffic went to a color, or the active color got a new release. A change of weight does not count.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Kind::Start | Kind::Switch | Kind::Rollback | Kind::Release)
    }
}

impl Trigger {
    pub const NAMES: [(Trigger, &str); 5] = [
        (Trigger::Api, "api"),
        (Trigger::File, "file"),
        (Trigger::Start, "start"),
        (Trigger::Automatic, "automatic"),
        (Trigger::Traffic, "traffic"),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Trigger::NAMES.iter().find(|(trigger, _)| *trigger == self).map_or("", |(_, name)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Trigger> {
        Trigger::NAMES.iter().find(|(_, known)| *known == name).map(|(trigger, _)| *trigger)
    }
}
