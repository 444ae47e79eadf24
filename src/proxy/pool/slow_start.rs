//! Slow start: an endpoint that was down or ejected gets a growing part of its share, so that it can fill its caches
//! and connections.
//!
//! Not at the start of the process: nothing says that an endpoint is cold then, and no other could take the rest.

use std::sync::atomic::Ordering;

use crate::proxy::pool::Pool;

pub(super) const FULL: u64 = 1 << 10;
const FIRST: u64 = FULL / 10;

impl Pool {
    /// The present part of a full share, in parts of [`FULL`].
    pub(super) fn weight(&self, index: usize, now: u64) -> u64 {
        if self.rules.slow_start.is_zero() {
            return FULL;
        }
        let endpoint = &self.endpoints[index];
        let back = endpoint.came_up.load(Ordering::Relaxed).max(endpoint.ejection.over_since(now));
        let whole = u64::try_from(self.rules.slow_start.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::MAX / FULL);
        let passed = now.saturating_sub(back);
        if back == 0 || passed >= whole { FULL } else { FIRST + (FULL - FIRST) * passed / whole }
    }
}

#[cfg(test)]
mod tests;
