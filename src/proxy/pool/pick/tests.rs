use std::time::Duration;

use super::*;
use crate::proxy::pool::tests::{BEGAN, about, picks, pool};
use crate::proxy::pool::{Eject, Rules};

const UP: Health = Health::Up;
const DOWN: Health = Health::Down;
const UNKNOWN: Health = Health::Unknown;
const DRAWS: usize = 3_000;

fn least_requests() -> Rules {
    Rules { eject: Some(Eject { consecutive: 1, base: Duration::from_secs(10) }), ..Rules::default() }
}

fn round_robin() -> Rules {
    Rules { balance: Balance::RoundRobin, ..least_requests() }
}

fn order(pool: &Pool, worker: usize, count: usize, tried: &[usize]) -> Vec<Option<usize>> {
    (0..count as u64).map(|draw| pool.pick(worker, draw, BEGAN, tried)).collect()
}

fn eject(pool: &Pool, index: usize, until: u64) {
    pool.endpoints[index].ejection.set_until(until);
}

#[test]
fn an_empty_pool_has_nothing_to_pick() {
    for rules in [least_requests(), round_robin()] {
        assert_eq!(order(&pool(&[], rules), 0, 10, &[]), [None; 10]);
    }
}

#[test]
fn endpoints_that_are_up_share_the_requests() {
    for rules in [least_requests(), round_robin()] {
        let counts = picks(&pool(&[UP, UP, DOWN, UNKNOWN], rules), DRAWS, BEGAN, &[]);
        about(counts[0], 1_500.0);
        about(counts[1], 1_500.0);
        assert_eq!((counts[2], counts[3]), (0, 0));
    }
}

#[test]
fn every_endpoint_of_a_large_pool_gets_its_share() {
    for count in picks(&pool(&[UP; 7], least_requests()), 7_000, BEGAN, &[]) {
        about(count, 1_000.0);
    }
}

#[test]
fn where_none_is_up_those_of_which_nothing_is_known_serve() {
    for rules in [least_requests(), round_robin()] {
        assert_eq!(picks(&pool(&[DOWN, UNKNOWN, DOWN], rules), DRAWS, BEGAN, &[]), [0, DRAWS, 0]);
    }
}

#[test]
fn where_all_are_down_none_serves() {
    for rules in [least_requests(), round_robin()] {
        assert_eq!(picks(&pool(&[DOWN, DOWN], rules.clone()), DRAWS, BEGAN, &[]), [0, 0]);
        assert_eq!(picks(&pool(&[DOWN], rules), DRAWS, BEGAN, &[]), [0]);
    }
}

#[test]
fn the_less_loaded_of_two_is_picked_and_only_the_own_worker_s_load_counts() {
    let pool = pool(&[UP, UP], least_requests());
    pool.endpoints[0].load(0).add(5);
    pool.endpoints[1].load(1).add(9);
    assert_eq!(picks(&pool, DRAWS, BEGAN, &[]), [0, DRAWS]);
}

#[test]
fn an_endpoint_that_was_tried_is_not_picked_again() {
    for rules in [least_requests(), round_robin()] {
        assert_eq!(picks(&pool(&[UP, UP], rules.clone()), DRAWS, BEGAN, &[1]), [DRAWS, 0]);
        assert_eq!(picks(&pool(&[UP, UP], rules.clone()), DRAWS, BEGAN, &[1, 0]), [0, 0]);
        assert_eq!(picks(&pool(&[UP], rules), DRAWS, BEGAN, &[0]), [0]);
    }
}

#[test]
fn an_ejected_endpoint_is_left_out_until_its_time_is_over() {
    for rules in [least_requests(), round_robin()] {
        let pool = pool(&[UP, UP, UNKNOWN], rules);
        eject(&pool, 0, 100);
        assert_eq!(picks(&pool, DRAWS, 99, &[]), [0, DRAWS, 0]);
        assert_eq!(picks(&pool, DRAWS, 99, &[1]), [0, 0, DRAWS]);
        let after = picks(&pool, DRAWS, 100, &[]);
        about(after[0], 1_500.0);
    }
}

#[test]
fn where_nobody_else_is_left_the_ejected_serve_nevertheless() {
    for rules in [least_requests(), round_robin()] {
        let pool = pool(&[UP, DOWN, UP], rules.clone());
        eject(&pool, 2, 100);
        assert_eq!(picks(&pool, DRAWS, BEGAN, &[]), [DRAWS, 0, 0]);
        assert_eq!(picks(&pool, DRAWS, BEGAN, &[0]), [0, 0, DRAWS]);
        let one = self::pool(&[UP], rules);
        eject(&one, 0, 100);
        assert_eq!(picks(&one, DRAWS, BEGAN, &[]), [DRAWS]);
    }
}

#[test]
fn where_more_than_half_are_ejected_those_serve_that_would_come_back_first() {
    for rules in [least_requests(), round_robin()] {
        let pool = pool(&[UP, UP, UP, UP], rules);
        for (index, until) in [(0, 300), (1, 400), (2, 200)] {
            eject(&pool, index, until);
        }
        let counts = picks(&pool, DRAWS, BEGAN, &[]);
        assert_eq!((counts[0], counts[1]), (0, 0), "two of four stay away");
        about(counts[2], 1_500.0);
        about(counts[3], 1_500.0);
        pool.endpoints[3].set_health(DOWN, BEGAN);
        pool.endpoints[0].set_health(DOWN, BEGAN);
        assert_eq!(picks(&pool, DRAWS, BEGAN, &[]), [0, 0, DRAWS, 0]);
        pool.endpoints[2].set_health(DOWN, BEGAN);
        assert_eq!(picks(&pool, DRAWS, BEGAN, &[]), [0, DRAWS, 0, 0]);
    }
}

#[test]
fn round_robin_takes_one_after_the_other_and_each_worker_by_itself() {
    let pool = pool(&[UP; 4], round_robin());
    assert_eq!(order(&pool, 0, 6, &[]), [0, 1, 2, 3, 0, 1].map(Some));
    assert_eq!(order(&pool, 1, 6, &[]), [2, 3, 0, 1, 2, 3].map(Some), "begins at another place");
    assert_eq!(order(&pool, 0, 2, &[]), [2, 3].map(Some), "goes on where it was");
}

#[test]
fn round_robin_shares_evenly_what_one_that_is_away_would_have_got() {
    let pool = pool(&[UP, UP, DOWN, UP, UNKNOWN], round_robin());
    eject(&pool, 3, 100);
    let counts = picks(&pool, DRAWS, BEGAN, &[]);
    assert_eq!(counts, [DRAWS / 2, DRAWS / 2, 0, 0, 0]);
    assert_eq!(picks(&pool, DRAWS, 100, &[]), [DRAWS / 3, DRAWS / 3, 0, DRAWS / 3, 0]);
}

#[test]
fn round_robin_gives_a_retry_to_the_next_that_was_not_tried() {
    let pool = pool(&[UP; 3], round_robin());
    assert_eq!(order(&pool, 0, 1, &[]), [Some(0)]);
    assert_eq!(order(&pool, 0, 1, &[0]), [Some(1)]);
    assert_eq!(order(&pool, 0, 1, &[0, 1]), [Some(2)]);
    assert_eq!(order(&pool, 0, 1, &[0, 2]), [Some(1)]);
    assert_eq!(order(&pool, 0, 1, &[0, 1, 2]), [None]);
}

#[test]
fn a_pick_is_never_down_or_tried_and_there_is_one_whenever_there_can_be() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..5_000 {
        let health: Vec<Health> =
            (0..random.usize(1..7)).map(|_| *random.choice([UP, DOWN, UNKNOWN].iter()).expect("one")).collect();
        let balance = if random.bool() { Balance::LeastRequests } else { Balance::RoundRobin };
        let slow_start = Duration::from_millis(random.u64(0..2) * 50);
        let pool = pool(&health, Rules { balance, slow_start, ..least_requests() });
        for (index, endpoint) in pool.endpoints.iter().enumerate() {
            endpoint.load(0).add(random.u64(0..3));
            if random.bool() {
                eject(&pool, index, random.u64(0..100));
            }
        }
        let tried: Vec<usize> = (0..health.len()).filter(|_| random.u8(0..4) == 0).collect();
        let can = |index: &usize| health[*index] != DOWN && !tried.contains(index);
        let picked = pool.pick(0, random.u64(..), 50, &tried);
        assert_eq!(picked.is_some(), (0..health.len()).any(|index| can(&index)));
        assert!(picked.is_none_or(|picked| can(&picked)));
    }
}
