//! Time as one number that fits into an atomic.

use std::sync::LazyLock;
use std::time::Instant;

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since about the beginning of the process, never 0: where a time is kept, 0 says that there is none.
pub fn millis(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*BEGAN);
    passed.as_secs() * 1000 + u64::from(passed.subsec_millis()) + 1
}
