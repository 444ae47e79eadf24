//! Wire types of canaries. Shares of requests are in percent.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::admin::api::{EventAnswer, EvidenceAnswer, Forced, JudgementAnswer, MovingAnswer, RouteAnswer};

/// A share of the requests: `"5%"`, or a number in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Percent {
    /// In percent.
    Number(f64),
    /// With a percent sign.
    Text(String),
}

/// `POST /admin/canary`. Absent fields have the values of `[canary]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryBody {
    /// Only if the color that does not serve still has the release that `PUT /admin/colors/{color}` named by this
    /// `staged`; else `409 target_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_staged: Option<String>,
    /// The first step; the larger ones of the configured steps follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Percent>,
    /// The growth of the weight.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "object")]
    pub plan: Option<PlanBody>,
    /// The consequence of a verdict: `enforce`, `observe` or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// The guards to override; `schema` needs a `reason`.
    #[serde(default, skip_serializing_if = "Forced::is_none")]
    pub force: Forced,
    /// The longest wait for the gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How long the release has to serve to be known good, once it has the traffic; absent: `bake.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good_after: Option<String>,
    /// Do not cancel the waiting start if the client hangs up.
    #[serde(default)]
    pub detach: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An object and no list, which would also do for a struct.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PlanBody>, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)?;
    object.map(|object| serde_json::from_value(object.into()).map_err(serde::de::Error::custom)).transpose()
}

/// The growth of the weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanBody {
    /// Growing, each below 100 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Percent>>,
    /// The shortest time of a step, such as `"30s"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell: Option<String>,
    /// The longest wait of a step for evidence, such as `"30m"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<String>,
    /// The consequence when that time is over: `hold`, `advance` or `abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_insufficient: Option<String>,
    /// The share that stays on the old color while the release bakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdback: Option<Percent>,
}

/// `POST /admin/canary/advance`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceBody {
    /// Advance to all of the traffic, not to the next step.
    #[serde(default)]
    pub full: bool,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// The longest wait for the gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Do not cancel the waiting advance if the client hangs up.
    #[serde(default)]
    pub detach: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/canary/abort`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AbortBody {
    /// Quarantine the release: moves to it are refused unless forced.
    #[serde(default)]
    pub quarantine: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of a command about a canary.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CanaryMoved {
    /// False: this was in force already, and nothing changed.
    pub changed: bool,
    /// The decision is on disk.
    pub durable: bool,
    /// The color that gets the rest of the traffic.
    pub active: String,
    /// Its release.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// When it was decided, RFC 3339.
    pub at: String,
    /// From the command to its effect, in microseconds.
    pub took_us: u64,
    /// Shares of the requests.
    pub split: SplitAnswer,
    /// The canary or the baking release.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// The reason why the newest file could not be used, so the command used the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_problem: Option<String>,
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
}

/// Each color's share of the requests, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SplitAnswer {
    /// Blue.
    pub blue: f64,
    /// Green.
    pub green: f64,
}

/// `GET /admin/canary`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CanaryAnswer {
    /// `steady`, `canary`, `baking`, `gating`, `holding` or `committing`.
    pub phase: String,
    /// The color that gets the rest of the traffic.
    pub active: String,
    /// Its release.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// Shares of the requests.
    pub split: SplitAnswer,
    /// The canary or the baking release, with its routes.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// The end of the cooldown after an automatic rollback, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<String>,
    /// After an automatic rollback: time left to verify it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying_s: Option<f64>,
    /// The rollback did not help: the release that serves now is no better.
    #[serde(default)]
    pub both_unhealthy: bool,
}

/// A canary or a baking release.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CanaryStatus {
    /// Names the deployment: `dep-42`.
    pub id: String,
    /// The color whose release is watched.
    pub color: String,
    /// That release.
    pub release: String,
    /// The release that it is compared with, on the other color.
    pub stable: String,
    /// `step`: the release gets a share; `bake`: it has the traffic and is watched.
    pub stage: String,
    /// The present step of the plan, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Its share of the requests, in percent.
    pub weight: f64,
    /// The growth of the weight.
    pub plan: PlanAnswer,
    /// The consequence of a verdict: `enforce`, `observe` or `off`.
    pub mode: String,
    /// The begin of this stage, RFC 3339.
    pub since: String,
    /// Time in this stage, in seconds.
    pub for_s: f64,
    /// Its pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldAnswer>,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAnswer>,
    /// The evidence of a regression and of health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceAnswer>,
    /// The judge's verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<JudgementAnswer>,
    /// Events of the application; only in `GET /admin/canary`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventAnswer>,
    /// A row for all routes together, then one per route; only in `GET /admin/canary`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteAnswer>,
}

/// The growth of the weight.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanAnswer {
    /// In percent. Empty: a plain switch with a bake.
    pub steps: Vec<f64>,
    /// The shortest time of a step, in seconds.
    pub dwell_s: f64,
    /// The longest wait of a step for evidence, in seconds.
    pub max_step_s: f64,
    /// The consequence when that time is over: `hold`, `advance` or `abort`.
    pub on_insufficient: String,
    /// The share that stays on the old color while the release bakes, in percent.
    pub holdback: f64,
    /// The time of the bake, in seconds.
    pub bake_s: f64,
}

/// A pause of a canary.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeldAnswer {
    /// The actor, or `automatic`.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// The begin, RFC 3339.
    pub since: String,
}

/// The clock of a canary or a bake.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NextAnswer {
    /// Its next weight, in percent.
    pub weight: f64,
    /// The shortest time until then, in seconds.
    pub in_s: f64,
    /// Time until `plan.on_insufficient` applies if the evidence is still insufficient, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_s: Option<f64>,
    /// Estimated number of requests that are missing for a proof of health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_requests: Option<u64>,
    /// Estimated time for these requests, in seconds; absent: none arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_s: Option<f64>,
    /// The cause of a pause: `held`, `frozen`, `cooling_down`, `suspect`, `baseline_unhealthy` or `by_hand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// The canary or the baking release after a transition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OnItsWay {
    /// The number of the deployment.
    pub id: String,
    /// The color.
    pub color: String,
    /// The release.
    pub release: String,
    /// Its share of the requests, in percent.
    pub weight: f64,
}

/// `GET /admin/deployments`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeploymentsAnswer {
    /// Newest first.
    pub deployments: Vec<DeploymentAnswer>,
}

/// A deployment that was judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeploymentAnswer {
    /// Which.
    pub id: String,
    /// The color whose release was watched.
    pub color: String,
    /// That release.
    pub release: String,
    /// The release it was compared with.
    pub stable: String,
    /// When it began, RFC 3339.
    pub from: String,
    /// Its end, RFC 3339; absent: it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `canary`, `baking`, `known_good`, `rolled_back`, `aborted`, or `replaced` by another deployment.
    pub outcome: String,
    /// The record of the judge is on disk, so the deployment can be replayed.
    pub recorded: bool,
}
