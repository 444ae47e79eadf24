//! The clock of a trial.

use std::time::{Duration, Instant};

/// The time for which a release has had a request. It stands still while the proxy waits for the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopwatch {
    pub(super) running_since: Option<Instant>,
    pub(super) before: Duration,
}

impl Stopwatch {
    pub(super) fn started(now: Instant) -> Stopwatch {
        Stopwatch { running_since: Some(now), before: Duration::ZERO }
    }

    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.before + self.running_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub(super) fn stop(&mut self, now: Instant) {
        *self = Stopwatch { running_since: None, before: self.elapsed(now) };
    }

    pub(super) fn resume(&mut self, now: Instant) {
        self.running_since.get_or_insert(now);
    }
}
