//! `[linger]`: files of the other color's release after a switch.

use std::time::Duration;

/// `[linger]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LingerConfig {
    /// Path prefixes; each begins with `/`, none is there twice. Empty: off.
    pub paths: Vec<String>,
    /// For so long after the other color stopped serving.
    pub lasts: Duration,
    /// Second requests are at most this share of the requests below `paths`, 1 to 100.
    pub budget_percent: u8,
}
