//! Time as a number that fits into an atomic, and time limits that allow for a paused process.

use std::pin::pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A timer that fires this much too late means that the process was paused (`SIGSTOP`, a suspended machine) or starved.
pub(crate) const PAUSED: Duration = Duration::from_millis(100);
/// Sockets are read for this long after a pause, before any deadline counts.
pub(crate) const CATCH_UP: Duration = Duration::from_millis(20);

/// Milliseconds since about the start of the process; never 0, which stands for "no time".
pub fn millis(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*BEGAN);
    passed.as_secs() * 1000 + u64::from(passed.subsec_millis()) + 1
}

pub(crate) fn nanos(now: Instant) -> u64 {
    let passed = now.saturating_duration_since(*BEGAN);
    u64::try_from(passed.as_nanos()).map_or(u64::MAX, |passed| passed.saturating_add(1))
}

/// `None` if `work` takes longer than `limit`. Bytes that its sockets received during a pause of the process count as
/// in time.
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
