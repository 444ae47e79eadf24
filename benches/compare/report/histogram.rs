//! Latencies in buckets that grow with the value: percentiles to 2 % without keeping every one of them.

use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u64 = 128;
const BUCKETS: usize = 4096;

/// Counts of durations.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS].into(), total: 0 }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The duration that a share of all did not exceed; zero when there is none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let rank = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank.max(1)
        });
        Duration::from_nanos(found.map_or(0, value))
    }
}

/// Values below `STEPS` have a bucket each; above, the leading bits choose it.
fn bucket(nanos: u64) -> usize {
    let shift = (nanos | (STEPS - 1)).ilog2() + 1 - STEPS.ilog2();
    (u64::from(shift) * STEPS / 2 + (nanos >> shift)) as usize
}

/// The smallest value in a bucket.
fn value(bucket: usize) -> u64 {
    let (bucket, half) = (bucket as u64, STEPS / 2);
    if bucket < STEPS { bucket } else { (bucket % half + half) << (bucket / half - 1) }
}
