//! A bounded rate for messages of the process log that outsiders can cause.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug)]
pub(crate) struct LogRate {
    most: u32,
    period: Duration,
    /// End of the present period in milliseconds; 0: none yet.
    until: AtomicU64,
    said: AtomicU32,
    suppressed: AtomicU64,
}

impl LogRate {
    #[must_use]
    pub(crate) const fn new(most: u32, period: Duration) -> LogRate {
        LogRate { most, period, until: AtomicU64::new(0), said: AtomicU32::new(0), suppressed: AtomicU64::new(0) }
    }

    /// `Some`: a message may be written, with this number of suppressed ones.
    pub(crate) fn allow(&self, now: Instant) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now.saturating_duration_since(*BEGAN));
        let until = self.until.load(Relaxed);
        let begins =
            now >= until && self.until.compare_exchange(until, now + millis(self.period), Relaxed, Relaxed).is_ok();
        if begins {
            self.said.store(1, Relaxed);
        } else if self.said.fetch_update(Relaxed, Relaxed, |said| (said < self.most).then_some(said + 1)).is_err() {
            self.suppressed.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Relaxed))
    }

    /// `message` gets the number of suppressed ones.
    pub(crate) fn say(&self, message: impl FnOnce(u64)) {
        if let Some(suppressed) = self.allow(Instant::now()) {
            message(suppressed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_cut_and_counted() {
        let (period, began) = (Duration::from_secs(10), *BEGAN);
        for most in [1, 10] {
            let rate = LogRate::new(most, period);
            let allowed = (0..100).filter(|_| rate.allow(began).is_some()).count();
            assert_eq!(allowed, most as usize);
            assert_eq!(rate.allow(began + period / 2), None, "the period goes on");
            let missing = 101 - u64::from(most);
            assert_eq!(rate.allow(began + period), Some(missing), "the next message says how many are missing");
            assert_eq!(rate.allow(began + 3 * period), Some(0));
        }
    }
}
