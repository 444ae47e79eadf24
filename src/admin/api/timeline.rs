//! The last quarter of an hour, second by second, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /admin/timeline`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TimelineAnswer {
    /// One for each second, oldest first; 900 at most.
    pub points: Vec<PointAnswer>,
}

/// One second of both colors; also the data of the event `numbers`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PointAnswer {
    /// When the second ended, RFC 3339.
    pub at: String,
    /// Blue.
    pub blue: NumbersAnswer,
    /// Green.
    pub green: NumbersAnswer,
}

/// One second of a color.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NumbersAnswer {
    /// Requests that ended, a second.
    pub requests: f64,
    /// Requests that were answered 5xx, a second.
    pub errors: f64,
    /// The median of their durations in milliseconds, from the head of the request to the last byte of the answer;
    /// absent: no request ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// The 99th percentile, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// `GET /admin/whoami`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WhoAnswer {
    /// The name under which the history keeps what this client does.
    pub actor: String,
    /// `viewer` may read; `operator` may move traffic.
    pub role: String,
}
