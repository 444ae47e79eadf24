//! Pauses between attempts, and the breaker of a sink. Time and chance are arguments.

use std::time::{Duration, Instant};

/// The age at which a notice is dropped.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// The jitter of a pause: a fifth.
const JITTER: f64 = 0.2;
/// Consecutive failures that open the breaker.
const FAILURES: u32 = 3;
/// The pauses of an open breaker: the first one, and the limit of its doubling.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// The longest `Retry-After` that is obeyed.
pub(super) const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The pause after failed attempt `attempts`, counted from 1. The last pause of `plan` repeats.
#[must_use]
pub(crate) fn pause(plan: &[Duration], attempts: u32, chance: f64) -> Duration {
    let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let planned = plan.get(step).or(plan.last()).copied().unwrap_or(PAUSES.1);
    jittered(planned, chance)
}

/// `chance` goes from 0 to 1.
fn jittered(planned: Duration, chance: f64) -> Duration {
    planned.mul_f64(1.0 - JITTER + 2.0 * JITTER * chance.clamp(0.0, 1.0))
}

/// The breaker protects a dead receiver from attempts for every pending notice, and finds out soon that it is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

impl Breaker {
    #[must_use]
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            let doublings = (self.failures - FAILURES).min(16);
            let planned = PAUSES.0.saturating_mul(1 << doublings).min(PAUSES.1);
            self.wait(now, jittered(planned, chance));
        }
    }

    /// The receiver sent `Retry-After`.
    pub(crate) fn throttled(&mut self, now: Instant, patience: Duration) {
        self.wait(now, patience.min(PATIENCE));
    }

    fn wait(&mut self, now: Instant, pause: Duration) {
        let until = now + pause;
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests;
