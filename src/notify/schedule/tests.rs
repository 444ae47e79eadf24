use std::time::{Duration, Instant};

use super::*;

const PLAN: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120)];

#[test]
fn pauses_follow_the_plan_and_stay_at_its_last_step() {
    let seconds: Vec<f64> = (1..=5).map(|attempts| pause(&PLAN, attempts, 0.5).as_secs_f64()).collect();
    assert_eq!(seconds, [5.0, 30.0, 120.0, 120.0, 120.0]);
    assert_eq!(pause(&[], 1, 0.5), PAUSES.1, "there is always a pause");
}

#[test]
fn pauses_are_a_fifth_shorter_or_longer_by_chance() {
    assert_eq!(pause(&PLAN, 1, 0.0), Duration::from_secs(4));
    assert_eq!(pause(&PLAN, 1, 1.0), Duration::from_secs(6));
}

#[test]
fn a_breaker_opens_at_the_third_failure_in_a_row_and_closes_at_a_success() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..2 {
        breaker.failed(now, 0.5);
        assert!(!breaker.is_open() && breaker.until().is_none());
    }
    breaker.failed(now, 0.5);
    assert!(breaker.is_open());
    assert_eq!(breaker.until(), Some(now + PAUSES.0));
    breaker.succeeded();
    assert_eq!(breaker, Breaker::default());
}

#[test]
fn an_open_breaker_waits_longer_each_time_but_never_longer_than_a_minute() {
    let mut now = Instant::now();
    let mut breaker = Breaker::default();
    let mut pauses = Vec::new();
    for _ in 0..100 {
        breaker.failed(now, 0.5);
        if let Some(until) = breaker.until() {
            pauses.push((until - now).as_secs());
            now = until;
        }
    }
    assert_eq!(pauses[..5], [5, 10, 20, 40, 60]);
    assert_eq!(pauses.iter().max(), Some(&60));
}

#[test]
fn a_receiver_that_asks_for_patience_gets_it_within_bounds_and_never_less_than_before() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    breaker.throttled(now, Duration::from_secs(90));
    breaker.throttled(now, Duration::from_secs(1));
    assert_eq!(breaker.until(), Some(now + Duration::from_secs(90)));
    breaker.throttled(now, Duration::from_secs(1 << 40));
    assert_eq!(breaker.until(), Some(now + PATIENCE));
}
