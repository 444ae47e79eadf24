//! Wire types of the evidence about a release, which is in odds to one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Evidence, and how much is needed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OddsAnswer {
    /// As odds to one.
    pub odds: f64,
    /// So much is enough.
    pub limit: f64,
}

/// The evidence against a release, and for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EvidenceAnswer {
    /// That it is worse: at the limit it is rolled back.
    pub worse: OddsAnswer,
    /// That it is no worse: at the limit it goes on, once its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_worse: Option<OddsAnswer>,
    /// Evidence that only holds it (4xx, clients that left): at the limit it goes no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<OddsAnswer>,
    /// That it needs more CPU for a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<OddsAnswer>,
    /// The release that it is compared with fails itself.
    pub baseline_unhealthy: bool,
    /// There is nothing to compare it with at the same time.
    pub without_control: bool,
    /// The release that it is compared with is proved to be the worse one.
    #[serde(default)]
    pub stable_worse: bool,
    /// Requests are not shared as the weight says; verdicts hold all the same.
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
    /// Why it does not go on although it is no worse by the tests: `errors`, `slow`, `client_errors`, `events`,
    /// `latency` or `cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
}

/// The judge's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct JudgementAnswer {
    /// `pass`, `insufficient`, `suspect` or `fail`.
    pub verdict: String,
    /// That the release is worse, as odds to one.
    pub evidence: u64,
    /// A rollback needs so much.
    pub limit: u64,
    /// All of it in one sentence.
    pub words: String,
    /// Its grounds, the heaviest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingAnswer>,
    /// The release that it is compared with fails itself.
    pub baseline_unhealthy: bool,
    /// There was nothing to compare it with at the same time.
    pub without_control: bool,
    /// Requests that the release was given.
    pub exposed: u64,
    /// How many of them ended in an error.
    pub harmed: u64,
}

/// One thing that a verdict rests on.
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
    /// As odds to one.
    pub evidence: u64,
}

/// An event that the application tells (`[[analysis.event]]`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventAnswer {
    /// Its name.
    pub event: String,
    /// The bad direction: `more` or `fewer`.
    pub bad: String,
    /// So much more or less of it for each request is tolerated, in percent.
    pub tolerate: f64,
    /// The release that it is compared with.
    pub stable: ToldAnswer,
    /// The release that is watched.
    pub candidate: ToldAnswer,
    /// That the release is worse, as odds to one.
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
    /// Requests that are over.
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
    /// That it is worse here, as odds to one.
    pub evidence: Vec<ClassAnswer>,
}

/// Counts of one side of a route.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SideAnswer {
    /// Requests that it was given.
    pub assigned: u64,
    /// Requests that are over.
    pub completed: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Requests that were answered 4xx.
    pub client_errors: u64,
    /// Those whose client left before the answer.
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
    /// Nine of ten.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
}

/// Evidence of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClassAnswer {
    /// `error`, `slow_p50`, `slow_p90`, `slow_p99`, `client_error` or `abort`.
    pub class: String,
    /// As odds to one.
    pub odds: f64,
}
