//! Events that the application tells: orders that are exactly as few as is tolerated, and a fifth of them lost.

use std::time::Duration;

use super::{Row, row};
use crate::domain::analysis::{Arms, Bad, EventRule, EventTick, Judge, Policy, Tick};
use crate::domain::split::Weight;
use crate::domain::verdict::Verdict;
use crate::random::{Random, quantile, runs, share};

fn order() -> EventRule {
    EventRule { name: "order".to_owned(), bad: Bad::Fewer, tolerated: 0.1, share: 0.05, per_request: 1 }
}

/// When it fails, by orders alone: so many requests a second, this share of them orders, and so many times as many on the candidate.
fn fails(
    random: &mut Random,
    rule: EventRule,
    weight: u16,
    (rate, orders, times): (f64, f64, f64),
    seconds: u64,
) -> Option<u64> {
    let weight = Weight::new(weight).expect("a share");
    let mut judge = Judge::new(Policy { events: vec![rule], horizon: Some(seconds), ..Policy::default() });
    judge.begin_step(0);
    (0..seconds).find(|number| {
        let requests = random.poisson(rate);
        let candidate = random.binomial(requests, weight.share());
        let stable = requests - candidate;
        let told =
            Arms { stable: random.binomial(stable, orders), candidate: random.binomial(candidate, orders * times) };
        let tick = Tick {
            number: *number,
            at: Duration::from_secs(*number),
            weight,
            assigned: Arms { stable, candidate },
            events: vec![EventTick { event: 0, tick: *number, weight, told }],
            ..Tick::default()
        };
        judge.tick(&tick).verdict == Verdict::Fail
    })
}

pub fn tolerated() -> Row {
    let rule = || EventRule { share: 0.5, ..order() };
    let at = |weight, orders, seed| {
        let failed = runs(1_500, seed, |random| fails(random, rule(), weight, (1_000.0, orders, 0.9), 1_800).is_some());
        share(&failed, |failed| *failed)
    };
    // With half of the budget, so half of the promise.
    let alarms = [at(500, 0.05, 30), at(5_000, 0.05, 31), at(9_800, 0.3, 32)];
    row(
        "E1",
        "orders exactly 10 % fewer, half an hour at 5, 50 and 98 %, half of the budget, 1,500 runs each",
        "fails <= .0015, each",
        format!("{:.4} {:.4} {:.4}", alarms[0], alarms[1], alarms[2]),
        alarms.iter().all(|alarms| *alarms <= 0.0015),
    )
}

pub fn a_fifth_is_lost() -> Vec<Row> {
    [
        (500, 1_000.0, 1_100, "median <= 1100"),
        (2_500, 1_000.0, 300, "median <= 300"),
        (5_000, 1_000.0, 230, "median <= 230"),
        (5_000, 100.0, 2_000, "median <= 2000"),
    ]
    .into_iter()
    .enumerate()
    .map(|(place, (weight, rate, most, must))| {
        let found = runs(200, 40 + place as u64, |random| fails(random, order(), weight, (rate, 0.05, 0.8), 7_200));
        let (median, p95) = (quantile(&found, 0.5), quantile(&found, 0.95));
        row(
            "E2",
            &format!("20 % fewer of 5 % orders, {rate}/s, {} % weight: seconds", f64::from(weight) / 100.0),
            must,
            format!("{median} (p95 {p95})"),
            median <= most,
        )
    })
    .collect()
}
