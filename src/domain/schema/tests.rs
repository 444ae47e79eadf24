//! Ranges, paths and verdicts.

use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::domain::color::{Color, PerColor};
use crate::domain::release::Release;

fn range(text: &str) -> Range {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn release(name: &str) -> Release {
    Release::new(name)
}

/// For the store `orders`.
fn labels(needs: &str, migrates_to: Option<u64>, barrier: Barrier) -> Labels {
    let label = Label { needs: range(needs), migrates_to: migrates_to.map(Version), barrier };
    Labels::from([("orders".to_owned(), label)])
}

fn plain(needs: &str, migrates_to: u64) -> Labels {
    labels(needs, Some(migrates_to), Barrier::None)
}

/// Takes traffic with these releases; the last one serves.
fn lineage(releases: &[(&str, Labels)]) -> Lineage {
    releases.iter().fold(Lineage::default(), |before, (name, labels)| before.followed_by(&release(name), labels, None))
}

fn currents(lineage: &Lineage) -> Currents {
    Live::default().currents(Color::Blue, lineage, [])
}

/// With an answering probe.
fn at(version: u64, lineage: &Lineage) -> Currents {
    let mut live = Live::default();
    let answer = Ok(Version(version));
    live.read(Instant::now(), vec![Reading { color: Color::Blue, store: "orders".to_owned(), answer }]);
    live.currents(Color::Blue, lineage, [])
}

fn back_to(name: &str, labels: &Labels, lineage: &Lineage, currents: &Currents) -> (&'static str, String) {
    let verdict = runs(&release(name), labels, currents, lineage.after(&release(name)));
    (verdict.as_str(), verdict.why().unwrap_or_default())
}

fn write() -> FirstWrite {
    FirstWrite { at: SystemTime::UNIX_EPOCH, request: "4a".to_owned() }
}

#[test]
fn a_range_contains_its_ends_and_is_written_as_it_is_read() {
    for (text, inside, outside, shown) in [
        ("41", &[41][..], &[40, 42][..], "41"),
        ("=41", &[41], &[40, 42], "41"),
        (">=41, <=43", &[41, 42, 43], &[40, 44], ">=41, <=43"),
        ("<=43,>=41", &[41, 43], &[40, 44], ">=41, <=43"),
        (" > 40 , < 44 ", &[41, 43], &[40, 44], ">=41, <=43"),
        (">=41", &[41, u64::MAX], &[0, 40], ">=41"),
        ("<=43", &[0, 43], &[44], "<=43"),
        (">=43, <=43", &[43], &[42, 44], "43"),
        (">=20261123101500", &[20_261_123_101_500], &[20_261_123_101_499], ">=20261123101500"),
    ] {
        let range = range(text);
        assert!(inside.iter().all(|version| range.contains(Version(*version))), "{text}");
        assert!(!outside.iter().any(|version| range.contains(Version(*version))), "{text}");
        assert_eq!(range.to_string(), shown);
        assert_eq!(shown.parse::<Range>(), Ok(range));
    }
}

#[test]
fn what_is_no_range_says_why_and_what_to_write() {
    for (text, reason, repair) in [
        ("", "is not a range", "write \"41\""),
        ("41-43", "says a span with a dash", "write \">=41, <=43\""),
        ("41 - 43", "says a span with a dash", "write \">=41, <=43\""),
        ("v41", "is not a range", "whole numbers"),
        ("4.1", "is not a range", "write"),
        ("-1", "is not a range", "write"),
        ("+1", "is not a range", "write"),
        ("=>41", "has a sign that is none", "write"),
        ("~41", "is not a range", "write"),
        (">=41,", "is not a range", "write"),
        (">=43, <=41", "leaves no version", "write"),
        ("<0", "leaves no version", "write"),
        ("99999999999999999999", "is not a range", "write"),
    ] {
        let error = text.parse::<Range>().expect_err(text);
        assert!(error.reason.contains(reason), "{text}: {error:?}");
        assert!(error.repair.contains(repair) || error.reason.contains(repair), "{text}: {error:?}");
    }
}

#[test]
fn a_store_is_at_the_highest_version_that_took_traffic_also_after_a_way_back() {
    let one = plain("<=43", 42);
    let path = lineage(&[("1", one.clone()), ("2", plain("<=43", 43)), ("1", one.clone())]);
    assert_eq!(currents(&path)["orders"].version, Some(Version(43)));
    assert_eq!(back_to("1", &one, &path, &currents(&path)).0, "yes");
    assert_eq!(back_to("1", &plain("<=42", 42), &path, &currents(&path)), ("no", "orders 43, 1 needs <=42".to_owned()));
}

#[test]
fn what_releases_did_outlives_the_list_of_them() {
    let many: Vec<_> = (0..100).map(|n| (format!("{n}"), plain(">=1", 1000 - n))).collect();
    let path =
        many.iter().fold(Lineage::default(), |before, (name, labels)| before.followed_by(&release(name), labels, None));
    assert!(path.steps.len() <= 20, "the list is bounded");
    assert_eq!(currents(&path)["orders"].version, Some(Version(1000)));
}

#[test]
fn releases_without_labels_leave_no_trace_until_one_has_some() {
    let none = lineage(&[("1", Labels::new()), ("2", Labels::new())]);
    assert_eq!(none, Lineage::default());
    assert_eq!(back_to("1", &Labels::new(), &none, &currents(&none)), ("unknown", "no labels".to_owned()));
    let some = lineage(&[("1", Labels::new()), ("2", plain(">=1", 2))]);
    assert_eq!(
        back_to("1", &Labels::new(), &some, &currents(&some)),
        ("unknown", "1 has no label for orders".to_owned())
    );
    assert_eq!(back_to("1", &plain("1", 1), &some, &currents(&some)).0, "no");
}

#[test]
fn a_barrier_is_passed_with_the_migration_and_nobody_goes_back_over_it_however_far() {
    let all = plain(">=1", 1);
    let path = lineage(&[("1", all.clone()), ("2", labels(">=1", Some(2), Barrier::Applied)), ("3", plain(">=1", 2))]);
    let known = currents(&path);
    assert_eq!(back_to("2", &all, &path, &known).0, "yes", "its own barrier is behind it");
    let (word, why) = back_to("1", &all, &path, &known);
    assert_eq!((word, why.as_str()), ("no", "orders 2, 2 passed its barrier when it took traffic"));
    // The probe's answer counts: not migrated yet, and migrated.
    assert_eq!(back_to("1", &all, &path, &at(1, &path)).0, "yes");
    assert_eq!(back_to("1", &all, &path, &at(2, &path)).0, "no");
}

#[test]
fn a_first_write_passes_its_barrier_once_and_for_good() {
    let all = plain(">=1", 1);
    let mut path = lineage(&[("1", all.clone()), ("2", labels(">=1", Some(2), Barrier::FirstWrite))]);
    assert_eq!(back_to("1", &all, &path, &currents(&path)).0, "yes");
    assert!(!path.wrote(&release("1"), write()), "it has no such barrier");
    assert!(path.wrote(&release("2"), write()));
    assert!(!path.wrote(&release("2"), write()), "there is one first write");
    assert_eq!(back_to("1", &all, &path, &currents(&path)).0, "no");
    // Forced back, and forward again: earlier writes still exist.
    let path = path.followed_by(&release("1"), &all, None);
    let again = path.followed_by(&release("2"), &labels(">=1", Some(2), Barrier::FirstWrite), None);
    assert_eq!(back_to("1", &all, &again, &currents(&again)).0, "no");
}

#[test]
fn labels_of_the_live_release_are_corrected_by_the_file_and_kept_where_it_says_nothing() {
    let mut path = lineage(&[("1", plain("1", 1)), ("2", plain(">=1", 3))]);
    path.relabel(&release("2"), &plain(">=1", 2));
    assert_eq!(currents(&path)["orders"].version, Some(Version(2)), "3 was a mistake");
    path.relabel(&release("2"), &Labels::new());
    assert_eq!(currents(&path)["orders"].version, Some(Version(2)), "an empty file takes nothing back");
    path.relabel(&release("3"), &plain(">=1", 4));
    assert_eq!(path.steps.len(), 3, "another release is another step");
}

#[test]
fn the_probe_of_the_live_color_counts_first_an_old_answer_for_some_seconds_and_then_labels_with_a_doubt() {
    let path = lineage(&[("1", plain(">=1", 1))]);
    let (mut live, start) = (Live::default(), Instant::now());
    let read = |color, answer| vec![Reading { color, store: "orders".to_owned(), answer }];
    live.read(start, read(Color::Green, Ok(Version(7))));
    assert_eq!(live.currents(Color::Blue, &path, [])["orders"].version, Some(Version(7)), "better than none");
    live.read(start, read(Color::Blue, Ok(Version(8))));
    assert_eq!(live.currents(Color::Blue, &path, [])["orders"].version, Some(Version(8)));
    let later = start + Duration::from_secs(10);
    live.read(later, read(Color::Blue, Err("refused".to_owned())));
    assert_eq!(live.currents(Color::Blue, &path, [])["orders"].version, Some(Version(8)), "still fresh");
    live.forget(later + Duration::from_millis(1));
    let known = live.currents(Color::Blue, &path, []);
    assert_eq!((known["orders"].version, known["orders"].source), (Some(Version(1)), Source::Labels));
    let (word, why) = back_to("1", &plain(">=1", 1), &path, &known);
    assert_eq!((word, why.as_str()), ("unknown", "the probe of orders failed: refused"));
    assert_eq!(back_to("1", &plain(">=2", 2), &path, &known).0, "no", "what labels forbid stays forbidden");
    live.retain(&PerColor::default());
    assert_eq!(back_to("1", &plain(">=1", 1), &path, &live.currents(Color::Blue, &path, [])).0, "yes");
}

#[test]
fn what_serves_has_to_run_on_what_the_next_one_brings_but_no_store_is_taken_back() {
    let path = lineage(&[("1", plain("<=42", 42))]);
    let (old, known) = (plain("<=42", 42), currents(&path));
    let admitted = |coming: &Labels, known: &Currents| admits(coming, (&release("1"), &old), known);
    assert_eq!(
        admitted(&plain(">=42", 43), &known).first().map(ToString::to_string).as_deref(),
        Some("orders 43, 1 needs <=42")
    );
    assert_eq!(admitted(&plain(">=42", 42), &known), []);
    assert_eq!(admitted(&labels(">=42", None, Barrier::None), &known), []);
    assert_eq!(admitted(&plain(">=42", 43), &at(44, &path)), [], "it is there already, by others");
    assert_eq!(admitted(&plain(">=42", 43), &at(43, &path)).len(), 1, "migrated a moment before");
    assert_eq!(
        admits(&plain(">=42", 43), (&release("1"), &Labels::new()), &known),
        [],
        "who says nothing forbids nothing"
    );
}
