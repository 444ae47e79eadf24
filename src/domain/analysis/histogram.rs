//! Latencies in exponential buckets: eight per doubling, so each is 6 to 13 % wide.
//!
//! The request path counts in atomics of the same layout ([`BUCKETS`], [`bucket`]), which [`Histogram::from_counts`]
//! reads.

use std::time::Duration;

use super::policy::Policy;

const PER_DOUBLING: usize = 8;
/// The last bucket holds everything from 2^31 µs (36 minutes).
const DOUBLINGS: usize = 28;

pub(crate) const BUCKETS: usize = PER_DOUBLING * (1 + DOUBLINGS);

#[must_use]
pub(crate) const fn bucket(micros: u64) -> usize {
    if micros < PER_DOUBLING as u64 {
        return micros as usize;
    }
    let above = micros.ilog2() - PER_DOUBLING.ilog2();
    // The leading digit and the three after it: 8 to 15.
    let digits = (micros >> above) as usize;
    let bucket = above as usize * PER_DOUBLING + digits;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The longest latency of a bucket, in microseconds.
#[must_use]
pub(crate) const fn upper(bucket: usize) -> u64 {
    if bucket + 1 >= BUCKETS {
        return u64::MAX;
    }
    let next = bucket + 1;
    if next < PER_DOUBLING {
        return bucket as u64;
    }
    let above = next / PER_DOUBLING - 1;
    (((next - above * PER_DOUBLING) as u64) << above) - 1
}

pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// In microseconds, in the order of [`QUANTILES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles(pub [u64; 3]);

impl Quantiles {
    /// `place`: index into [`QUANTILES`].
    #[must_use]
    pub fn latency(&self, place: usize) -> Option<Duration> {
        self.0.get(place).map(|micros| Duration::from_micros(*micros))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS] }
    }
}

impl Histogram {
    #[must_use]
    pub fn from_counts(counts: [u64; BUCKETS]) -> Histogram {
        Histogram { counts }
    }

    #[cfg(any(test, feature = "internals"))]
    pub fn record(&mut self, micros: u64) {
        let count = &mut self.counts[bucket(micros)];
        *count = count.saturating_add(1);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
    }

    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut counts = self.counts;
        for (mine, theirs) in counts.iter_mut().zip(earlier.counts) {
            *mine = mine.saturating_sub(theirs);
        }
        Histogram { counts }
    }

    /// In microseconds, rounded up to the end of its bucket; `None`: empty.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0_u64;
        let found = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.map(upper)
    }

    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let [p50, p90, p99] = QUANTILES.map(|share| self.quantile(share));
        Some(Quantiles([p50?, p90?, p99?]))
    }
}

/// Latencies above which a request on a route is slow, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// The stable release's own quantiles.
    pub stable: [u64; 3],
    /// The same with the margin: the test is "more than half as slow again", not "different".
    pub candidate: [u64; 3],
}

impl Thresholds {
    /// From the stable release's latencies before a step; `None`: too few.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a latency"
    )]
    pub fn freeze(stable: &Histogram, policy: &Policy) -> Option<Thresholds> {
        if stable.count() < policy.latency_samples {
            return None;
        }
        let Quantiles(stable) = stable.quantiles()?;
        let least = u64::try_from(policy.latency_min_delta.as_micros()).unwrap_or(u64::MAX);
        let candidate = stable.map(|micros| {
            let margin = (micros as f64 * policy.latency_margin) as u64;
            margin.max(micros.saturating_add(least))
        });
        Some(Thresholds { stable, candidate })
    }
}
