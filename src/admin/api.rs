//! The wire types of the admin API, shared with the command line. They only grow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod canary;
mod colors;
mod endpoints;
mod event;
mod evidence;
mod file;
mod freeze;
mod gate;
mod headline;
mod hold;
mod moves;
mod record;
mod timeline;

pub(crate) use canary::{
    AbortBody, AdvanceBody, CanaryAnswer, CanaryBody, CanaryMoved, CanaryStatus, DeploymentAnswer, DeploymentsAnswer,
    HeldAnswer, NextAnswer, OnItsWay, Percent, PlanAnswer, PlanBody, SplitAnswer,
};
pub(crate) use colors::{NeedAnswer, ReplacedAnswer, SafeToStop, StageAnswer, StageBody, StoreBody};
pub(crate) use endpoints::{AnswersAs, EndpointAnswer, NameAnswer, Starting};
pub(crate) use event::{HealthEvent, HeldEvent, LaggedEvent, ReloadedEvent};
pub(crate) use evidence::{
    ClassAnswer, EventAnswer, EvidenceAnswer, FindingAnswer, JudgementAnswer, LatencyAnswer, OddsAnswer, RouteAnswer,
    SampleAnswer, SideAnswer, ToldAnswer,
};
pub(crate) use file::{ConfigProblem, FileAnswer, ReloadAnswer};
pub(crate) use freeze::{FreezeAnswer, FreezeBody, FrozenAnswer, UnfreezeBody};
pub(crate) use gate::{CheckAnswer, CheckFailureAnswer, ChecksAnswer, GateAnswer, LingerAnswer};
pub(crate) use headline::{ConditionAnswer, HeadlineAnswer};
pub(crate) use hold::{HoldAnswer, HoldBody, HoldStatus, MaintenanceBy, PauseAnswer};
pub(crate) use moves::{
    CancelAnswer, CancelBody, CheckProgressAnswer, Draining, EndedCanary, Forced, MovingAnswer, RollbackAnswer,
    RollbackBody, SwitchAnswer, SwitchBody,
};
pub(crate) use record::{
    AskedAnswer, DrainedAnswer, EndedAnswer, HistoryAnswer, ReleasesAnswer, RunAnswer, TransitionAnswer, VerifyAnswer,
};
pub(crate) use timeline::{NumbersAnswer, PointAnswer, TimelineAnswer, WhoAnswer};

/// A release that was taken back because it was bad.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct QuarantinedAnswer {
    /// Its label.
    pub release: String,
    /// The time, RFC 3339.
    pub since: String,
    /// The actor.
    pub by: String,
    /// The reason.
    pub reason: String,
}

/// `DELETE /admin/pause`, `POST /admin/maintenance`, `DELETE /admin/maintenance`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/reload`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReloadBody {
    /// The reason, kept in the process log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to plain HTTP on an admin address with TLS.
pub(crate) const PLAIN_ON_TLS: &str = "this address speaks TLS: use https:// (cutover: --admin https://HOST:PORT)\n";

/// `POST /admin/upgrade`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpgradeBody {
    /// How long the new process may take until it serves; 30s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// The reason, kept in the process log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The process that serves after an upgrade.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct UpgradeAnswer {
    /// The process that serves.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The process that served before, and drains.
    pub previous_pid: u32,
    /// Its version.
    pub previous_version: String,
    /// The generation in force, in both.
    pub generation: u64,
    /// The time of the upgrade.
    pub took_ms: u64,
}

/// `GET /admin/status`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatusAnswer {
    /// The headline: all is well, or the worst finding and the next command.
    #[serde(default)]
    #[schema(required = false)]
    pub headline: HeadlineAnswer,
    /// The color that serves.
    pub active: String,
    /// The release that serves.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// Since when this color serves, RFC 3339.
    pub since: String,
    /// The decision in force is on disk.
    pub durable: bool,
    /// `steady`, `canary`, `baking`, `gating`, `holding` or `committing`.
    pub phase: String,
    /// Shares of the requests.
    #[serde(default)]
    pub split: SplitAnswer,
    /// The canary or the baking release; `GET /admin/canary` has all of it.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// An automatic rollback did not help: the release that serves now is no better.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_unhealthy: bool,
    /// The target of the move in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<String>,
    /// The move in progress: its actor, and the cause of its wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<MovingAnswer>,
    /// Since when the release that serves is known good, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good: Option<String>,
    /// If it is not: in so many seconds, if it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good_in_s: Option<f64>,
    /// Only a rollback moves traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeAnswer>,
    /// Releases that are refused unless forced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantinedAnswer>,
    /// Requests are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// The color serves by force: its endpoints get requests even if no check passes.
    #[serde(default)]
    pub by_force: bool,
    /// Every request gets the maintenance answer.
    #[serde(default)]
    pub maintenance: bool,
    /// The operator who turned maintenance on; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_by: Option<MaintenanceBy>,
    /// Blue.
    pub blue: ColorAnswer,
    /// Green.
    pub green: ColorAnswer,
    /// A drain under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// How the last drain ended, since the start of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drain: Option<DrainedAnswer>,
    /// The way back.
    pub rollback: RollbackAnswer,
    /// Results of the gate checks in the last gate of the release that is deployed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksAnswer>,
    /// The color that does not serve and is asked for old files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger: Option<LingerAnswer>,
    /// The data stores that the labels of releases name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreAnswer>,
    /// The configuration file.
    pub file: FileAnswer,
    /// The addresses of traffic.
    pub http_address: String,
    /// The addresses of traffic over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_address: Option<String>,
    /// How to look at the color that does not serve, for those who may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewAnswer>,
    /// Certificates that clients are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateAnswer>,
    /// The reason why the files that were read before stay in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_errors: Vec<String>,
    /// The names of endpoints, and whether they resolve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameAnswer>,
    /// Lines that the access log dropped.
    pub access_log_dropped: u64,
    /// Files that can't be used now, or were removed or replaced by another program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FileProblemAnswer>,
    /// Receivers of notices, and their deliveries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<SinkAnswer>,
    /// The process that answers; another one after an upgrade.
    #[serde(default)]
    #[schema(required = false)]
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: f64,
}

/// A file that can't be used now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FileProblemAnswer {
    /// The setting that names it.
    pub setting: String,
    /// The file.
    pub path: String,
    /// The reason.
    pub reason: String,
}

/// How to look at the color that does not serve.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PreviewAnswer {
    /// The color.
    pub color: String,
    /// The field that asks for it.
    pub header: String,
    /// The host name of the preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port of the preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One color in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ColorAnswer {
    /// The release that the configuration deploys there; empty: none yet.
    pub release: String,
    /// Its endpoints.
    pub endpoints: Vec<EndpointAnswer>,
    /// Whether its processes may be stopped.
    #[serde(default)]
    pub safe_to_stop: SafeToStop,
    /// Requests without an answer yet.
    pub requests: u64,
    /// Answers whose body is being sent.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// Requests finished since the start.
    pub requests_total: u64,
    /// Requests a second, over ten seconds.
    pub requests_per_second: f64,
    /// Answers with 5xx, a second.
    pub errors_per_second: f64,
}

/// A certificate in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CertificateAnswer {
    /// Its first name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// Until when it is valid, RFC 3339.
    pub not_after: String,
}

/// A sink of notices.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SinkAnswer {
    /// Its name.
    pub sink: String,
    /// `well`, `failing`, or `disabled` (the receiver answered 410).
    pub state: String,
    /// Waiting notices.
    pub pending: usize,
    /// Attempts that failed, since the start.
    pub failures: u64,
    /// Notices given up since the start.
    pub dropped: u64,
    /// The time of the last delivered notice, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When that was, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_at: Option<String>,
}

/// `POST /admin/notify/test`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotifyTestBody {
    /// To whom; absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Every kind of notice, instead of one.
    #[serde(default)]
    pub all: bool,
}

/// The outcome of the test.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NotifyTestAnswer {
    /// Every notice got there.
    pub delivered: bool,
    /// One by one.
    pub notices: Vec<TriedAnswer>,
}

/// One notice of a test.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriedAnswer {
    /// To whom.
    pub sink: String,
    /// Its kind.
    pub event: String,
    /// The notice was delivered.
    pub delivered: bool,
    /// The receiver's answer.
    pub detail: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A data store in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StoreAnswer {
    /// Its name.
    pub store: String,
    /// The version of its schema, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// From where: `probe`, `labels` (what releases that took traffic bring it to) or `nowhere`.
    pub source: String,
    /// Why its probe does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_error: Option<String>,
    /// The barrier of the release that serves: `applied` or `first-write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier: Option<String>,
    /// That barrier is passed.
    #[serde(default)]
    pub barrier_passed: bool,
    /// The first write, if that passed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_write: Option<FirstWriteAnswer>,
}

/// The first mutating request that the release accepted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FirstWriteAnswer {
    /// When it was answered, RFC 3339.
    pub at: String,
    /// Its id.
    pub request_id: String,
}

/// An error, RFC 9457.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Problem {
    /// The status code.
    pub status: u16,
    /// Stable, for programs.
    pub code: String,
    /// For a headline.
    pub title: String,
    /// One sentence for people.
    pub detail: String,
    /// With `unhealthy` and `check_failed`: each endpoint's answer to the health round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<GateAnswer>,
    /// With `check_failed`: the finding of each check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckAnswer>,
    /// With `stale_generation`: the generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// With `rollback_unsafe`: the obstacles, and what to do instead.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub rollback_unsafe: Option<Box<UnsafeAnswer>>,
    /// With `invalid_config`: each problem of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ConfigProblem>,
}

/// Why the data stores do not allow a move.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct UnsafeAnswer {
    /// The subject of the first obstacle.
    #[serde(flatten)]
    pub first: ObstacleAnswer,
    /// The nearest release before the one that serves which could serve now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_safe_release: Option<String>,
    /// The next step, in a sentence.
    #[schema(required = false)]
    pub hint: String,
    /// For a forward move: what to do instead, in two steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepAnswer>,
    /// All obstacles.
    #[schema(required = false)]
    pub obstacles: Vec<ObstacleAnswer>,
}

/// An obstacle to a move.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct ObstacleAnswer {
    /// The data store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The present version of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// The version of the store after the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrates_to: Option<u64>,
    /// The schema that the release that could not serve needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_needs: Option<String>,
    /// That release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<String>,
    /// The release that passed its barrier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barrier_release: Option<String>,
    /// The same in words.
    #[schema(required = false)]
    pub why: String,
}

/// One safe step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct StepAnswer {
    /// `expand first` or `contract after`.
    pub step: String,
    /// The next step.
    pub what: String,
}
