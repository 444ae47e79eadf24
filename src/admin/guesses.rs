//! Wrong tokens: each is logged, at a bounded rate, and many delay their answers. A correct token is never delayed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::log_rate::LogRate;

/// Wrong tokens without a delay; one is forgotten each second.
const FREE: f64 = 10.0;
/// Delay per further wrong token, up to [`LONGEST`].
const STEP: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Option<(f64, Instant)>>);

impl Guesses {
    /// Returns the delay of the answer.
    pub(super) fn note(&self, peer: &str, path: &str) -> Duration {
        static TOLD: LogRate = LogRate::new(1, Duration::from_secs(1));
        let path: String = path.chars().take(100).collect();
        TOLD.say(|suppressed| tracing::warn!(peer, path, suppressed, "Wrong token for the admin API"));
        self.delay(Instant::now())
    }

    fn delay(&self, now: Instant) -> Duration {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            recent.map_or(0.0, |(count, at)| (count - now.saturating_duration_since(at).as_secs_f64()).max(0.0));
        // A larger count would only prolong the longest delay.
        let count = (before + 1.0).min(FREE + 60.0);
        *recent = Some((count, now));
        STEP.mul_f64((count - FREE).max(0.0)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wrong_tokens_wait_longer_and_never_beyond_a_bound() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let delays: Vec<Duration> = (0..200).map(|_| guesses.delay(now)).collect();
        assert!(delays[..10].iter().all(Duration::is_zero), "{delays:?}");
        assert!(delays[10] > Duration::ZERO && delays.is_sorted());
        assert_eq!(delays[199], LONGEST);
        assert_eq!(guesses.delay(now + Duration::from_secs(75)), Duration::ZERO, "forgotten");
    }
}
