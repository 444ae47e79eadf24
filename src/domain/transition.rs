//! The durable facts: the decision state, and the record of each change to it.
//!
//! A [`Transition`] carries the whole [`Decision`] after it, so the last one that can be read says everything that a
//! restart needs.

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
    /// Grows with every decision that moves traffic, relabels the active color, or turns maintenance on or off.
    pub generation: Generation,
    /// The color that serves.
    pub active: Color,
    /// The release that serves.
    pub release: Release,
    /// Since when this color serves.
    pub since: SystemTime,
    /// Since when the release that serves is known good: it served for as long as `bake.duration`, or was there first.
    pub known_good: Option<SystemTime>,
    /// What served before on the other color: where a rollback goes.
    pub previous: Option<Previous>,
    /// Nothing but a rollback moves traffic.
    pub freeze: Option<Freeze>,
    /// Releases that were rolled back and may not come again unless forced, oldest first.
    pub quarantine: Vec<Quarantined>,
    /// The color serves by force, whatever its checks said: so its endpoints are asked also while no check passes.
    pub by_force: bool,
    /// Requests get the maintenance answer instead of being served.
    pub maintenance: bool,
    /// The order last seen in the configuration file, obeyed or not. Only a change against it is a new order.
    pub seen: FileOrder,
    /// Colors that the file may name because this program has put, or is putting, them there. Found after a crash they
    /// are no order.
    pub written_back: Vec<Color>,
    /// The releases that took traffic, with what they did to the data stores.
    pub lineage: Lineage,
    /// A release on its way: before it has the traffic `active` is the other color, after that its own. `None`:
    /// everything goes to `active`, and nothing is watched.
    pub deployment: Option<Deployment>,
    /// Until then nothing advances by itself, and no canary begins unless forced: an automatic rollback has just been
    /// made.
    pub cooldown: Option<SystemTime>,
}

impl Decision {
    /// How requests are shared; `None`: all of them go to `active`.
    #[must_use]
    pub fn split(&self) -> Option<Split> {
        self.deployment.as_ref().filter(|deployment| deployment.splits()).map(Deployment::split)
    }

    /// The release on a color, as far as the decision names one.
    #[must_use]
    pub fn release_on(&self, color: Color) -> Option<&Release> {
        if color == self.active {
            return Some(&self.release);
        }
        let deployment = self.deployment.as_ref()?;
        Some(if color == deployment.candidate { &deployment.release } else { &deployment.stable })
    }

    /// Whether this color gets requests.
    #[must_use]
    pub fn serves(&self, color: Color) -> bool {
        color == self.active || self.split().is_some()
    }
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
    /// Since when it is known good. `None`: it never was, and a rollback does not go there.
    pub known_good: Option<SystemTime>,
}

/// Who has stopped all forward moves, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// A token's or a user's name, or `uid 1000`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: SystemTime,
    /// When it ends by itself.
    pub until: Option<SystemTime>,
}

/// A release that was taken back because it was bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Which.
    pub release: Release,
    /// When it was taken back.
    pub since: SystemTime,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What an attempt was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// A move, or another command.
    pub kind: Kind,
    /// Where it was to go.
    pub to: Option<(Color, Release)>,
}

/// What is still under way, or was, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Requests that are not answered yet.
    pub requests: u64,
    /// Answers whose body is under way.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
}

impl Left {
    /// All kinds together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.requests + self.streams + self.tunnels
    }
}

/// `2 requests and 1 tunnel`; nothing for none.
impl fmt::Display for Left {
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

/// How the drain of a color ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Which color.
    pub color: Color,
    /// From the move to its last request.
    pub took: Duration,
    /// What was ended, by `drain.streams` or `drain.timeout`.
    pub ended: Left,
    /// Something was left at `drain.timeout`.
    pub timed_out: bool,
}

impl Drained {
    /// How many clients lost what they had begun. What `drain.streams` closes in good order is not lost.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        let tunnels = if self.timed_out { self.ended.tunnels } else { 0 };
        self.ended.requests + self.ended.streams + tunnels
    }
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
    /// Requests are held from here on, by hand. A restart holds nothing.
    Hold,
    /// Requests are held no more.
    HoldEnd,
    /// Requests get the maintenance answer from here on, or are served again: the decision says which.
    Maintenance,
    /// An order in the file was looked at and nothing moved: it was refused, or already so.
    /// Recorded so that a restart does not take the same words for a new order.
    Seen,
    /// A command was refused.
    Refused,
    /// The release that serves is known good from now on.
    KnownGood,
    /// Forward moves were stopped.
    Freeze,
    /// They are allowed again.
    Unfreeze,
    /// The last request of the color that served before is over.
    Drained,
    /// A release began to get a share of the requests.
    Canary,
    /// It gets a larger one. Where it gets all of them, that is a [`Kind::Switch`].
    Advance,
    /// It gets none any more, because somebody called it off. Where the evidence did, that is a [`Kind::Rollback`].
    Abort,
    /// A release on its way stays where it is.
    CanaryHold,
    /// It may go on.
    CanaryResume,
    /// There is evidence against it, short of what a rollback needs.
    Suspect,
    /// There is enough for a rollback, and nobody wants one to be made: `mode = "observe"`.
    WouldRollBack,
    /// There is enough for a rollback, and none can be made.
    RollbackBlocked,
    /// The release that it is compared with fails itself: nothing advances.
    BaselineUnhealthy,
    /// It was rolled back, and what serves now is no better.
    BothUnhealthy,
    /// It was rolled back, and what serves now is better.
    Recovered,
    /// The release that serves passed its barrier: the way back is not safe any more.
    Barrier,
    /// A release was put on the color that does not serve.
    Staged,
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
    /// Nobody: its time had come.
    Automatic,
    /// What was seen in the traffic.
    Traffic,
}

/// Who asked, from where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// By which way.
    pub trigger: Trigger,
    /// A token's or a user's name, the file's path, or a request.
    pub actor: String,
    /// The peer's address, or empty.
    pub source: String,
    /// The reason that was given.
    pub reason: Option<String>,
    /// The `Idempotency-Key` of the command, so that a restart finds what became of it.
    pub key: Option<String>,
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
    /// Guards were told to stand aside.
    pub forced: bool,
    /// Those that would have refused it, or were not asked.
    pub overrode: Vec<Guard>,
    /// What the gate saw, if it was asked.
    pub gate: Option<GateReport>,
    /// Why nothing moved (a stable code and a sentence), for [`Kind::Refused`] and [`Kind::Seen`]; with the latter
    /// `None` if it was already so.
    pub refusal: Option<(String, String)>,
    /// For [`Kind::Refused`]: what was refused. For [`Kind::Staged`]: what was staged where.
    pub asked: Option<Asked>,
    /// For [`Kind::Drained`].
    pub drained: Option<Drained>,
    /// The verdict that it follows from.
    pub judgement: Option<Judgement>,
    /// From the command to the decision; for [`Kind::HoldEnd`] how long it was.
    pub took: Duration,
    /// How long requests were held for it until it was decided; `None`: they were not.
    pub held: Option<Duration>,
    /// The whole state after it.
    pub decision: Decision,
}

impl Transition {
    /// One that says nothing but this.
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
    /// Each, and its name in files and answers.
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

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Kind::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// It is a line of the history of its own.
    #[must_use]
    pub fn shown(self) -> bool {
        !matches!(self, Kind::Noted | Kind::Drained)
    }

    /// It gave all traffic to a color, or put another release under it. What only changes a share is not meant.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Kind::Start | Kind::Switch | Kind::Rollback | Kind::Release)
    }
}

impl Trigger {
    /// Each, and its name in files and answers.
    pub const NAMES: [(Trigger, &str); 5] = [
        (Trigger::Api, "api"),
        (Trigger::File, "file"),
        (Trigger::Start, "start"),
        (Trigger::Automatic, "automatic"),
        (Trigger::Traffic, "traffic"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Trigger::NAMES.iter().find(|(trigger, _)| *trigger == self).map_or("", |(_, name)| name)
    }

    /// The trigger of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Trigger> {
        Trigger::NAMES.iter().find(|(_, known)| *known == name).map(|(trigger, _)| *trigger)
    }
}
