//! Time as one number that fits into an atomic, and time limits that a paused process does not miss.

use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A timer that fires this much too late was not looked at: the process was paused (`SIGSTOP`, a suspended machine) or
/// starved.
pub(crate) const PAUSED: Duration = Duration::from_millis(100);
/// Then sockets are looked at for this long before any deadline counts.
pub(crate) const CATCH_UP: Duration = Duration::from_millis(20);

/// Milliseconds since about the beginning of the process, never 0: where a time is kept, 0 says that there is none.
pub fn millis(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*BEGAN);
    passed.as_secs() * 1000 + u64::from(passed.subsec_millis()) + 1
}

/// Nanoseconds since about the beginning of the process, never 0.
pub(crate) fn nanos(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*BEGAN);
    // Enough for 584 years.
    u64::try_from(passed.as_nanos()).map_or(u64::MAX, |passed| passed.saturating_add(1))
}

/// The output of `work`, or `None` if it takes longer than `limit`. After a pause of the process, what its sockets have
/// received meanwhile counts as received in time.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let deadline = Instant::now() + limit;
    if let Ok(done) = tokio::time::timeout_at(deadline.into(), &mut work).await {
        return Some(done);
    }
    if Instant::now() < deadline + PAUSED {
        return None;
    }
    tokio::time::timeout(CATCH_UP, work).await.ok()
}
