//! Numbers and durations for people.

use std::time::Duration;

/// `1,910`
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 request`, `1,910 requests`
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A share, such as `0.10 %`.
pub(super) fn percent(part: f64, whole: f64) -> String {
    format!("{:.2} %", if whole > 0.0 { 100.0 * part / whole } else { 0.0 })
}

/// `12 ms`, `38 s`, `4 min 12 s`, `2 h 5 min`, `3 d 1 h`
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() > 0 => format!("{} ms", duration.as_millis()),
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// One line of at most this many characters.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= most {
        return text.chars().map(clean).collect();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).map(clean).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([count(1, "notice"), count(2, "notice")], ["1 notice", "2 notices"]);
        assert_eq!([percent(2.0, 1910.0), percent(0.0, 0.0)], ["0.10 %", "0.00 %"]);
        let spans = [0.0, 0.012, 38.9, 252.0, 7_500.0, 262_800.0].map(|s| span(Duration::from_secs_f64(s)));
        assert_eq!(spans, ["0 s", "12 ms", "38 s", "4 min 12 s", "2 h 5 min", "3 d 1 h"]);
    }

    #[test]
    fn a_text_is_clipped_by_characters_and_stays_on_one_line() {
        assert_eq!(clipped("a\nb", 5), "a b");
        assert_eq!(clipped("ééééé", 3), "éé…");
    }
}
