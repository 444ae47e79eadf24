use std::time::Duration;

use super::*;
use crate::domain::health::Health;
use crate::proxy::pool::tests::{BEGAN, about, picks, pool};
use crate::proxy::pool::{Balance, Rules};

const BACK: u64 = 1_000;
const SLOWLY: u64 = 10_000;
const DRAWS: usize = 20_000;

fn rules(balance: Balance) -> Rules {
    Rules { balance, slow_start: Duration::from_millis(SLOWLY), ..Rules::default() }
}

fn with_one_back(endpoints: usize, balance: Balance) -> Pool {
    let pool = pool(&vec![Health::Up; endpoints], rules(balance));
    pool.endpoints[0].set_health(Health::Down, BEGAN);
    pool.endpoints[0].set_health(Health::Up, BACK);
    pool
}

#[test]
fn the_weight_grows_from_a_tenth_to_all_in_the_time() {
    let pool = with_one_back(2, Balance::LeastRequests);
    let percent = |now: u64| (pool.weight(0, now) * 100).div_ceil(FULL);
    let weights: Vec<u64> = [0, 2_500, 5_000, 7_500, 9_999, 10_000].map(|passed| percent(BACK + passed)).to_vec();
    assert_eq!(weights, [10, 33, 55, 78, 100, 100]);
    assert_eq!(pool.weight(1, BACK), FULL, "the others keep theirs");
}

#[test]
fn only_one_that_was_away_starts_slowly() {
    let pool = pool(&[Health::Up, Health::Unknown, Health::Up], rules(Balance::LeastRequests));
    assert_eq!(pool.weight(0, BEGAN), FULL, "at the start of the process");
    pool.endpoints[1].set_health(Health::Up, BACK);
    assert_eq!(pool.weight(1, BACK), FULL, "nothing was known of it");
    pool.endpoints[2].ejection.set_until(BACK);
    assert_eq!(pool.weight(2, BACK - 1), FULL, "it serves only where it is needed, and then all of it");
    assert_eq!(pool.weight(2, BACK), FIRST, "its ejection is over");
    pool.endpoints[2].set_health(Health::Up, BACK + 5_000);
    assert!(pool.weight(2, BACK + 5_000) > FULL / 2, "that it is still up is no news");
}

#[test]
fn without_slow_start_it_gets_all_of_its_share_at_once() {
    let pool = pool(&[Health::Up, Health::Up], Rules::default());
    pool.endpoints[0].set_health(Health::Down, BEGAN);
    pool.endpoints[0].set_health(Health::Up, BACK);
    assert_eq!(pool.weight(0, BACK), FULL);
}

#[test]
fn with_least_requests_it_gets_its_weight_of_a_full_share() {
    for endpoints in [2, 3, 8] {
        for (passed, weight) in [(0, 0.1), (5_000, 0.55), (SLOWLY, 1.0)] {
            let pool = with_one_back(endpoints, Balance::LeastRequests);
            let counts = picks(&pool, DRAWS, BACK + passed, &[]);
            about(counts[0], DRAWS as f64 / endpoints as f64 * weight);
        }
    }
}

#[test]
fn with_least_requests_its_load_weighs_as_much_more_as_its_share_is_less() {
    let pool = with_one_back(2, Balance::LeastRequests);
    pool.endpoints[0].load(0).add(1);
    pool.endpoints[1].load(0).add(9);
    assert_eq!(picks(&pool, DRAWS, BACK, &[])[0], 0, "1 is 10 of a tenth");
    pool.endpoints[1].load(0).add(2);
    let some = picks(&pool, DRAWS, BACK, &[])[0];
    about(some, DRAWS as f64 / 2.0 * 0.1);
    pool.endpoints[1].load(0).add(20);
    assert_eq!(picks(&pool, DRAWS, BACK, &[])[0], DRAWS, "where the others drown it helps");
}

#[test]
fn with_round_robin_the_others_get_a_turn_each_while_it_gets_its_weight_of_one() {
    for endpoints in [2, 3, 8] {
        for (passed, weight) in [(0, 0.1), (5_000, 0.55), (SLOWLY, 1.0)] {
            let pool = with_one_back(endpoints, Balance::RoundRobin);
            let counts = picks(&pool, DRAWS, BACK + passed, &[]);
            about(counts[0], DRAWS as f64 * weight / (endpoints as f64 - 1.0 + weight));
            let (least, most) = (counts[1..].iter().min(), counts[1..].iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
        }
    }
}

#[test]
fn where_it_is_the_only_one_it_gets_everything() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin] {
        let pool = with_one_back(3, balance);
        pool.endpoints[1].set_health(Health::Down, BEGAN);
        assert_eq!(picks(&pool, DRAWS, BACK, &[2]), [DRAWS, 0, 0]);
        assert_eq!(picks(&with_one_back(1, balance), DRAWS, BACK, &[]), [DRAWS]);
    }
}

#[test]
fn where_all_start_slowly_they_share_evenly() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin] {
        let pool = with_one_back(4, balance);
        for endpoint in &pool.endpoints {
            endpoint.set_health(Health::Down, BEGAN);
            endpoint.set_health(Health::Up, BACK);
        }
        for count in picks(&pool, DRAWS, BACK, &[]) {
            about(count, DRAWS as f64 / 4.0);
        }
    }
}

#[test]
fn with_many_requests_in_flight_it_gets_no_more_than_its_weight_of_a_share() {
    for in_flight in [4, 20, 400] {
        let pool = with_one_back(4, Balance::LeastRequests);
        let mut random = fastrand::Rng::with_seed(9);
        let mut under_way = std::collections::VecDeque::new();
        let mut count = 0;
        for _ in 0..DRAWS {
            let picked = pool.pick(0, random.u64(..), BACK, &[]).expect("all are up");
            pool.endpoints[picked].load(0).add(1);
            under_way.push_back(picked);
            count += usize::from(picked == 0);
            if under_way.len() > in_flight {
                let done = under_way.pop_front().expect("not empty");
                pool.endpoints[done].load(0).sub(1);
            }
        }
        let share = count as f64 / (DRAWS as f64 / 4.0);
        assert!((0.05..=0.13).contains(&share), "{share} with {in_flight} in flight");
    }
}
