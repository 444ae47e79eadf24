use super::*;

/// `results`: one letter each (`+` passed, `-` failed); `expected`: the health after each, with rise 2 and fall 3.
fn check(results: &str, expected: &str) {
    let mut hysteresis = Hysteresis::default();
    let known: String = results
        .chars()
        .map(|result| {
            hysteresis.observe(result == '+', 2, 3);
            match hysteresis.health() {
                Health::Unknown => '?',
                Health::Up => 'U',
                Health::Down => 'D',
            }
        })
        .collect();
    assert_eq!(known, expected, "{results}");
}

#[test]
fn the_first_result_decides() {
    check("+", "U");
    check("-", "D");
}

#[test]
fn it_takes_failures_in_a_row_to_go_down_and_passes_in_a_row_to_come_up() {
    check("+--+---", "UUUUUUD");
    check("-+-++", "DDDDU");
}

#[test]
fn one_that_joins_others_comes_up_only_after_all_its_passes_and_is_down_at_once() {
    let mut joins = Hysteresis::joining();
    assert_eq!([joins.observe(true, 3, 3), joins.observe(true, 3, 3)], [None, None]);
    assert_eq!(joins.health(), Health::Unknown);
    assert_eq!(joins.observe(true, 3, 3), Some(Health::Up));
    assert_eq!(Hysteresis::joining().observe(false, 3, 3), Some(Health::Down));
}
