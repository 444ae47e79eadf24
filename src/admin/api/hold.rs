//! Holds and maintenance, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /admin/pause`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldBody {
    /// For how long at most, 1s to 1day; absent: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// In place of another operator's pause, or of one for another reason; without it that is `409 in_progress`.
    #[serde(default)]
    pub replace: bool,
    /// The reason, kept in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The outcome of a pause, of its end, or of turning maintenance on or off.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HoldAnswer {
    /// False: this was in force already, and nothing changed.
    pub changed: bool,
    /// The color that serves.
    pub active: String,
    /// The generation in force.
    pub generation: u64,
    /// The decision in force is on disk.
    pub durable: bool,
    /// Every request gets the maintenance answer.
    pub maintenance: bool,
    /// Requests are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldStatus>,
    /// The replaced pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<PauseAnswer>,
}

/// A pause that was replaced.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PauseAnswer {
    /// The actor who asked for it.
    pub actor: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The begin, RFC 3339.
    pub since: String,
}

/// Requests are held.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HoldStatus {
    /// For a move without overlap; else by hand.
    pub for_move: bool,
    /// The begin, RFC 3339.
    pub since: String,
    /// Time until its automatic end, in milliseconds.
    pub ends_in_ms: u64,
    /// Held requests.
    pub requests: u64,
    /// Their memory, in bytes.
    pub bytes: u64,
    /// The actor who asked for it.
    pub actor: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The operator who turned maintenance on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct MaintenanceBy {
    /// The begin, RFC 3339.
    pub since: String,
    /// The actor.
    pub by: String,
    /// The reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
