//! The judge as a whole, fed second by second as the proxy feeds it: T10, T14, and what it promises with its one budget.

use std::time::Duration;

use crate::domain::analysis::{Arms, Batch, Counts, Judge, Policy, RouteTick, Thresholds, Tick};
use crate::domain::split::Weight;
use crate::domain::verdict::{Judgement, Verdict};

use super::{Row, row};
use crate::random::{Random, quantile, runs, share};

/// What one side does on a route.
#[derive(Clone, Copy)]
struct Side {
    errors: f64,
    client_errors: f64,
    /// Beyond the thresholds, each given the one before.
    slow: [f64; 3],
}

const WELL: Side = Side { errors: 0.001, client_errors: 0.02, slow: [0.5, 0.2, 0.1] };
/// Three times slower with latencies as they usually are (lognormal, sigma .6), beyond 1.5 times the thresholds.
const SLOW: Side = Side { slow: [0.876, 0.508, 0.270], ..WELL };

impl Side {
    fn serve(self, random: &mut Random, completed: u64) -> Counts {
        let errors = random.binomial(completed, self.errors);
        let mut slow = [0; 3];
        let mut beyond = completed - errors;
        for (count, share) in slow.iter_mut().zip(self.slow) {
            beyond = random.binomial(beyond, share);
            *count = beyond;
        }
        let client_errors = random.binomial(completed - errors, self.client_errors);
        let good = completed - errors - client_errors;
        Counts { completed, failed: errors, errors, client_errors, aborts: 0, slow, good, refused: client_errors }
    }
}

/// A second of so many requests on each route; both sides of the first route are given, the others are well.
fn second(random: &mut Random, number: u64, percent: f64, requests: &[f64], first: Arms<Side>) -> Tick {
    let weight = Weight::new((percent * 100.0) as u16).expect("a share");
    let mut tick = Tick { number, at: Duration::from_secs(number), weight, ..Tick::default() };
    for (slot, rate) in requests.iter().enumerate() {
        let sides = if slot == 0 { first } else { Arms { stable: WELL, candidate: WELL } };
        let all = random.poisson(*rate);
        let candidate = random.binomial(all, weight.share());
        let assigned = Arms { stable: all - candidate, candidate };
        let done = Arms {
            stable: sides.stable.serve(random, assigned.stable),
            candidate: sides.candidate.serve(random, assigned.candidate),
        };
        tick.assigned.stable += assigned.stable;
        tick.assigned.candidate += assigned.candidate;
        tick.routes.push(RouteTick {
            slot,
            name: format!("/{slot}"),
            thresholds: Some(Thresholds::default()),
            batches: vec![Batch { tick: number, weight, assigned, done }],
            ..RouteTick::default()
        });
    }
    tick
}

fn policy() -> Policy {
    Policy { horizon: Some(900), ..Policy::default() }
}

/// The first second from `from` on with this verdict, counted from there, and what was said then.
fn first(
    random: &mut Random,
    policy: Policy,
    (percent, requests): (f64, &[f64]),
    (from, to): (u64, u64),
    verdict: Verdict,
    sides: impl Fn(u64) -> Arms<Side>,
) -> Option<(u64, Judgement)> {
    let mut judge = Judge::new(policy);
    (0..to).find_map(|number| {
        let judgement = judge.tick(&second(random, number, percent, requests, sides(number)));
        (judgement.verdict == verdict).then(|| ((number + 1).saturating_sub(from), judgement))
    })
}

fn errors(errors: f64) -> Side {
    Side { errors, ..WELL }
}

pub fn t10() -> Row {
    let failed = runs(1_000, 31, |random| {
        first(random, policy(), (5.0, &[1_000.0]), (0, 900), Verdict::Fail, |second| {
            let side = errors(if (301..600).contains(&second) { 0.3 } else { 0.001 });
            Arms { stable: side, candidate: side }
        })
    });
    let failed = share(&failed, Option::is_some);
    row(
        "T10",
        "both colors at 30 % errors for 5 minutes, 1,000 runs, the whole judge",
        "P(fail) <= .001",
        format!("{failed}"),
        failed <= 0.001,
    )
}

fn seconds(found: Vec<Option<(u64, Judgement)>>) -> Vec<Option<u64>> {
    found.into_iter().map(|found| found.map(|(seconds, _)| seconds)).collect()
}

pub fn t14() -> Row {
    let bad = |_| Arms { stable: WELL, candidate: errors(0.08) };
    let found = runs(400, 32, |random| first(random, policy(), (98.0, &[1_000.0]), (0, 120), Verdict::Fail, bad));
    let median = quantile(&seconds(found), 0.5);
    row(
        "T14",
        "2 % stay on the old color, 8 % errors after the switch, 1,000/s, the whole judge: seconds",
        "median <= 10",
        format!("{median}"),
        median <= 10,
    )
}

pub fn good_release() -> Row {
    let well = Arms { stable: Side { errors: 0.01, ..WELL }, candidate: Side { errors: 0.01, ..WELL } };
    let verdicts = runs(500, 33, |random| {
        let mut judge = Judge::new(policy());
        let mut seen = (false, false);
        for number in 0..600 {
            let verdict = judge.tick(&second(random, number, 10.0, &[100.0, 60.0, 40.0], well)).verdict;
            seen = (seen.0 || verdict == Verdict::Fail, seen.1 || verdict == Verdict::Suspect);
        }
        seen
    });
    let (failed, suspected) = (share(&verdicts, |seen| seen.0), share(&verdicts, |seen| seen.1));
    row(
        "J1",
        "no difference, 3 routes, errors 1 %, 10 minutes, 500 runs, everything that is tested",
        "P(fail) <= .001, P(suspect) <= .05",
        format!("{failed} {suspected:.3}"),
        failed <= 0.001 && suspected <= 0.05,
    )
}

pub fn barely_tolerated() -> Row {
    // Exactly 1.5 times the errors, above the floor, and exactly 1.5 times slower.
    let sides = Arms { stable: errors(0.02), candidate: errors(0.03) };
    let evidence = runs(1_000, 34, |random| {
        let mut judge = Judge::new(Policy { alpha: 0.01, ..policy() });
        (0..300).any(|number| judge.tick(&second(random, number, 10.0, &[300.0], sides)).verdict == Verdict::Fail)
    });
    let failed = share(&evidence, |failed| *failed);
    row(
        "J2",
        "everything exactly at what is tolerated, 5 minutes, alpha = .01, 1,000 runs",
        "P(fail) <= .01",
        format!("{failed:.4}"),
        failed <= 0.01,
    )
}

pub fn found_soon() -> Row {
    let bad = |_| Arms { stable: WELL, candidate: errors(0.08) };
    let found = runs(1_000, 35, |random| first(random, policy(), (5.0, &[1_000.0]), (0, 120), Verdict::Fail, bad));
    let seconds = seconds(found);
    let (median, p95) = (quantile(&seconds, 0.5), quantile(&seconds, 0.95));
    row(
        "J3",
        "8 % at 5 % weight, 1,000/s, the whole judge: seconds",
        "median <= 4, p95 <= 8",
        format!("{median} {p95}"),
        median <= 4 && p95 <= 8,
    )
}

pub fn found_late() -> Row {
    let found = runs(200, 36, |random| {
        first(random, policy(), (5.0, &[1_000.0]), (600, 900), Verdict::Fail, |second| Arms {
            stable: WELL,
            candidate: if second < 600 { WELL } else { errors(0.08) },
        })
    });
    let median = quantile(&seconds(found), 0.5);
    row(
        "J4",
        "8 % from the 10th minute on, the whole judge, with the floor: seconds",
        "median <= 8",
        format!("{median}"),
        median <= 8,
    )
}

pub fn names_the_route() -> Row {
    let slow = Arms { stable: WELL, candidate: SLOW };
    let found = runs(400, 37, |random| {
        let requests = [50.0, 500.0, 450.0];
        first(random, policy(), (5.0, &requests), (31, 600), Verdict::Fail, |_| slow)
    });
    let named = share(&found, |found| {
        found.as_ref().is_some_and(|(_, judgement)| judgement.findings[0].route.as_deref() == Some("/0"))
    });
    let seconds = seconds(found);
    let (median, p95) = (quantile(&seconds, 0.5), quantile(&seconds, 0.95));
    row(
        "J5",
        "one of three routes 3 times slower, 50/s there, 5 % weight: seconds after warm-up, and it is named",
        "median <= 60, named >= .99",
        format!("{median} (p95 {p95}) {named:.3}"),
        median <= 60 && named >= 0.99,
    )
}

pub fn alone() -> Row {
    let before = Some(crate::domain::analysis::Before { requests: 100_000, errors: 100 });
    let policy = || Policy { before, ..policy() };
    let at = |percent: f64, seed| {
        let side = Arms { stable: WELL, candidate: errors(percent / 100.0) };
        let found = runs(400, seed, |random| {
            first(random, policy(), (100.0, &[1_000.0]), (0, 120), Verdict::Suspect, |_| side)
        });
        seconds(found)
    };
    let (median, wrong) = (quantile(&at(8.0, 38), 0.5), share(&at(1.0, 39), Option::is_some));
    row(
        "J6",
        "nothing to compare with, 1,000/s: seconds until suspicion with 8 % errors; and with 1 %, as is tolerated",
        "median <= 4, P(suspect) <= .05",
        format!("{median} {wrong}"),
        median <= 4 && wrong <= 0.05,
    )
}

pub fn passes() -> Row {
    let well = Arms { stable: WELL, candidate: WELL };
    let found = runs(400, 40, |random| first(random, policy(), (5.0, &[1_000.0]), (0, 300), Verdict::Pass, |_| well));
    let bad = Arms { stable: errors(0.003), candidate: errors(0.01) };
    let wrong = runs(400, 41, |random| first(random, policy(), (5.0, &[1_000.0]), (0, 300), Verdict::Pass, |_| bad));
    let (seconds, wrong) = (seconds(found), share(&wrong, Option::is_some));
    let (median, p95) = (quantile(&seconds, 0.5), quantile(&seconds, 0.95));
    row(
        "J7",
        "to pass at 5 % weight, 1,000/s, with the warm-up and a look at latency: seconds; and with 1 % against .3 %, which is bad",
        "median <= 45, P(pass) <= .05",
        format!("{median} (p95 {p95}) {wrong}"),
        median <= 45 && wrong <= 0.05,
    )
}

pub fn below_the_floor() -> Row {
    let sides = Arms { stable: errors(0.0), candidate: errors(0.004) };
    let found = runs(500, 42, |random| first(random, policy(), (10.0, &[300.0]), (0, 600), Verdict::Fail, |_| sides));
    let failed = share(&found, Option::is_some);
    row(
        "J8",
        ".4 % errors against none, which is below the floor, 10 minutes, 500 runs",
        "P(fail) <= .002",
        format!("{failed}"),
        failed <= 0.002,
    )
}

pub fn few_requests() -> Row {
    let bad = |_| Arms { stable: WELL, candidate: errors(1.0) };
    let found = runs(400, 43, |random| first(random, policy(), (5.0, &[1.0]), (0, 1_800), Verdict::Fail, bad));
    // Exactly at what is tolerated, for an hour.
    let sides = Arms { stable: errors(0.2), candidate: errors(0.3) };
    let wrong = runs(1_000, 44, |random| {
        let policy = Policy { alpha: 0.01, baseline_unhealthy: 1.0, ..policy() };
        first(random, policy, (20.0, &[1.0, 2.0]), (0, 3_600), Verdict::Fail, |_| sides)
    });
    let (missed, wrong) = (share(&found, Option::is_none), share(&wrong, Option::is_some));
    let seconds = seconds(found);
    let (median, p95) = (quantile(&seconds, 0.5), quantile(&seconds, 0.95));
    row(
        "J9",
        "1/s at 5 % weight, and nothing but errors: seconds; and 3/s, 1.5 times the errors for an hour, alpha = .01",
        "median <= 200, no miss, P(fail) <= .01",
        format!("{median} (p95 {p95}) {missed} {wrong:.4}"),
        median <= 200 && missed == 0.0 && wrong <= 0.01,
    )
}

pub fn delays() -> Vec<Row> {
    let bad = Arms { stable: WELL, candidate: errors(0.08) };
    [(5.0, 1_000.0), (5.0, 100.0), (5.0, 10.0), (25.0, 10.0), (50.0, 10.0), (20.0, 1.0)]
        .into_iter()
        .zip(200..)
        .map(|((percent, rate), seed)| {
            let found = runs(200, seed, |random| {
                first(random, policy(), (percent, &[rate]), (0, 1_800), Verdict::Fail, |_| bad)
            });
            let seconds = seconds(found);
            let (median, p95) = (quantile(&seconds, 0.5), quantile(&seconds, 0.95));
            let scenario = format!("delay of the whole judge at {percent} % weight, {rate}/s, 0.1 -> 8 %");
            row("-", &scenario, "shown", format!("{median} s, p95 {p95} s"), true)
        })
        .collect()
}
