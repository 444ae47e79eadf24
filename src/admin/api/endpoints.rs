//! Endpoints and their names in the status.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One endpoint in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EndpointAnswer {
    /// Its upstream.
    pub upstream: String,
    /// As the configuration writes it; of a name with the address in brackets: `app-green:3000 (10.0.0.3)`.
    pub endpoint: String,
    /// The name no longer resolves to this address, which serves until another address of the name is up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The last probe in a few words.
    pub detail: String,
    /// The endpoint is not up yet and has begun to pass its checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting: Option<Starting>,
    /// Its begin, RFC 3339.
    pub since: String,
    /// Time until the end of its ejection, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_for_ms: Option<u64>,
    /// An endpoint of a serving color answers as another release than its label (`health.release_header`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_as: Option<AnswersAs>,
}

/// An endpoint that comes up.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Starting {
    /// Checks in a row that passed.
    pub passed: u32,
    /// As many bring it up: `health.rise`.
    pub of: u32,
}

/// A release that is not the label.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct AnswersAs {
    /// Findings in the last answers.
    pub release: String,
    /// The begin, RFC 3339.
    pub since: String,
}

/// A name of endpoints in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NameAnswer {
    /// As the configuration writes it.
    pub name: String,
    /// The addresses in use: those of the last answer that had any.
    pub addresses: Vec<String>,
    /// Why the last look-up brought no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its begin, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
