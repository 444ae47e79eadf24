//! A message in the process log at a bounded rate.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a message was last said, and how often it was not.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    /// Milliseconds since the beginning; 0: not said yet.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Seldom {
    /// A message that is said once in this time.
    #[must_use]
    pub const fn every(every: Duration) -> Seldom {
        Seldom { every, next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// Says it now, with the number of times that it was not said since the last time; or not.
    pub fn say(&self, message: impl FnOnce(u64)) {
        let now = u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(unsaid) = self.due(now) {
            message(unsaid);
        }
    }

    fn due(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let after = now + u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX);
        if now < next || self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_said_once_in_its_time_and_the_others_are_counted() {
        let seldom = Seldom::every(Duration::from_secs(1));
        assert_eq!(seldom.due(0), Some(0));
        assert_eq!([seldom.due(1), seldom.due(999)], [None, None]);
        assert_eq!(seldom.due(1000), Some(2));
        assert_eq!(seldom.due(5000), Some(0));
    }
}
