//! Freezes, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::api::MovingAnswer;

/// `POST /admin/freeze`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeBody {
    /// The reason, which every refusal names.
    #[serde(default)]
    pub reason: String,
    /// The time of its automatic end, RFC 3339; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// In place of a freeze that is in force; without it that is `409 already_frozen`.
    #[serde(default)]
    pub replace: bool,
}

/// `DELETE /admin/freeze`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnfreezeBody {
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Its outcome.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FrozenAnswer {
    /// False: it was so already.
    pub changed: bool,
    /// It is on disk.
    pub durable: bool,
    /// The freeze in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeAnswer>,
    /// The replaced freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<FreezeAnswer>,
    /// The move that it cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<MovingAnswer>,
}

/// A freeze: nothing but a rollback moves traffic.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FreezeAnswer {
    /// The actor.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// The begin, RFC 3339.
    pub since: String,
    /// The time of its automatic end, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
