//! What goes into the machine and what comes out: commands, events, effects, and answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{Deployment, DeploymentId, Policy, Wishes};
use crate::domain::force::{Force, Guard};
use crate::domain::gate::{CheckReport, GatePolicy, GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::rollout::{Hold, Moving, StageRefusal, Target, Terms, Unsafe};
use crate::domain::schema::{FirstWrite, Labels, Reading, TakenBack, Verdict};
use crate::domain::split::Weight;
use crate::domain::transition::Left;
use crate::domain::transition::{
    Decision, Drained, FileOrder, Freeze, Generation, Origin, Previous, Quarantined, Transition,
};
use crate::domain::verdict::{Judgement, Sample};

/// Names a command until it is answered. Given by the shell, unique in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Names one attempt to write to the ledger, so that a late or doubled acknowledgement can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Names one round of gate probes, so that a late answer can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundId(pub u64);

/// Names one wait for the end of all requests, so that word of an earlier one can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrainId(pub u64);

/// Whether both releases may have requests at the same time while traffic moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Those under way finish where they began, while new ones go to the other color.
    #[default]
    Allow,
    /// New ones are held until those under way are over; see `rollout/hold.rs`.
    None,
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a color active.
    Switch {
        /// Which.
        to: Target,
        /// Only if this is the generation in force.
        if_generation: Option<Generation>,
        /// Without these guards.
        force: Force,
        /// Ask the gate, say what would happen, and change nothing.
        dry_run: bool,
        /// Whether both releases may have requests at the same time.
        overlap: Overlap,
        /// What is to be otherwise than configured.
        terms: Terms,
        /// Who, and why.
        origin: Origin,
    },
    /// Go back to what served before.
    Rollback {
        /// To this color, whether its release is known good or not; `None`: to what served before and is known good.
        to: Option<Color>,
        /// Only if this is the generation in force.
        if_generation: Option<Generation>,
        /// Without these guards.
        force: Force,
        /// Ask the gate, say what would happen, and change nothing.
        dry_run: bool,
        /// The release that serves is bad, and may not come again unless forced.
        quarantine: bool,
        /// Whether both releases may have requests at the same time.
        overlap: Overlap,
        /// Who, and why.
        origin: Origin,
    },
    /// Hold new requests, until they are released or the time is up.
    Hold {
        /// For so long.
        timeout: Duration,
        /// In place of somebody else's.
        replace: bool,
        /// Who, and why.
        origin: Origin,
    },
    /// Let held requests go; calls a move off for which they are held.
    Release {
        /// Who, and why.
        origin: Origin,
    },
    /// Answer every request with the maintenance answer, or serve again. Survives a restart.
    Maintain {
        /// On or off.
        on: bool,
        /// Who, and why.
        origin: Origin,
    },
    /// Let nothing but a rollback move traffic.
    Freeze {
        /// When it ends by itself.
        until: Option<SystemTime>,
        /// In place of one that is in force.
        replace: bool,
        /// Who, and why.
        origin: Origin,
    },
    /// Allow forward moves again.
    Unfreeze {
        /// Who, and why.
        origin: Origin,
    },
    /// Give the release of the color that does not serve a share of the requests.
    CanaryStart {
        /// What is to be otherwise than configured.
        wishes: Wishes,
        /// Only if this is the generation in force.
        if_generation: Option<Generation>,
        /// Without these guards.
        force: Force,
        /// What is to be otherwise than configured.
        terms: Terms,
        /// Who, and why.
        origin: Origin,
    },
    /// Go on to the next step of the canary, whatever is proved; behind the last one it takes the traffic.
    CanaryAdvance {
        /// Give it the traffic now.
        full: bool,
        /// Only if this is the generation in force.
        if_generation: Option<Generation>,
        /// What is to be otherwise than configured.
        terms: Terms,
        /// Who, and why.
        origin: Origin,
    },
    /// Stay where it is. A rollback stays armed.
    CanaryHold {
        /// Who, and why.
        origin: Origin,
    },
    /// Go on; the step begins anew.
    CanaryResume {
        /// Who, and why.
        origin: Origin,
    },
    /// Give it nothing any more, at once. While it bakes: a rollback.
    CanaryAbort {
        /// The release is bad, and may not come again unless forced.
        quarantine: bool,
        /// Who, and why.
        origin: Origin,
    },
}

impl Command {
    /// Who asks, and why.
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

    /// It changes nothing: a dry run.
    pub(super) fn is_question(&self) -> bool {
        matches!(self, Command::Switch { dry_run: true, .. } | Command::Rollback { dry_run: true, .. })
    }
}

/// What a valid configuration says to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// `active`, and the release of that color, as the file now says.
    pub order: FileOrder,
    /// The release label of each color.
    pub deployed: PerColor<Release>,
    /// What each of them says of the data stores.
    pub schema: PerColor<Labels>,
    /// The stores whose version a probe tells.
    pub probed: PerColor<BTreeSet<String>>,
    /// The gate's policy.
    pub gate: GatePolicy,
    /// Whether the gate has checks.
    pub checks: Checks,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// How releases are brought in; `plan.bake` is how long one has to serve to be known good.
    pub policy: Policy,
    /// A number that nobody can guess, another one each time: which users a canary begins with is a secret.
    pub secret: u64,
    /// How long a move may hold requests.
    pub hold_timeout: Duration,
    /// Changes with everything that the answers of a color's gate depend on: its endpoints, how they are reached, and
    /// what they are asked.
    pub targets: PerColor<u64>,
    /// An edit of `active` is an order.
    pub file_orders: bool,
    /// For how long after a rollback the file does not order back what the rollback left.
    pub order_window: Duration,
    /// Keep the file's `active` equal to what is live.
    pub write_back: bool,
    /// The file's path, for the record.
    pub path: String,
}

/// Whether there are checks to ask at a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Of a forward move.
    pub forward: bool,
    /// Of a rollback.
    pub back: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An operator asks.
    Command(CommandId, Command),
    /// An operator asks for a move that can't begin for a reason outside of this machine, such as an invalid file.
    Obstructed(CommandId, Command, Refusal),
    /// The client that asked for this gives up: what is not being written yet is called off.
    GivenUp(CommandId),
    /// A round of gate probes is back.
    Probed(RoundId, Vec<Probed>),
    /// The checks of a gate are back: the answer to [`Effect::Check`].
    Checked(RoundId, Vec<CheckReport>),
    /// No request is under way any more, nor can one begin: the answer to [`Effect::Empty`].
    Emptied(DrainId),
    /// What is under way still, now and then until then.
    Left(DrainId, Left),
    /// The ledger has it on disk.
    Committed(CommitId),
    /// The ledger could not write it, with the reason.
    CommitFailed(CommitId, String),
    /// The last request of a color that served before is over.
    Drained(Drained),
    /// A new valid configuration is in force.
    Configured(Configured),
    /// Probes of data stores have answered, or failed.
    SchemaRead(Vec<Reading>),
    /// This release accepted its first mutating request.
    FirstWrite(Release, FirstWrite),
    /// The write-back of `active` went through (`Ok`: the file now says this color), or why it did not.
    WroteBack(Result<Color, String>),
    /// What the judge says of this deployment, once a tick while one is in force whose mode is not `off`: see
    /// [`Decision::deployment`] in what was published last.
    Judged(DeploymentId, Box<Judgement>),
    /// What the judge had seen of this deployment is lost (a restart without it, a damaged file): it begins anew.
    EvidenceLost(DeploymentId),
    /// What checks and connections say of a color, whenever it changes, and once at the start.
    Fitness(Color, Fitness),
    /// For [`View::verifying`]: what the color that serves now has done since the rollback, all routes together, in the
    /// class of the heaviest finding of its judgement (errors, if there is none).
    Aftermath(DeploymentId, Sample),
    /// A release was put on a color in the file, or why not.
    Staged(Color, Release, Origin, Option<Refusal>),
    /// The deadline has passed.
    Tick,
}

/// Whether a color can serve, as far as checks and connections tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    /// Nothing was asked yet.
    #[default]
    Unknown,
    /// Every upstream has an endpoint that passes its checks.
    Fit,
    /// No endpoint of some upstream passes, or twenty connections in a row could not be made: why, in words.
    Down(String),
}

/// What has to follow, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Probe every endpoint of a color once, now; if `schema` is true, ask the probes of the data stores as well, and
    /// say `SchemaRead` before `Probed`.
    Probe {
        /// Whose answer it is.
        round: RoundId,
        /// Which color.
        color: Color,
        /// With the data stores.
        schema: bool,
        /// The names of endpoints are resolved anew first. A way back waits for no name server.
        resolve: bool,
    },
    /// Ask the checks of the gate, now; answer with `Checked`. When [`Rollout::awaits`](super::Rollout::awaits) the
    /// round no more, nobody needs the answer.
    Check {
        /// Whose answer it is.
        round: RoundId,
        /// Which color.
        color: Color,
        /// For a rollback: only the checks that are configured for one.
        back: bool,
        /// The endpoints that passed the health round, by upstream and name.
        endpoints: Vec<(String, String)>,
    },
    /// Append to the ledger; answer with `Committed` or `CommitFailed`.
    Commit(CommitId, Transition),
    /// Make this decision visible to every request that arrives from now on.
    Publish(Decision),
    /// Watch the color that gets no requests any more since the last `Publish`, and end what is left of it at the
    /// deadline. When the color gets some again by a later `Publish`, its drain is forgotten.
    Drain(Color, Instant),
    /// From now on requests wait before they are given to a color: until [`Effect::Release`], and not beyond this.
    /// What [`Effect::Empty`] asked for before is forgotten.
    Hold(Instant),
    /// While requests are held: say when nothing is under way any more on the color that serves, with tunnels as
    /// `drain.streams` wants it. What is left is ended at this moment, if one is given.
    Empty(DrainId, Option<Instant>),
    /// Requests that wait go on, by what was published last. What [`Effect::Empty`] asked for is forgotten.
    Release,
    /// Edit the file's `active` to this color; answer with `WroteBack`.
    WriteBack(Color),
    /// Answer a command.
    Reply(CommandId, Result<Outcome, Refusal>),
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// False: it was already so, and nothing was touched.
    pub changed: bool,
    /// Only asked, by `dry_run`.
    pub dry_run: bool,
    /// The color that serves now (with `dry_run`: that would serve).
    pub active: Color,
    /// The color that served before.
    pub previous: Color,
    /// The release that serves now.
    pub release: Release,
    /// The generation in force.
    pub generation: Generation,
    /// When the decision was made.
    pub at: SystemTime,
    /// From the command to the decision.
    pub took: Duration,
    /// It is on disk.
    pub durable: bool,
    /// Where the way back leads after it, and whether it is safe; `None`: nowhere, or nothing was moved.
    pub way_back: Option<(Release, Verdict)>,
    /// How long requests were held for it; `None`: they were not.
    pub held: Option<Duration>,
    /// The release that is on its way after it.
    pub deployment: Option<Deployment>,
    /// The file could not be taken in first, so the command went by the configuration in force: the reason.
    pub file_problem: Option<String>,
    /// What the checks of its gate found.
    pub checks: Vec<CheckReport>,
    /// The guards that `force` overrode.
    pub overrode: Vec<Guard>,
    /// The move that it cancelled.
    pub cancelled: Option<Moving>,
    /// The move that is under way, and that it left alone.
    pub pending: Option<Moving>,
    /// The freeze whose place it took.
    pub replaced: Option<Freeze>,
    /// The pause whose place it took.
    pub replaced_pause: Option<Hold>,
    /// The release that it put into quarantine.
    pub quarantined: Option<Release>,
    /// The canary that it ended by giving its release all of the traffic: that release, and its share before.
    pub ended_canary: Option<(Release, Weight)>,
}

/// Why a command was not carried out. An ordinary answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The target did not pass the gate.
    Unhealthy(GateReport),
    /// The target is healthy, and a check of the gate failed there.
    CheckFailed(GateReport),
    /// Another command is under way.
    InProgress(Box<Moving>),
    /// A release is on its way already.
    OnItsWay {
        /// Which.
        release: Release,
        /// Where.
        to: Color,
        /// It has the traffic, and is watched.
        bakes: bool,
    },
    /// Called off by this: `alice's rollback`.
    Withdrawn(String),
    /// Called off because the client that asked for it gave up.
    GivenUp {
        /// The color that keeps serving.
        active: Color,
    },
    /// No color has this release.
    UnknownRelease {
        /// The release that was asked for.
        asked: Release,
        /// What is deployed.
        deployed: PerColor<Release>,
    },
    /// Requests of the color that serves did not end while new ones were held for a move without overlap.
    NotDrained {
        /// The color that serves, and goes on to.
        color: Color,
        /// How long was waited.
        after: Duration,
        /// What was under way still.
        left: Left,
    },
    /// `if_generation` names another one.
    StaleGeneration {
        /// The number that was asked for.
        expected: Generation,
        /// The number in force.
        current: Generation,
    },
    /// There is nothing to roll back to.
    NoKnownGood {
        /// What served before, if anything did.
        wanted: Option<Previous>,
        /// The color that would be the target.
        color: Color,
        /// What is deployed there now.
        deployed: Release,
        /// It has served, so that `--to` goes back to it.
        served: bool,
        /// The command that goes there, unless nothing is deployed.
        command: Option<String>,
    },
    /// Forward moves are stopped.
    Frozen(Freeze),
    /// Somebody else's freeze is in force, and was not to be replaced.
    FrozenAlready(Freeze),
    /// Somebody else's pause is in force, and was not to be replaced.
    PausedAlready {
        /// That pause.
        pause: Box<Hold>,
        /// It ends by itself after this.
        left: Duration,
    },
    /// The release was taken back because it was bad.
    Quarantined {
        /// That release, and who took it back.
        bad: Quarantined,
        /// The command that goes there all the same.
        command: String,
    },
    /// The data stores do not allow it.
    RollbackUnsafe(Box<Unsafe>),
    /// The ledger could not be written, with the reason.
    NotDurable(String),
    /// No release is on its way.
    NoCanary,
    /// The release has the traffic already, and is only watched.
    Baking,
    /// There is no canary to abort: its release has the traffic, and a rollback has no target.
    NoWayBack {
        /// The release that has the traffic.
        release: Release,
        /// Its color.
        color: Color,
        /// Why a rollback has no target.
        why: Box<Refusal>,
    },
    /// The plan is none, and why.
    BadPlan(String),
    /// An automatic rollback was made a short time ago.
    CoolingDown {
        /// Until when.
        until: SystemTime,
    },
    /// The configuration file is not valid.
    InvalidFile(Box<FileProblem>),
    /// The configuration file is still being written, or can't be read in time: the reason.
    FileBusy(String),
    /// The target was edited after its gate had begun to ask it.
    TargetChanged {
        /// The color.
        to: Color,
        /// The release that the move was for.
        asked: Release,
        /// The release that is deployed there now; the same one where the endpoints changed.
        now: Release,
    },
    /// An order in the file, before the process started: its code, and the sentence.
    Earlier {
        /// The code.
        code: &'static str,
        /// The sentence.
        sentence: String,
    },
    /// The file names what a rollback has just left.
    Overruled {
        /// That rollback.
        left: TakenBack,
        /// The file may order it again after this.
        until: SystemTime,
    },
    /// Nothing was staged, or what was staged is not there any more.
    Stage(StageRefusal),
}

/// Everything that is wrong with the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// One line for each error, with its place.
    pub text: String,
    /// The same with the lines of the file.
    pub drawn: String,
    /// Each error.
    pub errors: Vec<FileError>,
    /// The command that goes by the configuration in force, where the refused one can do that.
    pub instead: Option<String>,
}

/// One error of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The reason.
    pub message: String,
    /// The repair.
    pub help: Option<String>,
}
