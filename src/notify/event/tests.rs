use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::transition::{Asked, Decision, Generation, Kind, Previous, Quarantined, Transition};
use crate::domain::verdict::{Class, Verdict};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_763_820_000 + seconds)
}

fn teller(name: Option<&str>, environment: Option<&str>, links: &[(&str, &str)]) -> Teller {
    Teller::new(ServiceConfig {
        name: name.map(str::to_owned),
        environment: environment.map(str::to_owned),
        instance: "edge-1".to_owned(),
        links: links.iter().map(|(label, url)| ((*label).to_owned(), (*url).to_owned())).collect::<BTreeMap<_, _>>(),
    })
}

fn transition(kind: Kind, seconds: u64) -> Transition {
    let (trigger, actor, source) = (Trigger::Api, "deploy".to_owned(), "10.0.0.9:1".to_owned());
    let decision = Decision {
        generation: Generation(7),
        known_good: Some(at(0)),
        ..Decision::first(Color::Blue, Release::new("2.9.4"), at(seconds))
    };
    let origin = Origin { trigger, actor, source, reason: None, key: None };
    Transition {
        from: Some((Color::Green, Release::new("3.0.0"))),
        took: Duration::from_millis(3),
        ..Transition::new(kind, at(seconds), origin, decision)
    }
}

#[test]
fn a_notice_calls_the_service_by_what_is_known_of_it() {
    let transition = transition(Kind::Rollback, 0);
    let headline = |name, environment| {
        let notice = teller(name, environment, &[]).transition(&transition, &Moment::default());
        notice.expect("news").headline
    };
    assert_eq!(headline(Some("shop"), Some("prod")), "shop/prod: rolled back to 2.9.4");
    assert_eq!(headline(None, Some("prod")), "prod: rolled back to 2.9.4");
    assert_eq!(headline(None, None), "edge-1: rolled back to 2.9.4");
}

#[test]
fn bad_news_come_with_numbers_where_there_are_any_and_without_invented_ones_where_not() {
    let teller = teller(Some("shop"), None, &[]);
    let rollback = transition(Kind::Rollback, 38);
    let whole = Moment {
        headline: None,
        served_since: Some(at(0)),
        exposure: Some(Exposure { requests: 1_910, errors: 2 }),
        before: Some(Rates { requests: 50.0, errors: 0.5 }),
        up: Some((3, 3)),
        way_back: None,
    };
    let notice = teller.transition(&rollback, &whole).expect("news");
    assert_eq!(
        notice.sentence,
        "Rolled back from 3.0.0 (green) to 2.9.4 (blue) by deploy. 3.0.0 had served for 38 s and answered 1,910 requests, 2 of them with 5xx (0.10 %)."
    );
    assert!(
        notice.fields.contains(&("Just before", "50.0 requests/s on green, 0.5 of them with 5xx (1.00 %)".to_owned()))
    );
    let notice =
        teller.transition(&rollback, &Moment { served_since: Some(at(0)), ..Moment::default() }).expect("news");
    assert!(notice.sentence.ends_with(" 3.0.0 had served for 38 s."), "{}", notice.sentence);
    let notice = teller.transition(&rollback, &Moment::default()).expect("news");
    assert_eq!(notice.sentence, "Rolled back from 3.0.0 (green) to 2.9.4 (blue) by deploy.");
    assert!(notice.fields.iter().all(|(name, _)| *name != "Just before"));
}

#[test]
fn a_switch_that_was_called_off_is_no_rollback() {
    let mut called_off = transition(Kind::Rollback, 100);
    called_off.decision.since = at(0);
    let notice = teller(None, None, &[]).transition(&called_off, &Moment::default()).expect("news");
    assert_eq!((notice.event, notice.severity), (NoticeEvent::Aborted, Severity::Warn));
    assert!(notice.sentence.contains("The switch to 3.0.0 (green) was cancelled"), "{}", notice.sentence);
}

#[test]
fn what_fails_itself_is_the_release_that_is_compared_with_also_when_the_other_one_has_the_traffic() {
    let mut line = samples::canary(Kind::BaselineUnhealthy, at(1));
    line.decision.active = Color::Green;
    line.decision.release = Release::new("2.14.0");
    let told = teller(None, None, &[]).transition(&line, &Moment::default()).expect("a notice");
    assert!(
        told.sentence.starts_with("2.13.0 (blue) fails itself, which 2.14.0 (green) is compared with"),
        "{}",
        told.sentence
    );
    line.judgement.as_mut().expect("it is judged").harmed = 500;
    let told = teller(None, None, &[]).transition(&line, &Moment::default()).expect("a notice");
    assert!(told.sentence.contains("both colors are affected, so it is not 2.14.0 alone"), "{}", told.sentence);
}

#[test]
fn what_is_noted_is_nobodys_news() {
    assert_eq!(teller(None, None, &[]).transition(&transition(Kind::Noted, 0), &Moment::default()), None);
}

#[test]
fn a_forced_switch_is_a_warning() {
    let mut forced = transition(Kind::Switch, 0);
    forced.forced = true;
    let known_good = Some(at(0));
    forced.decision.previous =
        Some(Previous { color: Color::Green, release: Release::new("3.0.0"), until: at(0), known_good });
    let notice = teller(None, None, &[]).transition(&forced, &Moment::default()).expect("news");
    assert_eq!((notice.event, notice.severity), (NoticeEvent::Promoted, Severity::Warn));
    assert!(notice.fields.contains(&("Gate", "skipped by `force`".to_owned())));
    assert!(notice.fields.contains(&("Way back", "to 3.0.0 on green, if it is still deployed there".to_owned())));
}

#[test]
fn a_way_back_to_what_never_was_known_good_is_none() {
    let mut switch = transition(Kind::Switch, 0);
    switch.decision.previous =
        Some(Previous { color: Color::Green, release: Release::new("3.0.0"), until: at(0), known_good: None });
    let notice = teller(None, None, &[]).transition(&switch, &Moment::default()).expect("news");
    assert!(notice.fields.contains(&("Way back", "none: 3.0.0 never was known good".to_owned())));
    assert_eq!(notice.data["rollback"]["possible"], false);
}

#[test]
fn a_way_back_that_the_data_stores_forbid_is_said_to_be_unsafe_and_why() {
    let way_back =
        WayBack { to: Ok((Color::Green, Release::new("3.0.0"))), safe: "no", why: Some("orders is at 43".to_owned()) };
    let moment = Moment { way_back: Some(way_back), ..Moment::default() };
    let notice = teller(None, None, &[]).transition(&transition(Kind::Switch, 0), &moment).expect("news");
    assert!(notice.fields.contains(&("Way back", "to 3.0.0 on green; safe: no (orders is at 43)".to_owned())));
    assert_eq!(
        notice.data["rollback"],
        json!({ "possible": true, "color": "green", "release": "3.0.0", "safe": "no", "why": "orders is at 43" })
    );
}

#[test]
fn a_release_that_may_not_come_again_is_named() {
    let mut rollback = transition(Kind::Rollback, 0);
    let (release, by, reason) = (Release::new("3.0.0"), "deploy".to_owned(), "errors".to_owned());
    rollback.decision.quarantine.push(Quarantined { release, since: at(0), by, reason });
    let notice = teller(None, None, &[]).transition(&rollback, &Moment::default()).expect("news");
    assert_eq!(notice.data["quarantined"], true);
    assert!(notice.fields.iter().any(|(name, text)| *name == "Quarantined" && text.starts_with("3.0.0 is refused")));
}

#[test]
fn a_refused_rollback_is_worse_than_a_refused_switch_and_being_late_is_nothing() {
    let told = |kind, code: &str| {
        let refused = Transition {
            refusal: Some((code.to_owned(), "no".to_owned())),
            asked: Some(Asked { kind, to: None }),
            ..transition(Kind::Refused, 0)
        };
        let notice = teller(None, None, &[]).transition(&refused, &Moment::default()).expect("news");
        (notice.event, notice.severity)
    };
    assert_eq!(told(Kind::Rollback, "no_known_good"), (NoticeEvent::RollbackBlocked, Severity::Error));
    assert_eq!(told(Kind::Switch, "unhealthy"), (NoticeEvent::Refused, Severity::Warn));
    assert_eq!(told(Kind::Rollback, "stale_generation"), (NoticeEvent::Refused, Severity::Info));
}

#[test]
fn the_severity_of_an_endpoint_goes_by_who_is_hit() {
    let target = |active, up| Target {
        headline: None,
        color: Color::Blue,
        active,
        upstream: "default".to_owned(),
        endpoint: "a:1".to_owned(),
        detail: "503".to_owned(),
        up: (up, 3),
    };
    let severity = |healthy, target: &Target| teller(None, None, &[]).target(at(0), healthy, target).severity;
    assert_eq!(severity(false, &target(true, 0)), Severity::Page);
    assert_eq!(severity(false, &target(true, 2)), Severity::Error);
    assert_eq!(severity(false, &target(false, 0)), Severity::Warn);
    assert_eq!(severity(true, &target(true, 3)), Severity::Info);
}

#[test]
fn what_is_filled_into_a_link_stays_a_part_of_it() {
    let links = [("Diff", "https://x/compare/{from}...{to}?c={color}&e={event_id}")];
    let mut transition = transition(Kind::Rollback, 0);
    transition.from = Some((Color::Green, Release::new("3.0/../&x=ü#")));
    let notice = teller(None, None, &links).transition(&transition, &Moment::default()).expect("news");
    let expected = format!("https://x/compare/3.0%2F..%2F%26x%3D%C3%BC%23...2.9.4?c=blue&e={}", notice.id.as_str());
    assert_eq!(notice.links, [("Diff".to_owned(), expected)]);
}

#[test]
fn an_id_is_of_what_happened_whoever_tells_it_and_however_often() {
    let id = EventId::of_transition;
    let one = transition(Kind::Rollback, 5);
    // Fields that the ledger adds while it tries again, and a time below its resolution of a microsecond.
    let mut again = one.clone();
    again.decision.seen.active = Color::Green;
    again.at += Duration::from_nanos(300);
    assert_eq!(id(&one), id(&again));
    let differs: [fn(&mut Transition); 6] = [
        |t| t.kind = Kind::Switch,
        |t| t.at += Duration::from_micros(1),
        |t| t.decision.generation = Generation(8),
        |t| t.origin.actor = "other".to_owned(),
        |t| t.from = None,
        |t| t.refusal = Some(("unhealthy".to_owned(), String::new())),
    ];
    for differ in differs {
        let mut other = one.clone();
        differ(&mut other);
        assert_ne!(id(&one), id(&other), "{other:?}");
    }
}

#[test]
fn a_release_serves_since_it_was_brought_in_whatever_was_refused_since() {
    let mut called_off = transition(Kind::Rollback, 30);
    called_off.decision.since = at(0);
    let lines = [
        (4, Arc::new(called_off)),
        (3, Arc::new(transition(Kind::Seen, 20))),
        (2, Arc::new(transition(Kind::Switch, 10))),
        (1, Arc::new(transition(Kind::Start, 0))),
    ];
    let next = transition(Kind::Rollback, 40);
    assert_eq!(served_since(&next, &lines), Some(at(10)));
    assert_eq!(served_since(&next, &[]), None);
}

/// A canary of green's 3.0.0, at a second.
fn canary(kind: Kind, seconds: u64) -> Transition {
    let mut line = samples::canary(kind, at(seconds));
    if let Some(deployment) = &mut line.decision.deployment {
        deployment.release = Release::new("3.0.0");
    }
    line
}

#[test]
fn a_canary_that_is_taken_back_has_had_requests_since_it_began_and_not_as_long_as_the_other_serves() {
    let mut rollback = transition(Kind::Rollback, 40);
    rollback.origin.trigger = Trigger::Automatic;
    (rollback.decision.since, rollback.took) = (at(0), Duration::ZERO);
    rollback.judgement = canary(Kind::Suspect, 35).judgement;
    let mut lines = vec![
        (4, Arc::new(canary(Kind::Suspect, 35))),
        (3, Arc::new(canary(Kind::Canary, 30))),
        (2, Arc::new(transition(Kind::Switch, 10))),
    ];
    assert_eq!(served_since(&rollback, &lines), Some(at(30)));
    let moment = Moment { served_since: Some(at(30)), ..Moment::default() };
    let notice = teller(Some("shop"), None, &[]).transition(&rollback, &moment).expect("news");
    assert!(notice.sentence.ends_with(" 3.0.0 had served for 10 s."), "{}", notice.sentence);
    let names: Vec<_> = notice.fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Exposure", "Findings", "Evidence", "Now"], "nothing that is over, or never was");
    // So it is when it has the traffic; and what it takes over from is not the canary.
    lines.insert(0, (5, Arc::new(transition(Kind::Switch, 38))));
    assert_eq!(served_since(&rollback, &lines), Some(at(30)));
    let mut switch = transition(Kind::Switch, 38);
    switch.from = Some((Color::Blue, Release::new("2.9.4")));
    assert_eq!(served_since(&switch, &lines[1..]), Some(at(10)));
}

#[test]
fn every_notice_ends_with_the_command_that_answers_it() {
    let service =
        ServiceConfig { name: None, environment: None, instance: "edge-1".to_owned(), links: BTreeMap::new() };
    for notice in samples(&service, at(0)) {
        let (_, command) = notice.next.rsplit_once("`cutover ").unwrap_or_else(|| panic!("{}", notice.next));
        assert!(command.contains('`'), "{}: {}", notice.event, notice.next);
    }
}

#[test]
fn a_drained_color_that_is_the_way_back_is_not_called_free() {
    use crate::domain::transition::{Drained, InFlight};
    let mut line = transition(Kind::Drained, 0);
    line.drained = Some(Drained {
        color: Color::Green,
        took: Duration::from_secs(3),
        ended: InFlight { requests: 1, streams: 0, tunnels: 0 },
        timed_out: true,
    });
    let told = |line: &Transition| teller(None, None, &[]).transition(line, &Moment::default()).expect("news");
    assert!(told(&line).next.contains("No rollback leads to green"), "{}", told(&line).next);
    let (color, release) = (Color::Green, Release::new("3.0.0"));
    line.decision.previous = Some(Previous { color, release, until: at(0), known_good: Some(at(0)) });
    let notice = told(&line);
    assert!(notice.next.contains("Keep 3.0.0 on green running: it is the rollback target."), "{}", notice.next);
    assert!(notice.sentence.contains("1 request cut off at drain.timeout"), "{}", notice.sentence);
}

#[test]
fn a_canary_that_is_withdrawn_for_its_4xx_is_told_with_the_evidence_of_those() {
    let mut line = canary(Kind::Abort, 40);
    let mut judgement = canary(Kind::Suspect, 35).judgement.expect("a verdict");
    (judgement.evidence, judgement.hold, judgement.verdict) = (0, 84_406, Verdict::Suspect);
    judgement.findings.truncate(1);
    judgement.findings[0].class = Class::ClientError;
    (line.judgement, line.decision.deployment) = (Some(judgement), None);
    let notice = teller(None, None, &[]).transition(&line, &Moment::default()).expect("news");
    let evidence = "84,406:1, enough to stop it; a rollback needs evidence of another kind";
    assert!(notice.fields.contains(&("Evidence", evidence.to_owned())), "{:?}", notice.fields);
    assert!(notice.fields.iter().all(|(name, _)| *name != "Next step needs"), "it does not go on: {:?}", notice.fields);
}

#[test]
fn the_last_endpoint_that_dies_is_told_with_the_command_of_the_headline() {
    use crate::domain::headline::{Finding, Level};
    let headline = Finding {
        level: Level::Outage,
        code: "live_color_down",
        sentence: "no endpoint of blue is up".to_owned(),
        purpose: "To recover",
        next: "cutover switch green --reason \"outage\"".to_owned(),
    };
    let target = Target {
        color: Color::Blue,
        active: true,
        upstream: "default".to_owned(),
        endpoint: "10.0.0.1:8080".to_owned(),
        detail: "503".to_owned(),
        up: (0, 1),
        headline: Some(headline.clone()),
    };
    let notice = teller(None, None, &[]).target(at(0), false, &target);
    assert_eq!(notice.next, "Clients get 503. To recover: `cutover switch green --reason \"outage\"`.");
    let moment = Moment { headline: Some(headline), ..Moment::default() };
    let notice = teller(None, None, &[]).transition(&transition(Kind::Switch, 0), &moment).expect("news");
    let status = notice.fields.iter().find(|(name, _)| *name == "Status").expect("a field");
    assert!(status.1.starts_with("OUTAGE: no endpoint of blue is up. To recover: "), "{}", status.1);
    assert_eq!(notice.data["headline"]["code"], "live_color_down");
}
