//! Numbers for people.

use std::time::Duration;

use super::short;

pub(crate) fn percent(number: f64) -> String {
    let text = format!("{number:.2}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `18,400`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `40 s`, `12 min`, `3 h`
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{:.0} s", seconds.max(0.0)),
        seconds if seconds < 7_200.0 => format!("{:.0} min", (seconds / 60.0).round()),
        seconds => short(Duration::from_secs_f64(seconds.min(1e9))),
    }
}
