//! When a notice is tried again, and when a sink is left alone for a while. Time and chance are handed in.

use std::time::{Duration, Instant};

/// A notice older than this is no news any more.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// So far from the plan, at most, so that proxies do not all come at once: a fifth.
const JITTER: f64 = 0.2;
/// So many failures in a row open the breaker.
const FAILURES: u32 = 3;
/// An open breaker lets one attempt through, first after this, then twice as long each time, up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A receiver that asks for more patience than this gets no more.
pub(super) const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The pause after an attempt that failed, the first being 1. After the last of `plan` it stays at the last.
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

/// Whether a sink is asked at all. It keeps a dead sink from being hammered, however many notices wait for it; and a
/// notice that waits does not wait for hours when the sink is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    failures: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// Before this, nothing is sent.
    #[must_use]
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// It is open: the sink has failed too often in a row.
    #[must_use]
    pub(crate) fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }

    /// An attempt went through.
    pub(crate) fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            let doublings = (self.failures - FAILURES).min(16);
            let planned = PAUSES.0.saturating_mul(1 << doublings).min(PAUSES.1);
            self.wait(now, jittered(planned, chance));
        }
    }

    /// The receiver asked for patience.
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
