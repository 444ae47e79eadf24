//! Slow start: an endpoint that was away gets less than its share at first, and a little more with each moment, so that
//! it can fill its caches and connections before it gets all of it.
//!
//! It was away if it was down or ejected. At the start of the process, or where nothing was known of it, nothing says
//! that it is cold, and where all begin at once there is nobody to take what it would not get.

use std::sync::atomic::Ordering;

use crate::proxy::pool::Pool;

/// The weight of a full share.
pub(super) const FULL: u64 = 1 << 10;
/// The weight at the beginning: a tenth.
const FIRST: u64 = FULL / 10;

impl Pool {
    /// The part of a full share that an endpoint gets now, as so many of [`FULL`].
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
