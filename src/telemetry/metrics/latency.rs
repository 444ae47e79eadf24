//! Latencies: as clients saw them, as endpoints answered, and by judged route.

use crate::domain::analysis::{BUCKETS, bucket};
use crate::telemetry::exposition::Page;
use crate::telemetry::metrics::Facts;

/// Bounds of a route's histogram: powers of two from 0.5 ms to 34 s, where its own buckets end exactly.
const POWERS: std::ops::RangeInclusive<u32> = 9..=25;

pub(super) fn render(page: &mut Page, facts: &Facts) {
    let seconds = |bounds: &[u64]| bounds.iter().map(|micros| *micros as f64 / 1e6).collect::<Vec<_>>();
    let mut exemplars = facts.exemplars.iter();
    let mut duration = page.histogram(
        "cutover_http_request_duration_seconds",
        "Seconds from the parsed request head to the last byte of the answer.",
    );
    for (color, upstream, reading) in &facts.readings {
        let labels = [("color", color.as_str()), ("upstream", &**upstream)];
        let of_series = exemplars.next().map_or(&[][..], Vec::as_slice);
        let (bounds, sum) = (seconds(&reading.bounds), reading.sum_micros as f64 / 1e6);
        duration.exemplified(&labels, &bounds, &reading.buckets, sum, of_series);
    }
    let mut answered = page
        .histogram("cutover_upstream_response_seconds", "Seconds from the sent request to the head of the response.");
    for (color, upstream, reading) in &facts.readings {
        let labels = [("color", color.as_str()), ("upstream", &**upstream)];
        let (bounds, sum) = (seconds(&reading.bounds), reading.upstream_micros as f64 / 1e6);
        answered.buckets(&labels, &bounds, &reading.upstream_buckets, sum);
    }
    let bounds: Vec<f64> = POWERS.map(|power| (1_u64 << power) as f64 / 1e6).collect();
    let help = "Latency of answers that did not fail, by route; the sum is exact to 7 %.";
    let mut routes = page.histogram("cutover_route_latency_seconds", help);
    for (color, route, counts) in &facts.routes {
        let labels = [("color", color.as_str()), ("route", &**route)];
        routes.buckets(&labels, &bounds, &by_power(counts), sum(counts));
    }
}

/// Not cumulative; the last count is the rest.
fn by_power(counts: &[u64; BUCKETS]) -> Vec<u64> {
    let mut all = Vec::new();
    let mut from = 0;
    for power in POWERS {
        let to = bucket(1 << power);
        all.push(counts[from..to].iter().sum());
        from = to;
    }
    all.push(counts[from..].iter().sum());
    all
}

/// In seconds, by the middle of each bucket.
fn sum(counts: &[u64; BUCKETS]) -> f64 {
    // Eight buckets per doubling, as in `bucket`.
    let middle = |place: usize| {
        let above = (place / 8).saturating_sub(1);
        let digits = place - above * 8;
        (digits as f64 + 0.5) * 2_f64.powi(i32::try_from(above).unwrap_or(0)) / 1e6
    };
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(place, count)| middle(place) * *count as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_below_the_bound_that_says_so() {
        for (micros, bound) in [(0, 0), (511, 0), (512, 1), (1_023, 1), (1_024, 2), (u64::MAX, POWERS.count())] {
            let mut counts = [0; BUCKETS];
            counts[bucket(micros)] = 1;
            let found = by_power(&counts);
            assert_eq!(found.iter().position(|count| *count == 1), Some(bound), "{micros}");
            assert_eq!(found.iter().sum::<u64>(), 1);
        }
    }

    #[test]
    fn the_sum_is_near_the_truth() {
        let mut counts = [0; BUCKETS];
        for micros in (1_000..2_000_000).step_by(1_237) {
            counts[bucket(micros)] += 1;
        }
        let truth: u64 = (1_000..2_000_000).step_by(1_237).sum();
        assert!((sum(&counts) / (truth as f64 / 1e6) - 1.0).abs() < 0.07);
    }
}
