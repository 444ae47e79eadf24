use serde_json::json;

use super::*;
use crate::cli::render::canary::tests::{answer, canary};

fn transition(kind: &str, from: Option<&str>, release: &str) -> TransitionAnswer {
    serde_json::from_value(json!({
        "sequence": 1, "kind": kind, "at": "2026-01-01T00:00:01.000Z", "from_release": from, "to": "blue", "release": release, "generation": 1,
        "trigger": "api", "actor": "a", "forced": false, "took_us": 0,
    }))
    .expect("a transition")
}

#[test]
fn another_deployment_means_that_the_one_that_was_followed_is_over() {
    let now = answer();
    assert!(matches!(look(&now, None), Look::Under(_)), "whatever is on its way is followed");
    assert!(matches!(look(&now, Some(&canary())), Look::Under(_)));
    let other = CanaryStatus { id: "dep-1".to_owned(), ..canary() };
    assert!(matches!(look(&now, Some(&other)), Look::Over));
    let nothing = CanaryAnswer { canary: None, ..now };
    assert!(matches!(look(&nothing, Some(&canary())), Look::Over));
    assert!(matches!(look(&nothing, None), Look::Over));
}

#[test]
fn the_end_is_told_by_the_transition_that_made_it() {
    let gone = canary();
    assert!(speaks_of(&transition("rollback", Some("2.0"), "1.0"), &gone, false));
    assert!(speaks_of(&transition("abort", None, "1.0"), &gone, false));
    assert!(!speaks_of(&transition("rollback", Some("1.9"), "1.0"), &gone, false), "that was another one");
    let old =
        TransitionAnswer { at: "2025-12-31T00:00:00.000Z".to_owned(), ..transition("rollback", Some("2.0"), "1.0") };
    assert!(!speaks_of(&old, &gone, false), "that was another time");
    assert!(!speaks_of(&transition("suspect", None, "1.0"), &gone, false));
    assert!(speaks_of(&transition("switch", Some("1.0"), "2.0"), &gone, true));
    assert!(!speaks_of(&transition("switch", Some("2.0"), "1.0"), &gone, true));
}
