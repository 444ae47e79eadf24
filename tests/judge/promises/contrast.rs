//! What usual rules do with a release that has no fault, in an hour at 5 % of the requests: T16.

use super::{Row, row};
use crate::random::{Random, runs, share};

/// Requests and errors of both sides in ten seconds, for an hour.
fn hour(random: &mut Random, errors: f64, rate: f64) -> Vec<[u64; 4]> {
    (0..360)
        .map(|_| {
            let (candidate, stable) = (random.poisson(rate * 0.5), random.poisson(rate * 9.5));
            [candidate, random.binomial(candidate, errors), stable, random.binomial(stable, errors)]
        })
        .collect()
}

fn sum(parts: &[[u64; 4]]) -> [f64; 4] {
    parts.iter().fold([0.0; 4], |sum, part| std::array::from_fn(|place| sum[place] + part[place] as f64))
}

/// A test for proportions, as in textbooks, made every ten seconds.
fn looked_at(hour: &[[u64; 4]]) -> bool {
    (1..=hour.len()).any(|ticks| {
        let [candidate, bad, stable, bad_stable] = sum(&hour[..ticks]);
        let pooled = (bad + bad_stable) / (candidate + stable);
        let deviation = (pooled * (1.0 - pooled) * (1.0 / candidate + 1.0 / stable)).sqrt();
        bad + bad_stable >= 10.0 && bad / candidate - bad_stable / stable > 1.645 * deviation
    })
}

pub fn t16() -> Vec<Row> {
    [(0.001, 1_000.0), (0.005, 50.0)]
        .into_iter()
        .enumerate()
        .map(|(place, (errors, rate))| {
            let rules = runs(1_000, 50 + place as u64, |random| {
                let hour = hour(random, errors, rate);
                let minutes = || hour.chunks(6).map(sum);
                let twice = minutes().any(|[candidate, bad, stable, bad_stable]| {
                    bad / candidate.max(1.0) > 2.0 * bad_stable / stable.max(1.0)
                });
                let strikes = minutes().filter(|[candidate, bad, ..]| bad / candidate.max(1.0) > 0.01).count();
                (looked_at(&hour), twice, strikes >= 10)
            });
            let [looked, twice, strikes] =
                [share(&rules, |rule| rule.0), share(&rules, |rule| rule.1), share(&rules, |rule| rule.2)];
            row(
                "T16",
                &format!("usual rules, no difference, an hour, {} % errors, {rate}/s", errors * 100.0),
                "(shown)",
                format!(
                    "z-test looked at {looked:.2}; twice in a minute {twice:.2}; ten minutes over 1 % {strikes:.2}"
                ),
                true,
            )
        })
        .collect()
}
