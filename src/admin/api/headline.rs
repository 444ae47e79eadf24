//! The headline of the status.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The headline: all is well, or the worst finding and the command to type next.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeadlineAnswer {
    /// The worst condition.
    #[serde(flatten)]
    pub worst: ConditionAnswer,
    /// All others, the worst first.
    #[serde(default)]
    #[schema(required = false)]
    pub others: Vec<ConditionAnswer>,
}

/// One condition of the proxy.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct ConditionAnswer {
    /// `ok`, `note` (a state that somebody chose), `warning` or `outage`.
    pub level: String,
    /// Stable, for programs: `ok`, `live_color_down`, `endpoints_down`, `not_durable`, `frozen` and others.
    pub code: String,
    /// The event, and the state now.
    pub sentence: String,
    /// The purpose of the command, such as "To recover".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// A command line that can be pasted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl HeadlineAnswer {
    /// Neither a warning nor an outage.
    #[must_use]
    pub(crate) fn is_ok(&self) -> bool {
        !matches!(self.worst.level.as_str(), "warning" | "outage")
    }
}
