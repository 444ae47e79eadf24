use super::*;

fn retries(budget: &Budget, now: u64) -> usize {
    std::iter::repeat_with(|| budget.withdraw(now)).take_while(|allowed| *allowed).take(10_000).count()
}

fn requests(budget: &Budget, count: usize, now: u64) {
    (0..count).for_each(|_| budget.deposit(now));
}

#[test]
fn without_requests_there_is_the_reserve_and_after_ten_seconds_again() {
    let budget = Budget::new(20);
    assert_eq!(retries(&budget, 1), 10);
    assert_eq!(retries(&budget, 9_999), 0);
    assert_eq!(retries(&budget, 10_000), 10);
    assert_eq!(retries(&budget, 1_000_000), 10);
}

#[test]
fn requests_pay_for_their_percentage_of_retries() {
    let budget = Budget::new(20);
    assert_eq!(retries(&budget, 1), 10);
    requests(&budget, 4, 2);
    assert!(!budget.withdraw(2));
    requests(&budget, 1, 2);
    assert!(budget.withdraw(2));
    assert!(!budget.withdraw(2));
    requests(&budget, 1_000, 3);
    assert_eq!(retries(&budget, 3), 200);
}

#[test]
fn requests_of_more_than_ten_seconds_ago_pay_for_nothing() {
    let budget = Budget::new(50);
    requests(&budget, 100, 1_500);
    requests(&budget, 100, 2_500);
    assert_eq!(retries(&budget, 11_200), 60, "of the first hundred nothing is left");
    assert_eq!(retries(&budget, 11_200), 0);
}

#[test]
fn what_was_retried_burdens_the_budget_for_ten_seconds_and_no_longer() {
    let budget = Budget::new(20);
    assert_eq!(retries(&budget, 5_000), 10);
    requests(&budget, 5, 14_900);
    assert_eq!(retries(&budget, 14_900), 1);
    assert_eq!(retries(&budget, 15_000), 10);
}

#[test]
fn with_zero_percent_there_is_no_retry() {
    let budget = Budget::new(0);
    requests(&budget, 1_000, 1);
    assert_eq!(retries(&budget, 1), 0);
}

#[test]
fn a_time_that_is_a_little_earlier_than_the_last_one_does_no_harm() {
    let budget = Budget::new(100);
    requests(&budget, 5, 20_000);
    requests(&budget, 5, 19_000);
    assert_eq!(retries(&budget, 18_000), 20);
}

#[test]
fn a_retry_never_makes_more_of_them_in_ten_seconds_than_the_percentage_and_the_reserve() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..100 {
        let percent = random.u32(1..=100);
        let budget = Budget::new(percent);
        let mut now = random.u64(1..100_000);
        let mut history: Vec<(u64, i64, i64)> = Vec::new();
        for _ in 0..200 {
            now += if random.u8(0..20) == 0 { random.u64(0..30_000) } else { random.u64(0..700) };
            let asked = random.usize(0..60);
            requests(&budget, asked, now);
            let paid = (0..random.usize(0..40)).filter(|_| budget.withdraw(now)).count();
            history.push((now / 1_000, asked as i64, paid as i64));
            let recent = history.iter().filter(|(second, _, _)| second + 10 > now / 1_000);
            let (asked, retried) =
                recent.fold((0, 0), |(all, again), (_, asked, retried)| (all + asked, again + retried));
            let within = retried * 100 <= asked * i64::from(percent) + 1_000;
            assert!(paid == 0 || within, "{retried} of {asked} at {percent} %");
        }
        let pieces: i64 = budget.pieces.iter().map(Cell::get).sum();
        assert_eq!(pieces, budget.sum.get());
    }
}

#[test]
fn idempotent_is_what_the_standard_says() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert!(is_idempotent(method.as_bytes()), "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "get", "Get", "", "PROPFIND", "GETS"] {
        assert!(!is_idempotent(method.as_bytes()), "{method}");
    }
}
