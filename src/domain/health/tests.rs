use super::*;

/// Results in, one letter each (`+` passed, `-` failed); what is known after each of them, with rise 2 and fall 3.
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
