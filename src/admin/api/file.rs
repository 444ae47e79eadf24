//! The configuration file in answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::api::Problem;

/// The configuration file in the status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FileAnswer {
    /// Its path.
    pub path: String,
    /// The color it names.
    pub active: String,
    /// An edit of `active` is an order (`state.file_orders`).
    #[serde(default = "yes")]
    pub orders: bool,
    /// The file names another color than the live one, as an order.
    pub disagrees: bool,
    /// The outcome of its last order: `done`, `pending` or `refused`.
    pub order: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Problem>,
    /// The reason why the write-back failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_back_error: Option<String>,
    /// Its errors, in full; the last valid file is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn yes() -> bool {
    true
}

/// `POST /admin/reload`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ReloadAnswer {
    /// False: the file is as it was.
    pub changed: bool,
    /// The outcome of its order: `done`, `pending` or `refused`.
    #[serde(default)]
    pub order: String,
    /// Why its order was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Problem>,
}

/// One problem of the configuration file.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ConfigProblem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The reason.
    pub message: String,
    /// The repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
