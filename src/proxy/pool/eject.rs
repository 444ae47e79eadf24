//! Passive ejection: an endpoint that fails too often in a row is left out of the choice for a while.
//!
//! Failures are: no connection, a reset before the answer, an answer that is invalid or late, and 502, 503 and 504. As
//! in Envoy's outlier detection, each further ejection lasts longer, and an endpoint that serves well for as long as
//! its last ejection lasted takes one step back. Unlike a probe's result, an ejection is only a suspicion, so it never
//! takes more than half of a pool.
//!
//! Several workers report on one endpoint; the shared words here are written only at a failure.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::health::Health;
use crate::proxy::pool::{Eject, Pool};

/// The longest ejection, unless the first one is configured longer.
const MOST_MILLIS: u64 = 600_000;

#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// Failures since the last success; in the upper half, ejections in a row.
    streak: AtomicU64,
    /// The end of the last ejection; 0: none.
    until: AtomicU64,
    /// The start of the good period that the next step back needs; it may lie ahead.
    well_since: AtomicU64,
}

impl Pool {
    /// Reports a failure. Returns true if it ejects the endpoint. `draw`: a random number.
    pub fn failed(&self, index: usize, now: u64, draw: u64) -> bool {
        let (Some(eject), endpoint) = (&self.rules.eject, &self.endpoints[index]) else { return false };
        endpoint.ejection.failed(eject, now, draw, || {
            let (mut available, mut ejected) = (0, 0);
            for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.health() != Health::Down) {
                available += 1;
                ejected += usize::from(endpoint.ejection.in_force(now).is_some());
            }
            endpoint.health() != Health::Down && ejected < available / 2
        })
    }

    pub fn succeeded(&self, index: usize, now: u64) {
        if let Some(eject) = &self.rules.eject {
            self.endpoints[index].ejection.succeeded(eject, now);
        }
    }
}

impl Ejection {
    pub(super) fn in_force(&self, now: u64) -> Option<u64> {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until > now)
    }

    /// The end of a past ejection; 0: none.
    pub(super) fn over_since(&self, now: u64) -> u64 {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until <= now).unwrap_or(0)
    }

    fn failed(&self, eject: &Eject, now: u64, draw: u64, may_go: impl FnOnce() -> bool) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        // A failure during the ejection says nothing new.
        if until > now {
            return false;
        }
        let one_more = |streak: u64| (failures(streak) < u64::from(u32::MAX)).then(|| streak + 1);
        let before = self.streak.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let streak = before.map_or_else(|most| most, |before| before + 1);
        if failures(streak) < u64::from(eject.consecutive) || !may_go() {
            return false;
        }
        let before = times(streak);
        let length = length(eject, before + 1);
        // Up to a fifth shorter, so that endpoints that failed together do not come back together.
        let back = now + length - draw % (length / 5 + 1);
        // Only one of several workers that see the failure ejects.
        if self.until.compare_exchange(until, back, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        self.well_since.store(back, Ordering::Relaxed);
        // Steps without growth are not counted, so that the way back is no longer than the way there.
        let grew = before == 0 || length > self::length(eject, before);
        self.streak.store((before + u64::from(grew)) << 32, Ordering::Relaxed);
        true
    }

    fn succeeded(&self, eject: &Eject, now: u64) {
        let streak = self.streak.load(Ordering::Relaxed);
        if streak == 0 {
            return;
        }
        let times = times(streak);
        let since = self.well_since.load(Ordering::Relaxed);
        let step = times > 0
            && now >= since + length(eject, times)
            && self.well_since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        let next = (times - u64::from(step)) << 32;
        if next != streak {
            // If it fails, another failure has just happened, and that one may count.
            let _ = self.streak.compare_exchange(streak, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

fn failures(streak: u64) -> u64 {
    streak & 0xffff_ffff
}

fn times(streak: u64) -> u64 {
    streak >> 32
}

/// The length of the `times`-th ejection in a row, from 1.
fn length(eject: &Eject, times: u64) -> u64 {
    let base = u64::try_from(eject.base.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 48);
    let factor = 1u64 << (times - 1).min(32);
    base.saturating_mul(factor).min(base.max(MOST_MILLIS))
}

#[cfg(test)]
mod tests;
