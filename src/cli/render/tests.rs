use super::*;

#[test]
fn durations_have_about_three_figures() {
    for (micros, text) in [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_500, "1.5 ms"),
        (999_900, "999.9 ms"),
        (1_000_000, "1.0 s"),
        (59_900_000, "59.9 s"),
        (61_000_000, "1 min"),
        (7_200_000_000, "2 h"),
        (200_000_000_000, "2 days"),
    ] {
        assert_eq!(short(Duration::from_micros(micros)), text);
    }
}

#[test]
fn a_reason_cannot_move_the_cursor_of_who_reads_it() {
    assert_eq!(plain("a\x1b[2Jb\r\nc"), "a [2Jb  c");
}
