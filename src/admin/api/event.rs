//! Wire types of small events; other events carry answers of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Requests are held, or released.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HeldEvent {
    /// They are held.
    pub held: bool,
}

/// The health of an endpoint changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct HealthEvent {
    /// The color it is about.
    pub color: String,
    /// The upstream.
    pub upstream: String,
    /// As the configuration writes it.
    pub endpoint: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The last probe in a few words.
    pub detail: String,
}

/// The configuration file was read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReloadedEvent {
    /// Its errors; null: the file is valid and in force.
    pub error: Option<String>,
}

/// The client read too slowly.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct LaggedEvent {
    /// Events that it did not get.
    pub missed: u64,
}
