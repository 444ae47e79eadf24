//! Known answers, computed by hand and by another implementation.

use super::evidence::{Ratio, Share, Stakes, ln_add};

fn close(is: f64, should: f64) {
    assert!((is - should).abs() < 1e-6, "{is} instead of {should}");
}

#[test]
fn evidence_of_a_ratio() {
    let ln = |tolerated, rho: f64, candidate, stable| {
        let mut test = Ratio::above(tolerated, 1.0);
        test.observe(rho / (1.0 - rho), candidate, stable);
        test.ln_evidence(0.0)
    };
    close(ln(1.5, 0.05, 0, 1), -0.569_085);
    close(ln(1.5, 0.05, 1, 0), 1.871_307);
    close(ln(1.5, 0.05, 4, 0), 8.876_445);
    close(ln(1.5, 0.05, 5, 3), 6.778_210);
    close(ln(1.5, 0.05, 10, 190), -4.016_894);
    close(ln(1.5, 0.5, 16, 0), 7.278_800);
    close(ln(1.0, 0.05, 4, 0), 10.399_535);
}

#[test]
fn evidence_of_a_ratio_does_not_depend_on_the_order_of_events() {
    let (mut one_by_one, mut at_once) = (Ratio::above(1.5, 1.0), Ratio::above(1.5, 1.0));
    for _ in 0..5 {
        one_by_one.observe(0.05 / 0.95, 0, 1);
        one_by_one.observe(0.05 / 0.95, 2, 0);
    }
    at_once.observe(0.05 / 0.95, 10, 5);
    close(one_by_one.ln_evidence(0.0), at_once.ln_evidence(0.0));
}

#[test]
fn a_stream_that_counted_as_good_and_broke_is_worth_what_a_failure_is() {
    for test in [Share::above(0.005, 1.0), Share::below(0.01)] {
        let (mut at_once, mut later) = (test.clone(), test);
        at_once.observe(10, 3);
        later.observe(10, 0);
        later.observe(0, 3);
        close(at_once.ln_evidence(0.0), later.ln_evidence(0.0));
    }
}

#[test]
fn evidence_of_a_share() {
    let ln = |bad, requests| {
        let mut test = Share::above(0.005, 1.0);
        test.observe(requests, bad);
        test.ln_evidence(0.0)
    };
    close(ln(4, 50), 5.925_807);
    close(ln(4, 1_000), -2.728_394);
    close(ln(5, 57), 8.062_302);
}

#[test]
fn evidence_with_a_stake_on_every_tick() {
    let mut test = Ratio::above(1.5, 0.0);
    let ticks = [(0, 1), (0, 0), (0, 2), (2, 1), (3, 0), (2, 1)];
    let known = [-0.004_349, -0.004_349, -0.017_922, 0.180_105, 5.000_554, 8.092_742];
    for (tick, ((candidate, stable), known)) in ticks.into_iter().zip(known).enumerate() {
        test.stake(0.01);
        test.observe(0.05 / 0.95, candidate, stable);
        close(test.ln_evidence(1.0 - 0.01 * (tick + 1) as f64), known);
    }
}

#[test]
fn stakes_are_never_more_than_one_together_and_some_is_always_left() {
    for horizon in [None, Some(1), Some(60), Some(3_600)] {
        let mut stakes = Stakes::new(horizon);
        let mut sum = 0.0;
        for tick in 0..20_000 {
            if tick % 500 == 0 {
                stakes.begin_step();
            }
            let stake = stakes.advance();
            assert!(stake > 0.0, "{horizon:?}, tick {tick}");
            sum += stake;
            close(stakes.rest(), 1.0 - sum);
        }
        assert!(stakes.rest() > 0.0);
    }
}

#[test]
fn sums_of_logarithms_are_numbers_at_the_ends_too() {
    close(ln_add(0.0, 0.0), std::f64::consts::LN_2);
    close(ln_add(1e18, -1e18), 1e18);
    assert_eq!(ln_add(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
    close(ln_add(f64::NEG_INFINITY, 3.0), 3.0);
}

/// The expected factor of an event is at most 1 under every chance that the hypothesis allows, so chance can't push
/// the evidence up.
#[test]
fn every_bet_is_fair() {
    for (tolerated, rho) in [(1.0, 0.01), (1.5, 0.05), (1.5, 0.5), (3.0, 0.98)] {
        let odds: f64 = rho / (1.0 - rho);
        let after = |candidate, stable| {
            let mut test = Ratio::above(tolerated, 1.0);
            test.observe(odds, candidate, stable);
            test.ln_evidence(0.0).exp()
        };
        for part in 0..=10 {
            let ratio = tolerated * f64::from(part) / 10.0;
            let chance = ratio * odds / (ratio * odds + 1.0);
            let expected = chance * after(1, 0) + (1.0 - chance) * after(0, 1);
            assert!(expected <= 1.0 + 1e-12, "{tolerated} {rho} {ratio}: {expected}");
        }
    }
    for part in 0..=10 {
        let share = 0.005 * f64::from(part) / 10.0;
        let after = |bad| {
            let mut test = Share::above(0.005, 1.0);
            test.observe(1, bad);
            test.ln_evidence(0.0).exp()
        };
        assert!(share * after(1) + (1.0 - share) * after(0) <= 1.0 + 1e-12);
    }
}
