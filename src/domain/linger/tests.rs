use std::time::Duration;

use super::*;
use crate::domain::transition::{Kind, Origin, Trigger};

fn decision(active: Color) -> Decision {
    let release = release(active);
    Decision::first(active, release, SystemTime::UNIX_EPOCH)
}

fn release(color: Color) -> Release {
    Release::new(if color == Color::Blue { "1" } else { "2" })
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn line(kind: Kind, second: u64, active: Color) -> Transition {
    let origin = Origin { trigger: Trigger::Api, actor: String::new(), source: String::new(), reason: None, key: None };
    Transition::new(kind, at(second), origin, decision(active))
}

#[track_caller]
fn recalled(oldest_first: &[Transition], expected: Option<(Color, u64)>) {
    let now = &oldest_first.last().expect("a line").decision;
    let left = Retired::recalled(now, oldest_first.iter().rev());
    let expected = expected.map(|(color, second)| Retired { color, release: release(color), at: at(second) });
    assert_eq!(left, expected);
}

#[test]
fn the_color_that_served_last_lingers_from_when_it_stopped() {
    use Color::{Blue, Green};
    recalled(&[line(Kind::Start, 1, Blue)], None);
    recalled(&[line(Kind::Start, 1, Blue), line(Kind::Switch, 5, Green)], Some((Blue, 5)));
    // Lines that move nothing do not renew it.
    let known = line(Kind::KnownGood, 9, Green);
    recalled(&[line(Kind::Start, 1, Blue), line(Kind::Switch, 5, Green), known], Some((Blue, 5)));
    let back = [line(Kind::Start, 1, Blue), line(Kind::Switch, 5, Green), line(Kind::Rollback, 7, Blue)];
    recalled(&back, Some((Green, 7)));
}

#[test]
fn nothing_lingers_after_a_move_without_overlap() {
    let apart = Transition { held: Some(Duration::from_millis(1)), ..line(Kind::Switch, 5, Color::Green) };
    recalled(&[line(Kind::Start, 1, Color::Blue), apart.clone()], None);
    let again = line(Kind::Rollback, 8, Color::Blue);
    recalled(&[line(Kind::Start, 1, Color::Blue), apart, again], Some((Color::Green, 8)));
}
