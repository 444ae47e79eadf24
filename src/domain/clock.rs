//! The two clocks, handed in together and never mixed: `mono` for deadlines and durations, `wall` for records.

use std::time::{Instant, SystemTime};

/// The moment at which an event is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never goes back: for deadlines and durations.
    pub mono: Instant,
    /// What people read: for records. May jump.
    pub wall: SystemTime,
}
