//! Requests, errors and latency of each color by second, for the last 15 minutes.
//!
//! The page draws it, so that an incident's begin is visible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::domain::color::{Color, PerColor};
use crate::telemetry::meter::{Bounds, MOST_BOUNDS, Reading};

/// 15 minutes.
const KEPT: usize = 900;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub at: SystemTime,
    pub colors: PerColor<Numbers>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Numbers {
    pub requests: f64,
    pub errors: f64,
    /// Interpolated within its bucket; `None` without requests.
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    requests: u64,
    errors: u64,
    bounds: Bounds,
    buckets: [u64; MOST_BOUNDS + 1],
}

#[derive(Debug, Default)]
pub(super) struct Timeline {
    before: Option<(Instant, PerColor<Totals>)>,
    points: VecDeque<Point>,
}

impl Timeline {
    /// Called once a second; returns a point from the second call on.
    pub(super) fn sample(
        &mut self,
        now: Instant,
        at: SystemTime,
        readings: &[(Color, Arc<str>, Reading)],
    ) -> Option<Point> {
        let totals = PerColor::from_fn(|color| total(color, readings));
        let (since, before) = self.before.replace((now, totals.clone()))?;
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let colors = PerColor::from_fn(|color| numbers(&before[color], &totals[color], seconds));
        let point = Point { at, colors };
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
        Some(point)
    }

    pub(super) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }
}

fn total(color: Color, readings: &[(Color, Arc<str>, Reading)]) -> Totals {
    let mut total = Totals::default();
    for (_, _, reading) in readings.iter().filter(|(of, _, _)| *of == color) {
        total.requests += reading.requests();
        total.errors += reading.codes[5];
        total.bounds = Arc::clone(&reading.bounds);
        total.buckets.iter_mut().zip(reading.buckets).for_each(|(sum, count)| *sum += count);
    }
    total
}

fn numbers(before: &Totals, after: &Totals, seconds: f64) -> Numbers {
    let mut buckets = after.buckets;
    buckets.iter_mut().zip(before.buckets).for_each(|(count, before)| *count = count.saturating_sub(before));
    Numbers {
        requests: after.requests.saturating_sub(before.requests) as f64 / seconds,
        errors: after.errors.saturating_sub(before.errors) as f64 / seconds,
        p50: quantile(&after.bounds, &buckets, 0.5),
        p99: quantile(&after.bounds, &buckets, 0.99),
    }
}

/// As Prometheus' `histogram_quantile`: linear within a bucket, and the last bound beyond it.
fn quantile(bounds: &[u64], buckets: &[u64], quantile: f64) -> Option<Duration> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = quantile * all as f64;
    let (mut below, mut lower) = (0, 0);
    for (count, upper) in buckets.iter().zip(bounds.iter().copied()) {
        if (below + count) as f64 >= rank {
            let part = (rank - below as f64) / *count as f64;
            return Some(Duration::from_secs_f64((lower as f64 + (upper - lower) as f64 * part) / 1e6));
        }
        below += count;
        lower = upper;
    }
    Some(Duration::from_micros(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ok: u64, failed: u64, bucket: usize) -> Vec<(Color, Arc<str>, Reading)> {
        let mut reading = Reading { bounds: Arc::from([500, 1_000, 2_500]), ..Reading::default() };
        reading.codes[2] = ok;
        reading.codes[5] = failed;
        reading.buckets[bucket] = ok + failed;
        vec![(Color::Blue, Arc::from("default"), reading)]
    }

    #[test]
    fn a_point_has_what_happened_since_the_one_before() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        assert!(timeline.sample(start, SystemTime::UNIX_EPOCH, &reading(10, 0, 2)).is_none());
        let later = start + Duration::from_secs(2);
        let point = timeline.sample(later, SystemTime::UNIX_EPOCH, &reading(110, 4, 2)).expect("a point");
        assert_eq!((point.colors[Color::Blue].requests, point.colors[Color::Blue].errors), (52.0, 2.0));
        // Bucket 2 reaches from 1 to 2.5 ms.
        assert_eq!(point.colors[Color::Blue].p50, Some(Duration::from_micros(1_750)));
        assert_eq!(point.colors[Color::Green], Numbers::default());
    }

    #[test]
    fn a_quantile_beyond_the_last_bucket_is_its_bound() {
        let bounds = [500, 60_000_000];
        assert_eq!(quantile(&bounds, &[0, 0, 3], 0.5), Some(Duration::from_secs(60)));
        assert_eq!(quantile(&bounds, &[0; 3], 0.5), None);
    }

    #[test]
    fn only_a_quarter_of_an_hour_is_kept() {
        let (mut timeline, mut now) = (Timeline::default(), Instant::now());
        for _ in 0..KEPT + 10 {
            now += Duration::from_secs(1);
            timeline.sample(now, SystemTime::UNIX_EPOCH, &[]);
        }
        assert_eq!(timeline.points().len(), KEPT);
    }
}
