//! Switches and rollbacks, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::api::{CheckAnswer, DrainedAnswer};

/// `POST /admin/switch`. An empty body means the other color.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchBody {
    /// `blue` or `green`; absent: the other one.
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
    /// Ask the gate once, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// `allow`, or `none`: hold new requests until those under way are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// `none`, or `drained`: answer when the old color is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Only if the color still has what `PUT /admin/colors/{color}` answered with this as `staged`; else `409
    /// target_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_staged: Option<String>,
    /// How long it may wait for its gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How long the release has to serve to be known good, such as `5m`; absent: `bake.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good_after: Option<String>,
    /// Go on if the client hangs up. Without it, a switch that still waits is called off then.
    #[serde(default)]
    pub detach: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/rollback`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackBody {
    /// `blue` or `green`, whether its release is known good or not; absent: what served before and is known good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// The guards to override; `schema` needs a `reason`.
    #[serde(default, skip_serializing_if = "Forced::is_none")]
    pub force: Forced,
    /// Ask the gate once, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The release that serves now is bad: its label is refused from now on, unless forced.
    #[serde(default)]
    pub quarantine: bool,
    /// `allow`, or `none`: hold new requests until those under way are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// Why; kept in the history.
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
    /// False: it was so already, and nothing was touched.
    pub changed: bool,
    /// True: it was only asked what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// The color that serves (with `dry_run`: that would serve).
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
    /// For how long requests were held for it, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_us: Option<u64>,
    /// In-flight requests on the color that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// With `wait: "drained"`: how the drain ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<DrainedAnswer>,
    /// The way back after it (with `dry_run`: as it would be).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackAnswer>,
    /// The configuration file could not be taken in first, so the command went by the configuration in force: the
    /// reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_problem: Option<String>,
    /// Findings of its gate's checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckAnswer>,
    /// The guards that `force` overrode: they would have refused it, or were not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrode: Vec<String>,
    /// It was done, and clients are not served as they should be: their answers, and the command that mends it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The release that it put into quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// The move that it cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<MovingAnswer>,
    /// A move that is under way, and that it did not cancel.
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

/// A move that is under way, or was.
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
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// In so many milliseconds it is refused, if what it waits for does not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_ms: Option<u64>,
    /// The step that it waits in: `health_checks`, `gate_checks`, `in_flight_requests`, `disk` or `nothing`.
    #[serde(default)]
    pub phase: String,
    /// The first thing in its way: `127.0.0.1:9001 connection refused`.
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
    /// Requests that are not answered yet.
    pub requests: u64,
    /// Answers whose body is under way.
    pub streams: u64,
    /// Upgraded connections.
    pub tunnels: u64,
    /// When the rest is ended, in milliseconds.
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
    /// Why not, or what speaks against it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `force`: it would be made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_need: Option<String>,
    /// The guards that would refuse it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<String>,
    /// The command that goes back, or to the other color where no rollback leads there.
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
    /// The command is here and not answered yet. Its own answer says whether it was cancelled: `409 cancelled`.
    pub found: bool,
}
