//! Whether a snapshot admits requests.

use std::sync::Arc;
use std::time::Instant;

use crate::config::HoldConfig;
use crate::proxy::notice::Notice;

/// What a snapshot does with requests that it has no admission for.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// There is an admission for every one.
    Open,
    /// They wait.
    Held {
        /// When the hold ends by itself.
        until: Instant,
        /// The bounds.
        limits: HoldConfig,
    },
    /// They are answered with this.
    Maintenance(Arc<Notice>),
}
