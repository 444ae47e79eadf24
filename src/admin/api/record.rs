//! Wire types of transitions, releases, and a check of the ledger.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::api::{CheckAnswer, GateAnswer, JudgementAnswer, OnItsWay};

/// `GET /admin/history`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HistoryAnswer {
    /// Newest first.
    pub transitions: Vec<TransitionAnswer>,
    /// For the next page: `?before=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
}

/// One transition.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TransitionAnswer {
    /// Its number in the ledger; 0: not written yet.
    pub sequence: u64,
    /// Its kind: `start`, `switch`, `rollback`, `release` (another one on the active color), `seen` (an order in the
    /// file that moved nothing), `refused`, `known_good`, `freeze`, `unfreeze`, `hold` (by hand), `hold_end`,
    /// `maintenance`, `staged` (a release was put on the color that does not serve), `barrier` (the way back is not
    /// safe any more), and of a release on its way `canary` (it began), `advance`, `abort`, `canary_hold`,
    /// `canary_resume`, `suspect`, `would_roll_back`, `rollback_blocked`, `baseline_unhealthy`, `both_unhealthy` and
    /// `recovered`.
    pub kind: String,
    /// The time, RFC 3339.
    pub at: String,
    /// The color that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The release that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_release: Option<String>,
    /// The color that serves after it.
    pub to: String,
    /// The release that serves after it.
    pub release: String,
    /// The generation after it.
    pub generation: u64,
    /// `api`, `file`, `start`, `automatic` or `traffic`.
    pub trigger: String,
    /// The actor.
    pub actor: String,
    /// From where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Guards were told to stand aside.
    pub forced: bool,
    /// The overridden guards: they would have refused the move, or were not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrode: Vec<String>,
    /// The move was forced although the data stores did not allow it; there is no way back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overridden: bool,
    /// Why nothing moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The refusal, or the staged release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedAnswer>,
    /// Each endpoint's answer to the gate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<GateAnswer>,
    /// Findings of the gate's checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckAnswer>,
    /// The canary or the baking release after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<OnItsWay>,
    /// The verdict that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Box<JudgementAnswer>>,
    /// How the drain that it began has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<DrainedAnswer>,
    /// From the command to the decision, in microseconds; of a `hold_end`, how long it was.
    pub took_us: u64,
    /// Time for which requests were held for the move, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_us: Option<u64>,
    /// A `maintenance` turned on (true) or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
}

/// The refused command.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskedAnswer {
    /// The command, such as `switch` or `canary`: a kind of a transition.
    pub kind: String,
    /// The target color.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The release there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// The end of a drain.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DrainedAnswer {
    /// The color that drained.
    pub color: String,
    /// From the move to its last request, in microseconds.
    pub took_us: u64,
    /// Requests that `drain.streams` or `drain.timeout` ended.
    pub ended: u64,
    /// The same number by kind of request.
    pub by_kind: EndedAnswer,
    /// Requests that a client lost: plain ones, streams, and tunnels at `drain.timeout`.
    #[serde(default)]
    pub cut_off: u64,
    /// Requests were left at `drain.timeout`.
    pub timed_out: bool,
}

/// Ended requests, by kind.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EndedAnswer {
    /// Requests that were not answered yet; they got 504.
    pub requests: u64,
    /// Answers whose body was under way; they were cut.
    pub streams: u64,
    /// Upgraded connections; WebSockets got a close frame.
    pub tunnels: u64,
}

/// `GET /admin/releases`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReleasesAnswer {
    /// Newest first.
    pub releases: Vec<RunAnswer>,
}

/// A release that served, or serves.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunAnswer {
    /// Its label.
    pub release: String,
    /// Where.
    pub color: String,
    /// The begin, RFC 3339.
    pub from: String,
    /// Its end, RFC 3339; absent: it still serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// By which way it came there.
    pub trigger: String,
    /// The actor of the move to it.
    pub actor: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is known good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_good: Option<String>,
}

/// `GET /admin/history/verify`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// Every line is as it was written.
    pub ok: bool,
    /// Lines that can be read.
    pub lines: u64,
    /// The number of the first line; older ones are dropped when the ledger becomes long.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// SHA-256 of the last line. A copy kept elsewhere shows later whether the ledger was written anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The first defect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<String>,
}
