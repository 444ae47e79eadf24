//! Times and durations for people, in one form everywhere.

use std::fmt;
use std::time::{Duration, SystemTime};

/// UTC, to the second (RFC 3339).
pub(crate) fn time(at: SystemTime) -> impl fmt::Display {
    Time(at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day, from days since 1970-01-01 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    // Eras of 400 years, which begin on the first of March.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

pub(crate) fn duration(duration: Duration) -> impl fmt::Display {
    Written(duration)
}

struct Written(Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 6] =
            [("year", 31_557_600), ("month", 2_630_016), ("day", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let (mut seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        let mut parts = Vec::new();
        for (unit, size) in UNITS {
            let count = seconds / size;
            seconds %= size;
            match count {
                0 => {}
                2.. if size >= 86_400 => parts.push(format!("{count}{unit}s")),
                _ => parts.push(format!("{count}{unit}")),
            }
        }
        let parts_of_a_second = [("ms", nanos / 1_000_000), ("us", nanos / 1_000 % 1_000), ("ns", nanos % 1_000)];
        let small = parts_of_a_second.into_iter().filter(|(_, count)| *count > 0);
        parts.extend(small.map(|(unit, count)| format!("{count}{unit}")));
        if parts.is_empty() {
            return f.write_str("0s");
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_written_as_everywhere_else() {
        for day in 0..90_000 {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(time(at).to_string(), humantime::format_rfc3339_seconds(at).to_string());
        }
        for nanos in (0..64).map(|shift| 0x9e37_79b9_7f4a_7c15_u64 >> shift) {
            for written in
                [Duration::from_nanos(nanos), Duration::from_millis(nanos >> 20), Duration::from_secs(nanos >> 30)]
            {
                assert_eq!(duration(written).to_string(), humantime::format_duration(written).to_string());
            }
        }
        assert_eq!(duration(Duration::ZERO).to_string(), "0s");
    }
}
