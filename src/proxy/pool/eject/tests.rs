use std::time::Duration;

use super::*;
use crate::proxy::pool::Rules;
use crate::proxy::pool::tests::{BEGAN, pool};

const SECOND: u64 = 1_000;

impl Ejection {
    pub(in crate::proxy::pool) fn set_until(&self, until: u64) {
        self.until.store(until, Ordering::Relaxed);
    }
}

fn of(up: usize, consecutive: u32) -> Pool {
    let eject = Some(Eject { consecutive, base: Duration::from_secs(10) });
    pool(&vec![Health::Up; up], Rules { eject, ..Rules::default() })
}

#[track_caller]
fn ejected(pool: &Pool, index: usize, now: u64) -> u64 {
    assert!((0..10).any(|_| pool.failed(index, now, 0)), "it was not ejected");
    pool.endpoints[index].ejected_until(now).expect("it was ejected just now")
}

#[test]
fn so_many_failures_in_a_row_eject_an_endpoint_and_a_success_between_them_does_not_count_them() {
    let pool = of(2, 3);
    for _ in 0..5 {
        assert!(!pool.failed(0, BEGAN, 0));
        assert!(!pool.failed(0, BEGAN, 0));
        pool.succeeded(0, BEGAN);
    }
    assert!(!pool.failed(0, BEGAN, 0));
    assert!(!pool.failed(0, BEGAN, 0));
    assert_eq!(pool.endpoints[0].ejected_until(BEGAN), None);
    assert!(pool.failed(0, BEGAN, 0));
    assert_eq!(pool.endpoints[0].ejected_until(BEGAN), Some(BEGAN + 10 * SECOND));
    assert_eq!(pool.endpoints[0].ejected_until(BEGAN + 10 * SECOND), None);
    assert_eq!(pool.endpoints[1].ejected_until(BEGAN), None);
}

#[test]
fn without_a_rule_nothing_is_ejected() {
    let pool = pool(&[Health::Up; 2], Rules::default());
    assert!((0..100).all(|_| !pool.failed(0, BEGAN, 0)));
}

#[test]
fn what_fails_while_it_is_ejected_does_not_count() {
    let pool = of(2, 2);
    let back = ejected(&pool, 0, BEGAN);
    assert!((0..10).all(|_| !pool.failed(0, back - 1, 0)));
    assert!(!pool.failed(0, back, 0), "one failure is not two");
    assert!(pool.failed(0, back, 0));
}

#[test]
fn each_ejection_in_a_row_lasts_twice_as_long_up_to_ten_minutes() {
    let pool = of(2, 1);
    let mut now = BEGAN;
    for seconds in [10, 20, 40, 80, 160, 320, 600, 600, 600] {
        let back = ejected(&pool, 0, now);
        assert_eq!(back - now, seconds * SECOND);
        now = back;
    }
}

#[test]
fn a_first_ejection_that_is_configured_longer_than_that_is_as_configured() {
    let eject = Eject { consecutive: 1, base: Duration::from_secs(3_600) };
    assert_eq!((length(&eject, 1), length(&eject, 9)), (3_600 * SECOND, 3_600 * SECOND));
    let forever = Eject { consecutive: 1, base: Duration::MAX };
    assert!(length(&forever, u64::from(u32::MAX)) > 0);
    let nothing = Eject { consecutive: 1, base: Duration::ZERO };
    assert_eq!(length(&nothing, 1), 1);
}

#[test]
fn serving_well_for_as_long_as_it_was_ejected_takes_back_one_step() {
    let pool = of(2, 1);
    let mut now = BEGAN;
    for _ in 0..3 {
        now = ejected(&pool, 0, now);
    }
    pool.succeeded(0, now + 40 * SECOND - 1);
    assert_eq!(length_of_the_next(&pool, now), 80, "it is not long enough yet");
    pool.succeeded(0, now + 40 * SECOND);
    assert_eq!(length_of_the_next(&pool, now), 40);
    now += 40 * SECOND;
    pool.succeeded(0, now + 20 * SECOND - 1);
    assert_eq!(length_of_the_next(&pool, now), 40);
    pool.succeeded(0, now + 20 * SECOND);
    pool.succeeded(0, now + 20 * SECOND);
    assert_eq!(length_of_the_next(&pool, now), 20);
    pool.succeeded(0, now + 30 * SECOND);
    assert_eq!(length_of_the_next(&pool, now), 10);
    assert_eq!(pool.endpoints[0].ejection.streak.load(Ordering::Relaxed), 0, "all is forgotten");
}

fn length_of_the_next(pool: &Pool, now: u64) -> u64 {
    let ejection = &pool.endpoints[0].ejection;
    assert_eq!(ejection.in_force(now), None);
    let eject = pool.rules.eject.as_ref().expect("a rule");
    length(eject, times(ejection.streak.load(Ordering::Relaxed)) + 1) / SECOND
}

#[test]
fn time_alone_takes_nothing_back_and_what_is_capped_is_not_counted_on() {
    let pool = of(2, 1);
    let mut now = BEGAN;
    for _ in 0..50 {
        now = ejected(&pool, 0, now);
    }
    now += 10_000 * SECOND;
    assert_eq!(length_of_the_next(&pool, now), 600);
    for step in 0..7 {
        assert!(times(pool.endpoints[0].ejection.streak.load(Ordering::Relaxed)) == 7 - step);
        now += 600 * SECOND;
        pool.succeeded(0, now);
    }
    assert_eq!(length_of_the_next(&pool, now), 10);
}

#[test]
fn at_most_half_of_those_that_are_not_down_are_ejected() {
    for (endpoints, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let pool = of(endpoints, 1);
        let count = (0..endpoints).filter(|index| pool.failed(*index, BEGAN, 0)).count();
        assert_eq!(count, most, "of {endpoints}");
    }
    let pool = of(4, 1);
    pool.endpoints[2].set_health(Health::Down, BEGAN);
    pool.endpoints[3].set_health(Health::Unknown, BEGAN);
    assert!(!pool.failed(2, BEGAN, 0), "what is down is away already");
    assert!(pool.failed(0, BEGAN, 0));
    assert!(!pool.failed(1, BEGAN, 0), "three are left, so one is enough");
}

#[test]
fn one_that_could_not_be_ejected_is_at_its_next_failure_once_there_is_room() {
    let pool = of(2, 3);
    let back = ejected(&pool, 0, BEGAN);
    assert!((0..10).all(|_| !pool.failed(1, BEGAN, 0)));
    assert!(pool.failed(1, back, 0));
}

#[test]
fn an_ejection_is_up_to_a_fifth_shorter_by_chance() {
    let mut random = fastrand::Rng::with_seed(5);
    let lengths: Vec<u64> = (0..2_000)
        .map(|_| {
            let pool = of(2, 1);
            assert!(pool.failed(0, BEGAN, random.u64(..)));
            pool.endpoints[0].ejected_until(BEGAN).expect("ejected") - BEGAN
        })
        .collect();
    assert!(lengths.iter().all(|length| (8 * SECOND..=10 * SECOND).contains(length)));
    let spread = |from: u64, to: u64| lengths.iter().filter(|length| (from..to).contains(*length)).count();
    assert!(spread(8_000, 8_200) > 100 && spread(9_000, 9_200) > 100 && spread(9_800, 10_001) > 100);
}

#[test]
fn of_many_workers_that_see_it_fail_one_ejects_it() {
    for _ in 0..50 {
        let pool = of(4, 8);
        let times: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..64).filter(|_| pool.failed(0, BEGAN, 0)).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(times, 1);
        assert_eq!(pool.endpoints[0].ejected_until(BEGAN), Some(BEGAN + 10 * SECOND));
    }
}
