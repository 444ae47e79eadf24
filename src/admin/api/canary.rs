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
    /// With its sign.
    Text(String),
}

/// `POST /admin/canary`. What is not said is as configured; an empty body begins as `[canary]` says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryBody {
    /// Only if the color that does not serve still has what `PUT /admin/colors/{color}` answered with this as `staged`;
    /// else `409 target_changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_staged: Option<String>,
    /// The first step; of the others those follow that are larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Percent>,
    /// How the weight grows.
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
    /// How long it may wait for its gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// How long the release has to serve to be known good, once it has the traffic; absent: `bake.duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good_after: Option<String>,
    /// Go on if the client hangs up. Without it, a start that still waits is called off then.
    #[serde(default)]
    pub detach: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An object and no list, which would also do for a struct.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PlanBody>, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)?;
    object.map(|object| serde_json::from_value(object.into()).map_err(serde::de::Error::custom)).transpose()
}

/// How the weight is to grow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanBody {
    /// Growing, each below 100 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Percent>>,
    /// A step lasts at least so long, such as `"30s"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell: Option<String>,
    /// A step waits for evidence no longer than this, such as `"30m"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<String>,
    /// And then: `hold`, `advance` or `abort`.
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
    /// To all of the traffic, not to the next step.
    #[serde(default)]
    pub full: bool,
    /// Only if this is the generation in force; else `412 stale_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_generation: Option<u64>,
    /// How long it may wait for its gate, such as `45s`; absent: `gate.timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Go on if the client hangs up. Without it, an advance that still waits is called off then.
    #[serde(default)]
    pub detach: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `POST /admin/canary/abort`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AbortBody {
    /// The release is bad: the same label is refused from now on, unless forced.
    #[serde(default)]
    pub quarantine: bool,
    /// Why; kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of a command about a canary.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CanaryMoved {
    /// False: it was so already, and nothing was touched.
    pub changed: bool,
    /// The decision is on disk.
    pub durable: bool,
    /// The color that serves what the candidate does not get.
    pub active: String,
    /// Its release.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// When it was decided, RFC 3339.
    pub at: String,
    /// From the command to its effect, in microseconds.
    pub took_us: u64,
    /// How requests are shared.
    pub split: SplitAnswer,
    /// The release on its way.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// The configuration file could not be taken in first, so the command went by the configuration in force: the
    /// reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_problem: Option<String>,
    /// The guards that `force` overrode: they would have refused it, or were not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrode: Vec<String>,
    /// Requests are not served as the command lets expect: the reason, and the command that mends it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The release that it put into quarantine.
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
    /// The color that serves what the candidate does not get.
    pub active: String,
    /// Its release.
    pub release: String,
    /// The generation in force.
    pub generation: u64,
    /// How requests are shared.
    pub split: SplitAnswer,
    /// The release on its way, with its routes.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
    /// After an automatic rollback nothing advances by itself until then, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<String>,
    /// An automatic rollback was made; for so many seconds more it is looked at whether that helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifying_s: Option<f64>,
    /// It did not help: the release that serves now is no better.
    #[serde(default)]
    pub both_unhealthy: bool,
}

/// A release on its way.
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
    /// `step`: it gets a share; `bake`: it has the traffic, and is watched.
    pub stage: String,
    /// At which step of the plan it is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Its share of the requests, in percent.
    pub weight: f64,
    /// How the weight grows.
    pub plan: PlanAnswer,
    /// The consequence of a verdict: `enforce`, `observe` or `off`.
    pub mode: String,
    /// Since when it is at this stage, RFC 3339.
    pub since: String,
    /// For how many seconds it is at this stage.
    pub for_s: f64,
    /// Somebody holds it, or the program does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldAnswer>,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAnswer>,
    /// The evidence against it, and for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceAnswer>,
    /// The judge's verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<JudgementAnswer>,
    /// Events that the application tells; in `GET /admin/canary` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventAnswer>,
    /// Route by route, all of them together first; in `GET /admin/canary` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteAnswer>,
}

/// How the weight grows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanAnswer {
    /// In percent. Empty: a plain switch, which is only baked.
    pub steps: Vec<f64>,
    /// A step lasts at least so many seconds.
    pub dwell_s: f64,
    /// And waits for evidence no longer than this.
    pub max_step_s: f64,
    /// And then: `hold`, `advance` or `abort`.
    pub on_insufficient: String,
    /// The share that stays on the old color while the release bakes, in percent.
    pub holdback: f64,
    /// How long the release is watched after it took the traffic, in seconds.
    pub bake_s: f64,
}

/// Why a release stays where it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeldAnswer {
    /// Who, or `automatic`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// The clock of a release on its way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NextAnswer {
    /// Its next weight, in percent.
    pub weight: f64,
    /// Not before so many seconds.
    pub in_s: f64,
    /// In so many seconds `plan.on_insufficient` happens, if nothing is proved by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_s: Option<f64>,
    /// The proof that it is no worse needs about so many further requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_requests: Option<u64>,
    /// They take about so many seconds; absent beside `needs_requests`: none come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_s: Option<f64>,
    /// It does not go on by itself: `held`, `frozen`, `cooling_down`, `suspect`, `baseline_unhealthy` or `by_hand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// The release on its way after a transition.
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
    /// When it was over, RFC 3339; absent: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `canary`, `baking`, `known_good`, `rolled_back`, `aborted`, or `replaced` (something else came in its place).
    pub outcome: String,
    /// The record of its judge is on disk: it can be judged again.
    pub recorded: bool,
}
