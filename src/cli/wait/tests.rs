use super::*;
use crate::admin::api::{Draining, EndpointAnswer};
use crate::cli::render::tests::status;
use crate::domain::color::Color;

fn nothing() -> Wait {
    Wait { active: None, healthy: None, drained: false, safe_to_stop: None, timeout: Duration::from_secs(1) }
}

fn draining() -> Option<Draining> {
    Some(Draining { color: "green".to_owned(), requests: 1, streams: 0, tunnels: 0, ends_in_ms: 1000 })
}

#[test]
fn with_no_condition_nothing_may_be_under_way() {
    assert_eq!(missing(&status(), &nothing()), None);
    let mut moving = status();
    moving.phase = "gating".to_owned();
    assert_eq!(missing(&moving, &nothing()).as_deref(), Some("a move is gating"));
    let mut busy = status();
    busy.draining = draining();
    assert!(missing(&busy, &nothing()).is_some_and(|why| why.contains("1 request")));
}

#[test]
fn each_condition_is_about_what_it_names_alone() {
    let mut now = status();
    now.draining = draining();
    assert_eq!(missing(&now, &Wait { active: Some(Color::Blue), ..nothing() }), None);
    assert_eq!(missing(&now, &Wait { active: Some(Color::Green), ..nothing() }).as_deref(), Some("blue serves"));
    assert_eq!(missing(&now, &Wait { healthy: Some(Color::Blue), ..nothing() }), None);
    assert!(missing(&now, &Wait { drained: true, ..nothing() }).is_some());
    now.green.endpoints.push(EndpointAnswer {
        health: "down".to_owned(),
        detail: "503".to_owned(),
        ..now.green.endpoints[0].clone()
    });
    let why = missing(&now, &Wait { healthy: Some(Color::Green), ..nothing() });
    assert!(why.as_ref().is_some_and(|why| why.contains("down: 503")), "{why:?}");
}

#[test]
fn a_refusal_counts_only_while_the_color_does_not_serve() {
    let mut now = status();
    now.file.refusal = Some(problem(409));
    assert!(refusal(&now, &Wait { active: Some(Color::Green), ..nothing() }).is_some());
    assert!(refusal(&now, &Wait { active: Some(Color::Blue), ..nothing() }).is_none());
    assert!(refusal(&now, &nothing()).is_none());
}

fn problem(status: u16) -> Problem {
    serde_json::from_value(serde_json::json!({ "status": status, "code": "c", "title": "t", "detail": "d" }))
        .expect("a problem")
}

#[test]
fn a_proxy_that_starts_or_stops_is_waited_for_and_one_that_refuses_is_not() {
    assert!(may_pass(&Failure::Unreachable(String::new())));
    assert!(may_pass(&Failure::TimedOut(String::new())));
    assert!(may_pass(&Failure::Refused(Box::new(problem(503)))));
    assert!(!may_pass(&Failure::Refused(Box::new(problem(401)))));
    assert!(!may_pass(&Failure::Failed(String::new())));
}
