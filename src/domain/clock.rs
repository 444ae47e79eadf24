//! The two clocks, passed in together and never mixed: `mono` for deadlines and durations, `wall` for records.

use std::time::{Instant, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub mono: Instant,
    /// The clock of records. It may jump.
    pub wall: SystemTime,
}
