//! Wire types of the gate's health rounds and checks, and of lingering files.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An endpoint's answer to the gate.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GateAnswer {
    /// Its upstream.
    pub upstream: String,
    /// As the configuration writes it.
    pub endpoint: String,
    /// It passed.
    pub passed: bool,
    /// The answer in a few words.
    pub detail: String,
    /// The time, RFC 3339.
    pub at: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// The finding of a check of the gate (`[[gate.check]]`).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CheckAnswer {
    /// Its name.
    pub check: String,
    /// The upstream whose endpoints were asked.
    pub upstream: String,
    /// It passed at every endpoint.
    pub passed: bool,
    /// How many endpoints were asked.
    pub endpoints: u32,
    /// At how many of them it failed.
    pub failed: u32,
    /// The first failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<CheckFailureAnswer>,
    /// When the last response came, RFC 3339.
    pub at: String,
    /// How long the slowest endpoint took, in microseconds.
    pub took_us: u64,
}

/// A check that failed at an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CheckFailureAnswer {
    /// The endpoint as the configuration writes it.
    pub endpoint: String,
    /// The actual value, cut and escaped.
    pub found: String,
    /// The expected value.
    pub wanted: String,
}

/// Results of the gate checks in the last gate of the release that is deployed there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ChecksAnswer {
    /// On which color.
    pub color: String,
    /// The release.
    pub release: String,
    /// All of them passed.
    pub passed: bool,
    /// Each of them.
    pub checks: Vec<CheckAnswer>,
}

/// A color that does not serve and is asked for old files (`[linger]`).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LingerAnswer {
    /// The color.
    pub color: String,
    /// Its release.
    pub release: String,
    /// The paths of the files.
    pub paths: Vec<String>,
    /// The time of its automatic end, RFC 3339.
    pub until: String,
    /// Its endpoints that are up; 0: it gets no second requests.
    pub up: u64,
}
