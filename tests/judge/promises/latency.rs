//! Latency as exceedance of three thresholds: T7 to T9.

use crate::domain::analysis::evidence::{Ratio, ln_add};

use super::{Row, row};
use crate::random::{quantile, runs, share};

/// Thresholds at the median, nine of ten, and 99 of 100 of a normal distribution, and the share of those beyond the one before
/// that are beyond it, too.
const THRESHOLDS: [(f64, f64); 3] = [(0.0, 0.5), (1.281_551_565_544_6, 0.2), (2.326_347_874_040_84, 0.1)];

/// How many requests to the candidate on a route until 1000:1, and the greatest evidence on the way. Latencies are lognormal.
fn run(times: f64, sigma: f64, most: u64, count: usize, seed: u64) -> Vec<(Option<u64>, f64)> {
    runs(count, seed, |random| {
        let mut tests: [Ratio; 3] = std::array::from_fn(|_| Ratio::slower(1.0));
        let mut greatest = 0.0_f64;
        for request in 1..=most {
            let latency = random.normal() + (times / 1.5).ln() / sigma;
            let mut stable = random.poisson(19.0);
            for (test, (threshold, beyond)) in tests.iter_mut().zip(THRESHOLDS) {
                stable = random.binomial(stable, beyond);
                test.observe(0.05 / 0.95, u64::from(latency > threshold), stable);
            }
            let sum = tests.iter().fold(f64::NEG_INFINITY, |sum, test| ln_add(sum, test.ln_evidence(0.0)));
            greatest = greatest.max(sum - 3_f64.ln());
            if greatest >= 1000_f64.ln() {
                return (Some(request), greatest);
            }
        }
        (None, greatest)
    })
}

fn median(times: f64, sigma: f64, seed: u64) -> u64 {
    let delays: Vec<_> = run(times, sigma, 3_000, 1_000, seed).into_iter().map(|(delay, _)| delay).collect();
    quantile(&delays, 0.5)
}

pub fn t7() -> Row {
    let [narrow, usual, wide] = [(0.4, 21), (0.6, 22), (1.0, 23)].map(|(sigma, seed)| median(3.0, sigma, seed));
    row(
        "T7",
        "3 times slower, sigma .4/.6/1: requests to the candidate on the route",
        "median <= 20/40/120",
        format!("{narrow} {usual} {wide}"),
        narrow <= 20 && usual <= 40 && wide <= 120,
    )
}

pub fn t8() -> Row {
    let median = median(2.0, 0.6, 24);
    row("T8", "2 times slower, sigma .6", "median <= 260", format!("{median}"), median <= 260)
}

pub fn t9() -> Row {
    let twenty = share(&run(1.5, 0.6, 2_000, 2_000, 25), |(_, greatest)| *greatest >= 20_f64.ln());
    row(
        "T9",
        "exactly 1.5 times slower, 2,000 requests, 2,000 runs",
        "P(20:1) <= .05",
        format!("{twenty:.4}"),
        twenty <= 0.05,
    )
}
