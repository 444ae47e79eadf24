//! Commands, events, effects, and answers of the state machine.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{Deployment, DeploymentId, Policy, Wishes};
use crate::domain::force::{Force, Guard};
use crate::domain::gate::{CheckReport, GatePolicy, GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::rollout::{Hold, Moving, StageRefusal, Target, Terms, Unsafe};
use crate::domain::schema::{FirstWrite, Labels, Reading, RolledBack, Safety};
use crate::domain::split::Weight;
use crate::domain::transition::InFlight;
use crate::domain::transition::{
    Decision, Drained, FileOrder, Freeze, Generation, Origin, Previous, Quarantined, Transition,
};
use crate::domain::verdict::{Judgement, Sample};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names one attempt to write a line, so that a late acknowledgement matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Names one round of gate probes, so that a late result matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(pub u64);

/// Names one wait for in-flight requests, so that late news match nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrainId(pub u64);

/// May both releases have requests at the same time during a move?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// In-flight requests finish where they began, while new ones go to the other color.
    #[default]
    Allow,
    /// New requests are held until in-flight ones have ended; see `rollout/hold.rs`.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Switch {
        to: Target,
        /// Refused if another generation is in force.
        if_generation: Option<Generation>,
        force: Force,
        dry_run: bool,
        overlap: Overlap,
        terms: Terms,
        origin: Origin,
    },
    Rollback {
        /// To this color, known good or not; `None`: to the known-good release that served before.
        to: Option<Color>,
        if_generation: Option<Generation>,
        force: Force,
        dry_run: bool,
        /// The serving release is bad: it stays away unless forced.
        quarantine: bool,
        overlap: Overlap,
        origin: Origin,
    },
    Hold {
        timeout: Duration,
        replace: bool,
        origin: Origin,
    },
    /// End a pause; cancels a move that holds requests.
    Release {
        origin: Origin,
    },
    /// Answer every request with the maintenance response. Survives a restart.
    Maintain {
        on: bool,
        origin: Origin,
    },
    Freeze {
        until: Option<SystemTime>,
        replace: bool,
        origin: Origin,
    },
    Unfreeze {
        origin: Origin,
    },
    CanaryStart {
        wishes: Wishes,
        if_generation: Option<Generation>,
        force: Force,
        terms: Terms,
        origin: Origin,
    },
    /// Take the next step, whatever the evidence; after the last one, all of the traffic.
    CanaryAdvance {
        full: bool,
        if_generation: Option<Generation>,
        terms: Terms,
        origin: Origin,
    },
    /// Pause the canary. A rollback stays armed.
    CanaryHold {
        origin: Origin,
    },
    CanaryResume {
        origin: Origin,
    },
    /// End the canary now. During the bake: a rollback.
    CanaryAbort {
        quarantine: bool,
        origin: Origin,
    },
}

impl Command {
    #[must_use]
    pub fn origin(&self) -> &Origin {
        match self {
            Command::Switch { origin, .. }
            | Command::Rollback { origin, .. }
            | Command::Hold { origin, .. }
            | Command::Release { origin }
            | Command::Maintain { origin, .. }
            | Command::Freeze { origin, .. }
            | Command::Unfreeze { origin }
            | Command::CanaryStart { origin, .. }
            | Command::CanaryAdvance { origin, .. }
            | Command::CanaryHold { origin }
            | Command::CanaryResume { origin }
            | Command::CanaryAbort { origin, .. } => origin,
        }
    }

    pub(super) fn is_question(&self) -> bool {
        matches!(self, Command::Switch { dry_run: true, .. } | Command::Rollback { dry_run: true, .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// `active`, and the release of that color, as the file says now.
    pub order: FileOrder,
    pub deployed: PerColor<Release>,
    pub schema: PerColor<Labels>,
    pub probed: PerColor<BTreeSet<String>>,
    pub gate: GatePolicy,
    pub checks: Checks,
    pub drain_timeout: Duration,
    /// `plan.bake` is also the time until a release is known good.
    pub policy: Policy,
    /// Random for each process: the users that a canary begins with are a secret.
    pub secret: u64,
    pub hold_timeout: Duration,
    /// Changes with everything that affects a color's gate: endpoints, how they are reached, and requests to them.
    pub targets: PerColor<u64>,
    pub file_orders: bool,
    /// Time after a rollback in which the file can't order back the release that it left.
    pub order_window: Duration,
    pub write_back: bool,
    pub path: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    pub forward: bool,
    pub back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Command(CommandId, Command),
    /// A command refused outside the core, for example because of an invalid file.
    Obstructed(CommandId, Command, Refusal),
    /// The client gave up: the move is cancelled, unless it is being written.
    GivenUp(CommandId),
    Probed(RoundId, Vec<Probed>),
    Checked(RoundId, Vec<CheckReport>),
    /// The answer to [`Effect::Empty`]: no request is in flight.
    Emptied(DrainId),
    /// In-flight requests, now and then until [`Event::Emptied`].
    StillInFlight(DrainId, InFlight),
    Committed(CommitId),
    CommitFailed(CommitId, String),
    Drained(Drained),
    Configured(Configured),
    SchemaRead(Vec<Reading>),
    FirstWrite(Release, FirstWrite),
    WroteBack(Result<Color, String>),
    /// Once a tick while a deployment with a mode other than `off` is in force.
    Judged(DeploymentId, Box<Judgement>),
    /// The judge starts anew: a restart without the evidence, or a damaged file.
    EvidenceLost(DeploymentId),
    Fitness(Color, Fitness),
    /// For [`View::verifying`]: the serving release since the rollback, all routes together, in the class of the
    /// heaviest finding (errors, if there is none).
    Aftermath(DeploymentId, Sample),
    Staged(Color, Release, Origin, Option<Refusal>),
    Tick,
}

/// Can a color serve, as far as checks and connections tell?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    #[default]
    Unknown,
    Fit,
    /// No endpoint of some upstream passes, or twenty connections in a row failed: the reason in words.
    Down(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Probe every endpoint of a color once; with `schema` the stores as well, whose `SchemaRead` comes before
    /// `Probed`.
    Probe {
        round: RoundId,
        color: Color,
        schema: bool,
        /// Resolve the endpoints' names first. A rollback waits for no name server.
        resolve: bool,
    },
    /// Run the gate checks; answered by `Checked`. The answer is of no use once
    /// [`Rollout::awaits`](super::Rollout::awaits) is false.
    Check {
        round: RoundId,
        color: Color,
        back: bool,
        /// Those that passed the health round, by upstream and name.
        endpoints: Vec<(String, String)>,
    },
    /// Append to the ledger; answered by `Committed` or `CommitFailed`.
    Commit(CommitId, Transition),
    Publish(Decision),
    /// Drain the color that the last `Publish` left without requests, and cut the rest off at the deadline. A later
    /// `Publish` that gives it requests cancels the drain.
    Drain(Color, Instant),
    /// Hold new requests until [`Effect::Release`], at the latest until this moment. Cancels an earlier
    /// [`Effect::Empty`].
    Hold(Instant),
    /// While requests are held: report when the serving color has none in flight, with tunnels treated as
    /// `drain.streams` says. The rest is cut off at this moment, if one is given.
    Empty(DrainId, Option<Instant>),
    /// Admit held requests by the last publish. Cancels [`Effect::Empty`].
    Release,
    /// Write this color into the file; answered by `WroteBack`.
    WriteBack(Color),
    Reply(CommandId, Result<Outcome, Refusal>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// False: it was in force already.
    pub changed: bool,
    pub dry_run: bool,
    /// With `dry_run`: that would serve.
    pub active: Color,
    pub previous: Color,
    pub release: Release,
    pub generation: Generation,
    pub at: SystemTime,
    pub took: Duration,
    pub durable: bool,
    /// The rollback target afterwards, and its safety; `None`: there is none, or nothing moved.
    pub way_back: Option<(Release, Safety)>,
    /// Time for which requests were held; `None`: they were not.
    pub held: Option<Duration>,
    pub deployment: Option<Deployment>,
    /// The reason why the command used the configuration in force and not the file.
    pub file_problem: Option<String>,
    pub checks: Vec<CheckReport>,
    pub overrode: Vec<Guard>,
    pub cancelled: Option<Moving>,
    pub pending: Option<Moving>,
    pub replaced: Option<Freeze>,
    pub replaced_pause: Option<Hold>,
    pub quarantined: Option<Release>,
    /// The canary whose release got all of the traffic, with its weight before.
    pub ended_canary: Option<(Release, Weight)>,
}

/// A reason not to carry out a command. An ordinary answer, not an error. `refusal` says how to add one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unhealthy(GateReport),
    CheckFailed(GateReport),
    InProgress(Box<Moving>),
    OnItsWay {
        release: Release,
        to: Color,
        bakes: bool,
    },
    /// Cancelled by this: `alice's rollback`.
    Withdrawn(String),
    GivenUp {
        active: Color,
    },
    UnknownRelease {
        asked: Release,
        deployed: PerColor<Release>,
    },
    /// In-flight requests did not end while new ones were held for a move without overlap.
    NotDrained {
        color: Color,
        after: Duration,
        left: InFlight,
    },
    StaleGeneration {
        expected: Generation,
        current: Generation,
    },
    NoKnownGood {
        wanted: Option<Previous>,
        color: Color,
        deployed: Release,
        /// It has served, so `--to` goes back to it.
        served: bool,
        /// The command that goes there, unless nothing is deployed.
        command: Option<String>,
    },
    Frozen(Freeze),
    FrozenAlready(Freeze),
    PausedAlready {
        pause: Box<Hold>,
        left: Duration,
    },
    Quarantined {
        bad: Quarantined,
        /// The command that overrides it.
        command: String,
    },
    RollbackUnsafe(Box<Unsafe>),
    NotDurable(String),
    NoCanary,
    /// The release has all of the traffic already.
    Baking,
    NoWayBack {
        release: Release,
        color: Color,
        why: Box<Refusal>,
    },
    BadPlan(String),
    CoolingDown {
        until: SystemTime,
    },
    InvalidFile(Box<FileProblem>),
    /// The file is being written, or can't be read in time: the reason.
    FileBusy(String),
    /// The target was edited after its gate had begun.
    TargetChanged {
        to: Color,
        asked: Release,
        /// The release deployed now; the same one if the endpoints changed.
        now: Release,
    },
    Earlier {
        code: &'static str,
        sentence: String,
    },
    /// The file orders the release that a rollback left a short time ago.
    Overruled {
        left: RolledBack,
        /// The file may order it afterwards.
        until: SystemTime,
    },
    Stage(StageRefusal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    pub text: String,
    /// The same with the lines of the file.
    pub drawn: String,
    pub errors: Vec<FileError>,
    /// The command that uses the configuration in force, where there is one.
    pub instead: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub help: Option<String>,
}
