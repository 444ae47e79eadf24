//! Switches and rollbacks, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::api::{CheckAnswer, DrainedAnswer};

/// `POST /admin/switch`. An empty body means the other color.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchBody {
    /// `blue` or `green`; absent: the color that does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Instead of `to`: the color that has this release; `422 unknown_release` if none has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_release: Option<String>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// The guards to override; `schema` needs a `reason`.
    #[serde(default, skip_serializing_if = "Forced::is_none")]
    pub force: Forced,
    /// Run one round of the gate, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// `allow`, or `none`: hold new requests until in-flight ones are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// The time of the answer: `none`, at once; `drained`, when the old color is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Only if the color still has the release that `PUT /admin/colors/{color}` named by this `staged`; else `409
    /// target_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_staged: Option<String>,
    /// The longest wait for the gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How long the release has to serve to be known good, such as `5m`; absent: `bake.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good_after: Option<String>,
    /// Do not cancel the waiting switch if the client hangs up.
    #[serde(default)]
    pub detach: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/rollback`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// `blue` or `green`, known good or not; absent: the known-good release that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// The guards to override; `schema` needs a `reason`.
    #[serde(default, skip_serializing_if = "Forced::is_none")]
    pub force: Forced,
    /// Run one round of the gate, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Quarantine the release that serves now: moves to it are refused unless forced.
    #[serde(default)]
    pub quarantine: bool,
    /// `allow`, or `none`: hold new requests until in-flight ones are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The guards that a command overrides: `true` for all of them, or names such as `["health", "quarantine"]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "`force` is true, false, or a list of guards such as [\"health\"]")]
pub(crate) enum Forced {
    /// All, or none.
    All(bool),
    /// `health`, `quarantine`, `schema`, `file`, `cooldown`, `bake`.
    Guards(Vec<String>),
}

impl Default for Forced {
    fn default() -> Forced {
        Forced::All(false)
    }
}

impl Forced {
    /// No guard is overridden.
    #[must_use]
    pub(crate) fn is_none(&self) -> bool {
        match self {
            Forced::All(all) => !all,
            Forced::Guards(guards) => guards.is_empty(),
        }
    }
}

/// The outcome of a switch or a rollback.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SwitchAnswer {
    /// False: this was in force already, and nothing changed. With `dry_run`, whether anything would change.
    pub changed: bool,
    /// True: a question only; nothing changed.
    #[serde(default)]
    pub dry_run: bool,
    /// The color that serves; with `dry_run`, the one that would serve.
    pub active: String,
    /// The color that served before.
    pub previous: String,
    /// The release that serves.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// When it was decided, RFC 3339.
    pub at: String,
    /// From the command to its effect, in microseconds.
    pub took_us: u64,
    /// The decision is on disk.
    pub durable: bool,
    /// Time for which requests were held for the move, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_us: Option<u64>,
    /// In-flight requests on the color that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// With `wait: "drained"`: how the drain ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<DrainedAnswer>,
    /// The way back after the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackAnswer>,
    /// The reason why the newest file could not be used, so the command used the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_problem: Option<String>,
    /// Findings of its gate's checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckAnswer>,
    /// The overridden guards: they would have refused the move, or were not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrode: Vec<String>,
    /// Reasons why clients are not served as expected, each with the command that repairs it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The quarantined release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// The move that it cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<MovingAnswer>,
    /// A move in progress that it did not cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<MovingAnswer>,
    /// The canary that it ended by giving its release all of the traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_canary: Option<EndedCanary>,
}

/// A canary that ended because its release got all of the traffic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EndedCanary {
    /// Its release.
    pub release: String,
    /// Its share of the requests, in percent.
    pub weight: f64,
}

/// A move in progress, or an earlier one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MovingAnswer {
    /// `switch`, `rollback`, `canary`, `advance` or `release`.
    pub kind: String,
    /// The target color.
    pub to: String,
    /// The release there.
    pub release: String,
    /// Whose it is, in words: `alice's switch`.
    pub whose: String,
    /// The actor who asked for it.
    pub actor: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The begin, RFC 3339.
    pub since: String,
    /// In so many milliseconds it is refused, if what it waits for does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
    /// The cause of its wait: `health_checks`, `gate_checks`, `in_flight_requests`, `disk` or `nothing`.
    #[serde(default)]
    pub phase: String,
    /// The first obstacle: `127.0.0.1:9001 connection refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// How far the gate checks are, while they are being asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<CheckProgressAnswer>,
}

/// How far the gate checks are at the endpoint that is farthest behind.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CheckProgressAnswer {
    /// That endpoint.
    pub endpoint: String,
    /// Checks that passed there.
    pub passed: u32,
    /// Checks that are asked there.
    pub of: u32,
    /// The check that is being asked.
    pub check: String,
    /// Its responses that passed so far.
    pub responses: u32,
    /// Its `times`: responses that have to pass.
    pub times: u32,
    /// Endpoints that have answered every check.
    pub endpoints_finished: u32,
    /// Endpoints that are asked.
    pub endpoints: u32,
}

/// In-flight requests on a retired color.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Draining {
    /// The retired color.
    pub color: String,
    /// Requests without an answer yet.
    pub requests: u64,
    /// Answers whose body is being sent.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// Time until the remaining requests are cut off, in milliseconds.
    #[serde(default)]
    pub ends_in_ms: u64,
}

/// The way back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RollbackAnswer {
    /// A rollback would be made now.
    pub possible: bool,
    /// The release there can serve with the present data stores: `yes`, `no` or `unknown`.
    #[serde(default)]
    pub safe: String,
    /// Why `safe` is not `yes`: what the data stores say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsafe_why: Option<String>,
    /// The color it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The release it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The reason why it is not possible, or a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Possible only with `force`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_need: Option<String>,
    /// The guards that would refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<String>,
    /// The command that goes back, or a switch to the other color where no rollback is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// `POST /admin/cancel`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBody {
    /// The `X-Request-Id` that the command was sent with.
    #[serde(default)]
    pub request_id: String,
}

/// Its outcome.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CancelAnswer {
    /// The command has no answer yet. Its own answer says whether it was cancelled: `409 cancelled`.
    pub found: bool,
}
