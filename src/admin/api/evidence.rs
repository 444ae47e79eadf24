//! Wire types of the evidence about a release, which is in odds to one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Evidence and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OddsAnswer {
    /// The odds to one.
    pub odds: f64,
    /// The odds that suffice.
    pub limit: f64,
}

/// Evidence of a regression and of health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EvidenceAnswer {
    /// Evidence of a regression; at its limit the release is rolled back.
    pub worse: OddsAnswer,
    /// Evidence of health; at its limit the next step follows, after the shortest time of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worse: Option<OddsAnswer>,
    /// Evidence that only holds it (4xx, clients that left): at the limit it goes no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<OddsAnswer>,
    /// Evidence that the release needs more CPU for a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<OddsAnswer>,
    /// The stable release fails itself.
    pub baseline_unhealthy: bool,
    /// No other release serves at the same time.
    pub without_control: bool,
    /// The stable release is proved to be worse.
    #[serde(default)]
    pub stable_worse: bool,
    /// The observed split differs from the weight. Verdicts stay valid.
    #[serde(default)]
    pub split_off: bool,
    /// Users stay on a color, and all requests come from so few client networks that they are little evidence: how many
    /// networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_networks: Option<u64>,
    /// There are more 4xx, most of them of files that are not there, while each request draws its color: pages of one
    /// release ask for files of the other.
    #[serde(default)]
    pub misses_files: bool,
    /// The reason why no step follows although no test says that the release is worse: `errors`, `slow`,
    /// `client_errors`, `events`, `latency` or `cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
}

/// The judge's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct JudgementAnswer {
    /// `pass`, `insufficient`, `suspect` or `fail`.
    pub verdict: String,
    /// Odds to one that the release is worse.
    pub evidence: u64,
    /// A rollback needs so much.
    pub limit: u64,
    /// All of it in one sentence.
    pub words: String,
    /// Its grounds, the heaviest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingAnswer>,
    /// The stable release fails itself.
    pub baseline_unhealthy: bool,
    /// No other release served at the same time.
    pub without_control: bool,
    /// Requests to the release.
    pub exposed: u64,
    /// How many of them ended in an error.
    pub harmed: u64,
}

/// A ground of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct FindingAnswer {
    /// `error`, `slow_p50`, `slow_p90`, `slow_p99`, `client_error`, `abort`, `cpu`, `more_events` or `fewer_events`.
    pub class: String,
    /// On which route; absent: all of them together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The name of the event, for `more_events` and `fewer_events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// In words, with both numbers.
    pub words: String,
    /// The release that is watched.
    pub candidate: SampleAnswer,
    /// The release that it is compared with.
    pub stable: SampleAnswer,
    /// The odds to one.
    pub evidence: u64,
}

/// An event of the application (`[[analysis.event]]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventAnswer {
    /// Its name.
    pub event: String,
    /// The bad direction: `more` or `fewer`.
    pub bad: String,
    /// The tolerated change for each request, in percent.
    pub tolerate: f64,
    /// The release that it is compared with.
    pub stable: ToldAnswer,
    /// The release that is watched.
    pub candidate: ToldAnswer,
    /// Odds to one that the release is worse.
    pub odds: f64,
}

/// Counts of an event on one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ToldAnswer {
    /// Requests of the seconds that were compared.
    pub requests: u64,
    /// Events in the answers to them, as far as they count.
    pub told: u64,
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SampleAnswer {
    /// Finished requests.
    pub requests: u64,
    /// How many of them were bad in this way.
    pub bad: u64,
    /// The quantile that it is about, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
}

/// A row of the table of routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RouteAnswer {
    /// Absent: all routes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The release that it is compared with.
    pub stable: SideAnswer,
    /// The release that is watched.
    pub candidate: SideAnswer,
    /// Kinds of evidence for which this route has too few requests: `errors`, `latency`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub too_few: Vec<String>,
    /// Odds to one that the release is worse on this route.
    pub evidence: Vec<ClassAnswer>,
}

/// Counts of one side of a route.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SideAnswer {
    /// Requests to the release.
    pub assigned: u64,
    /// Finished requests.
    pub completed: u64,
    /// Requests that ended in an error.
    pub errors: u64,
    /// Requests that were answered 4xx.
    pub client_errors: u64,
    /// Requests whose client left before the answer.
    pub aborts: u64,
    /// Latencies at present, in milliseconds, where there are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyAnswer>,
}

/// Latencies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LatencyAnswer {
    /// Half of the requests are faster.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

/// Evidence of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClassAnswer {
    /// `error`, `slow_p50`, `slow_p90`, `slow_p99`, `client_error` or `abort`.
    pub class: String,
    /// The odds to one.
    pub odds: f64,
}
