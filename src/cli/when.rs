//! Times for people: in the terminal's zone, in UTC for programs and files.

use std::io::IsTerminal;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

static ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
    // Tests must not depend on the terminal.
    if cfg!(test) || !std::io::stdout().is_terminal() { TimeZone::UTC } else { TimeZone::system() }
});

/// `2026-11-29 11:10:44 CET` for an RFC 3339 time; other text stays as it is.
pub(crate) fn shown(at: &str) -> String {
    shown_in(at, &ZONE)
}

pub(crate) fn localized(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('T') {
        // `2026-11-29T10:10:44.123Z`
        let time = at.checked_sub(10).and_then(|start| {
            let end = at + 1 + rest[at..].find('Z')?;
            let time = rest.get(start..end).filter(|time| (20..=30).contains(&time.len()))?;
            time.parse::<Timestamp>().ok().map(|_| (start, end))
        });
        match time {
            Some((start, end)) => {
                out.push_str(&rest[..start]);
                out.push_str(&shown(&rest[start..end]));
                rest = &rest[end..];
            }
            None => {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn shown_in(at: &str, zone: &TimeZone) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_its_zone_with_the_name_of_it() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        assert_eq!(shown_in("2026-11-29T10:10:44.123Z", &TimeZone::UTC), "2026-11-29 10:10:44 UTC");
        assert_eq!(shown_in("2026-11-29T10:10:44.123Z", &berlin), "2026-11-29 11:10:44 CET");
        assert_eq!(shown_in("2026-07-29T10:10:44Z", &berlin), "2026-07-29 12:10:44 CEST");
        assert_eq!(shown_in("T4", &berlin), "T4");
    }

    #[test]
    fn times_in_a_text_are_found_and_nothing_else_is_touched() {
        let text = "Till 2026-11-29T10:10:44Z, then 2026-07-29T10:10:44.5Z; T1 Z, 2026-13-45T10:10:44Z, über T";
        let said = "Till 2026-11-29 10:10:44 UTC, then 2026-07-29 10:10:44 UTC; T1 Z, 2026-13-45T10:10:44Z, über T";
        assert_eq!(localized(text), said);
    }
}
