//! Histograms, thresholds, and judgements by them.

use super::*;
use crate::domain::analysis::histogram::upper;

#[test]
fn every_latency_is_in_the_bucket_that_ends_at_or_above_it() {
    let steps =
        (0..5_000_u64).chain((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1])).chain([u64::MAX]);
    for micros in steps {
        let bucket = bucket(micros);
        assert!(bucket < BUCKETS && micros <= upper(bucket), "{micros}");
        assert!(bucket == 0 || micros > upper(bucket - 1), "{micros}");
    }
    for bucket in 8..BUCKETS - 1 {
        let width = (upper(bucket) - upper(bucket - 1)) as f64 / upper(bucket - 1) as f64;
        assert!(width <= 0.143, "bucket {bucket} is {width} wide");
    }
}

fn histogram(micros: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = Histogram::default();
    micros.into_iter().for_each(|micros| histogram.record(micros));
    histogram
}

#[test]
fn quantiles_are_right_up_to_the_width_of_a_bucket() {
    assert_eq!(Histogram::default().quantiles(), None);
    let Quantiles(found) = histogram(1..=10_000).quantiles().expect("some");
    for (found, true_one) in found.into_iter().zip([5_000.0, 9_000.0, 9_900.0]) {
        assert!((1.0..1.13).contains(&(found as f64 / true_one)), "{found} for {true_one}");
    }
    assert_eq!(histogram([3]).quantile(0.0), Some(3));
}

#[test]
fn what_came_since_is_what_was_merged() {
    let (earlier, later) = (histogram(0..500), histogram(200..9_000));
    let mut both = earlier.clone();
    both.merge(&later);
    assert_eq!((both.since(&earlier), both.count()), (later, 9_300));
}

#[test]
fn a_threshold_is_the_margin_or_the_least_difference_and_needs_samples() {
    let policy = Policy::default();
    assert_eq!(Thresholds::freeze(&histogram(vec![1_000; 49]), &policy), None);
    let quick = Thresholds::freeze(&histogram(vec![1_000; 50]), &policy).expect("enough");
    assert_eq!((quick.stable[0], quick.candidate[0]), (1_023, 11_023));
    let slow = Thresholds::freeze(&histogram(vec![1_000_000; 50]), &policy).expect("enough");
    assert_eq!(slow.candidate[0], slow.stable[0] * 3 / 2);
    let endless = Thresholds::freeze(&histogram(vec![u64::MAX; 50]), &policy).expect("enough");
    assert_eq!(endless.candidate[0], u64::MAX);
}

/// A second in which the candidate is slow.
fn slow(number: u64) -> Tick {
    let stable = Counts { slow: [475, 95, 9], ..counts(950, 0) };
    let candidate = Counts { slow: [44, 24, 6], ..counts(50, 0) };
    let mut tick = second(number, 5, stable, candidate);
    tick.routes[0].thresholds = Some(Thresholds::default());
    let quantiles = |p90| Some(Quantiles([100_000, p90, 2_000_000]));
    tick.quantiles = Arms { stable: quantiles(301_000), candidate: quantiles(912_000) };
    tick
}

#[test]
fn a_slow_release_fails_after_it_has_warmed_up() {
    let mut judge = judge();
    let cold = last(&mut judge, 0..31, slow);
    assert!(cold.verdict < Verdict::Suspect && cold.evidence <= 1, "{cold}");
    // It may be warming up, until its latency clearly stays.
    let soon = last(&mut judge, 31..34, slow);
    assert_eq!((soon.verdict, soon.veto), (Verdict::Suspect, Some(Veto::Slow)), "{soon}");
    let warm = last(&mut judge, 34..40, slow);
    assert_eq!(warm.verdict, Verdict::Fail);
    let finding = &warm.findings[0];
    assert_eq!((finding.class, finding.candidate.bad()), (Class::SlowP90, 216));
    assert_eq!(finding.to_string(), "all routes got 3.0 times slower (p90 912 ms against 301 ms, 450 requests)");
}

#[test]
fn caches_that_fill_hold_a_release_and_do_not_take_it_back() {
    let mut judge = judge();
    let cold = |number: u64| {
        let mut tick = slow(number);
        // Beyond p90 48 % at first, and 10 % after three minutes.
        let beyond = 24 - 19 * number.min(180) / 180;
        tick.routes[0].batches[0].done.candidate.slow = [25, beyond, beyond / 8];
        tick
    };
    let said: Vec<_> = (0..180).map(|number| judge.tick(&cold(number)).verdict).collect();
    assert!(said.contains(&Verdict::Suspect) && !said.contains(&Verdict::Fail));
    let warm = last(&mut judge, 180..300, cold);
    assert_eq!(warm.verdict, Verdict::Pass, "what it showed while it was cold is forgotten: {warm}");
}

#[test]
fn a_step_waits_until_latency_was_looked_at() {
    let mut judge = judge();
    let well = |number| {
        let mut tick = second(number, 5, Counts { slow: [475, 95, 9], ..counts(950, 1) }, counts(50, 0));
        tick.routes[0].thresholds = Some(Thresholds::default());
        tick
    };
    let soon = last(&mut judge, 0..38, well);
    assert_eq!((soon.verdict, soon.veto), (Verdict::Insufficient, Some(Veto::Latency)), "{soon}");
    assert_eq!(last(&mut judge, 38..43, well).verdict, Verdict::Pass);
    judge.begin_step(43);
    let soon = last(&mut judge, 43..50, |number| Tick { weight: weight(50), ..well(number) });
    assert_eq!(soon.veto, Some(Veto::Latency), "each step has a load of its own");
}

#[test]
fn one_slow_route_of_many_is_named() {
    let judgement = last(&mut judge(), 0..60, |number| {
        let mut tick = slow(number);
        tick.routes[0].quantiles = std::mem::take(&mut tick.quantiles);
        let well = Counts { slow: [25, 5, 1], ..counts(50, 0) };
        let batch =
            Batch { done: Arms { candidate: well, ..tick.routes[0].batches[0].done }, ..tick.routes[0].batches[0] };
        tick.routes.extend((1..10).map(|slot| RouteTick {
            slot,
            name: format!("/{slot}"),
            thresholds: Some(Thresholds::default()),
            batches: vec![batch],
            ..RouteTick::default()
        }));
        tick
    });
    assert!(judgement.findings.len() <= 2, "{judgement}");
    let text = judgement.findings[0].to_string();
    assert!(text.starts_with("/shop got 3.0 times slower (p90 912 ms against 301 ms"), "{text}");
}

#[test]
fn a_route_is_named_also_where_all_routes_together_are_quicker_to_show_it() {
    // A third of the requests is slow on one route: a few seconds are enough for all routes together, which have more
    // of the budget.
    let tick = |number| {
        let mut tick = slow(number);
        let well = Counts { slow: [5, 1, 0], ..counts(10, 0) };
        let batch =
            Batch { done: Arms { candidate: well, ..tick.routes[0].batches[0].done }, ..tick.routes[0].batches[0] };
        tick.routes.extend((1..3).map(|slot| RouteTick {
            slot,
            name: format!("/{slot}"),
            thresholds: Some(Thresholds::default()),
            batches: vec![batch],
            ..RouteTick::default()
        }));
        tick
    };
    let mut judge = judge();
    let judgement = (0..120).map(|number| judge.tick(&tick(number))).find(|said| said.verdict == Verdict::Fail);
    let judgement = judgement.expect("it is found");
    let routes: Vec<_> = judgement.findings.iter().map(|finding| finding.route.as_deref()).collect();
    assert!(routes.contains(&Some("/shop")) && routes.len() <= 2, "{judgement}");
}

#[test]
fn requests_that_were_assigned_while_it_was_cold_never_count_as_slow() {
    let mut judge = judge();
    last(&mut judge, 0..31, slow);
    let late = last(&mut judge, 31..61, |number| {
        let mut tick = slow(number);
        tick.routes[0].batches[0].tick = number - 31;
        tick
    });
    assert!(late.verdict < Verdict::Suspect, "{late}");
}

#[test]
fn latency_is_not_judged_where_it_is_not_known_what_is_slow() {
    let judgement = last(&mut judge(), 0..120, |number| {
        let mut tick = slow(number);
        tick.routes[0].thresholds = None;
        tick
    });
    assert!(judgement.verdict < Verdict::Suspect, "{judgement}");
}
