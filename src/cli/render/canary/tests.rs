use serde_json::json;

use super::*;
use crate::admin::api::{EventAnswer, OddsAnswer, RouteAnswer};
use crate::cli::render::evidence::ratio;

fn seen(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

pub(crate) fn canary() -> CanaryStatus {
    serde_json::from_value(json!({
        "id": "dep-42", "color": "green", "release": "2.0", "stable": "1.0", "stage": "step", "step": 1, "weight": 5.0,
        "plan": { "steps": [5.0, 25.0, 50.0], "dwell_s": 30.0, "max_step_s": 1800.0, "on_insufficient": "hold",
                  "holdback": 2.0, "bake_s": 900.0 },
        "mode": "enforce", "since": "2026-01-01T00:00:00.000Z", "for_s": 12.0,
        "next": { "weight": 25.0, "in_s": 18.0, "at_most_s": 1788.0, "needs_requests": 120, "needs_s": 40.0 },
        "evidence": { "worse": { "odds": 12.0, "limit": 1000.0 }, "no_worse": { "odds": 8.0, "limit": 20.0 },
                      "baseline_unhealthy": false, "without_control": false },
    }))
    .expect("a canary")
}

pub(crate) fn answer() -> CanaryAnswer {
    CanaryAnswer {
        phase: "canary".to_owned(),
        active: "blue".to_owned(),
        release: "1.0".to_owned(),
        generation: 42,
        split: crate::admin::api::SplitAnswer { blue: 95.0, green: 5.0 },
        canary: Some(canary()),
        cooldown_until: None,
        verifying_s: None,
        both_unhealthy: false,
    }
}

fn route(name: Option<&str>, requests: (u64, u64), errors: u64, odds: f64) -> RouteAnswer {
    let side = |assigned: u64, errors: u64, p90: f64| {
        json!({ "assigned": assigned, "completed": assigned, "errors": errors, "client_errors": 0, "aborts": 0,
                "latency": { "p50_ms": 8.25, "p90_ms": p90, "p99_ms": 612.4 } })
    };
    serde_json::from_value(json!({
        "route": name, "stable": side(requests.0, 1, 301.0), "candidate": side(requests.1, errors, 912.0),
        "evidence": [{ "class": "error", "odds": 1.2 }, { "class": "slow_p90", "odds": odds }],
    }))
    .expect("a route")
}

#[test]
fn events_of_the_application_are_compared_by_name() {
    let line = |candidate: u64, stable: u64| {
        let of: EventAnswer = serde_json::from_value(json!({
            "event": "order", "bad": "fewer", "tolerate": 10.0, "odds": 12.0,
            "candidate": { "requests": 10_000, "told": candidate }, "stable": { "requests": 190_000, "told": stable },
        }))
        .expect("an event");
        seen(&event(&of, &other("green")))
    };
    let said = "order: 20 % fewer than on blue (4.0 % against 5.0 % of requests; 10 % fewer tolerated) 12:1";
    assert_eq!(line(400, 9_500), said);
    assert!(line(500, 9_500).starts_with("order: as many as on blue ("));
    assert!(line(0, 9_500).starts_with("order: 100 % fewer than on blue (0 % against"));
    assert!(
        line(1, 0).starts_with("order: more than on blue (") && line(0, 0).starts_with("order: none, as on blue (")
    );
}

#[test]
fn the_view_shows_the_share_the_clock_and_evidence_toward_both_verdicts() {
    let text = seen(&super::canary(&answer()));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "canary       dep-42 · green 2.0 against blue 1.0 · enforce");
    assert_eq!(lines[1], "weight       ██···························· 5 % · step 1 of 3, next 25 %");
    assert_eq!(
        lines[2..4],
        ["step         12 s of at least 30 s; pauses in 30 min if the evidence is still", "             insufficient"]
    );
    assert_eq!(lines[4], "regression   ███████████··················· 12:1 of 1,000:1");
    assert_eq!(lines[5], "health       █████████████████████········· 8.0:1 of 20:1");
    assert_eq!(lines[6], "             needs about 120 more requests to prove health, 40 s");
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn the_table_has_all_routes_first_and_then_the_most_suspicious() {
    let mut now = answer();
    let rows = [
        route(None, (14_535, 765), 62, 3.0),
        route(Some("/a"), (900, 40), 0, 1.0),
        route(Some("/checkout"), (61, 7), 1, 18_400.0),
    ];
    now.canary.as_mut().expect("there").routes = rows.to_vec();
    let text = seen(&super::canary(&now));
    let table: Vec<_> = text.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    assert_eq!(
        table,
        [
            "stable / candidate",
            "route          requests          errors     p90 ms     p99 ms         worse",
            "all        14,535 / 765  0.01 % / 8.1 %  301 / 912  612 / 612     3.0:1 p90",
            "/checkout        61 / 7    1.6 % / 14 %  301 / 912  612 / 612  18,400:1 p90",
            "/a             900 / 40    0.11 % / 0 %  301 / 912  612 / 612             -",
        ],
        "{text}"
    );
    let long = "/a/very/long/route/that/has/no/room/beside/its/numbers";
    now.canary.as_mut().expect("there").routes = vec![route(None, (9, 9), 0, 1.0), route(Some(long), (9, 9), 0, 1.0)];
    let text = seen(&super::canary(&now));
    assert!(text.contains(&format!("\n{long}\n  ")), "it has a line of its own: {text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn why_it_goes_no_further_is_said_in_words() {
    for (stopped, said) in [
        ("frozen", "moves are frozen"),
        ("cooling_down", "cooling down after a rollback"),
        ("suspect", "PAUSED: probably worse"),
        ("baseline_unhealthy", "PAUSED: blue 1.0, which it is compared with, fails"),
        ("by_hand", "only observed"),
    ] {
        let mut now = canary();
        now.next.as_mut().expect("there").stopped = Some(stopped.to_owned());
        let text = seen(&tick(&now));
        assert!(text.contains(said), "{stopped}: {text}");
        assert!(!clock(&now).contains("insufficient"), "the clock does not run");
    }
    let mut now = canary();
    let held = json!({ "by": "deploy", "reason": "a look at\u{1b}[2J the logs", "since": "t" });
    now.held = serde_json::from_value(held).ok();
    let text = seen(&tick(&now));
    assert!(text.contains("PAUSED by deploy: a look at [2J the logs; to continue: cutover canary resume"), "{text}");
    let evidence = now.evidence.as_mut().expect("there");
    (evidence.without_control, evidence.split_off, evidence.stable_worse) = (true, true, true);
    evidence.few_networks = Some(1);
    let text = seen(&tick(&now));
    for said in [
        "compared with the time before",
        "differs from the weight",
        "is the worse one",
        "from 1 client network; `listen.trusted_proxies`",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_line_is_news_when_something_else_than_numbers_changed() {
    let now = canary();
    let mut later = canary();
    later.for_s = 20.0;
    later.evidence.as_mut().expect("there").worse.odds = 30.0;
    assert_eq!(place(&now), place(&later));
    later.weight = 25.0;
    assert_ne!(place(&now), place(&later));
    assert_eq!(
        seen(&tick(&now)),
        "green 2.0 · 5 % · step 1 of 3, next 25 % · evidence of a regression 12:1 (rollback at 1,000:1), of health 8.0:1 \
         (next step at 20:1) · needs about 120 more requests to prove health, 40 s\n"
    );
}

#[test]
fn without_one_the_color_that_serves_is_named_and_what_a_rollback_has_left() {
    let mut now = CanaryAnswer { canary: None, ..answer() };
    assert_eq!(seen(&super::canary(&now)), "No canary is running; blue (release 1.0) has all of the traffic.\n");
    (now.both_unhealthy, now.verifying_s) = (true, Some(20.0));
    let text = seen(&super::canary(&now));
    assert!(text.contains("the rollback did not help") && text.contains("checking for 20 s more"), "{text}");
}

#[test]
fn a_command_is_told_in_a_line_or_two() {
    let mut moved_to = CanaryMoved {
        warnings: Vec::new(),
        quarantined: None,
        file_problem: None,
        overrode: Vec::new(),
        cancelled: None,
        changed: true,
        durable: true,
        active: "blue".to_owned(),
        release: "1.0".to_owned(),
        generation: 42,
        at: "t".to_owned(),
        took_us: 1_500,
        split: crate::admin::api::SplitAnswer { blue: 95.0, green: 5.0 },
        canary: Some(canary()),
    };
    assert_eq!(
        seen(&moved(&moved_to, "Started")),
        "Started: green 2.0 gets 5 % of the requests (step 1 of 3), generation 42.\n\
         Steps: 5 %, 25 %, 50 %; `cutover canary watch` follows it, `cutover canary abort` takes it back at once.\n"
    );
    moved_to.changed = false;
    let text = seen(&moved(&moved_to, "Held"));
    assert!(text.starts_with("Nothing changed: ") && text.ends_with("(step 1 of 3).\n"), "{text}");
    (moved_to.changed, moved_to.durable, moved_to.canary) = (true, false, None);
    let text = seen(&moved(&moved_to, "Called off"));
    assert!(text.starts_with("Called off: blue (release 1.0) has all of the traffic, generation 42.\n"), "{text}");
    assert!(text.contains("not on disk yet"), "{text}");
}

#[test]
fn the_end_names_the_reason_and_what_the_verdict_rests_on() {
    let rolled_back: TransitionAnswer = serde_json::from_value(json!({
        "sequence": 9, "kind": "rollback", "at": "t", "from": "green", "from_release": "2.0", "to": "blue", "release": "1.0",
        "generation": 43, "trigger": "automatic", "actor": "automatic", "reason": "the evidence", "forced": false, "took_us": 900,
        "judgement": { "verdict": "fail", "evidence": 18400, "limit": 1000, "words": "w", "baseline_unhealthy": false,
            "without_control": false, "exposed": 765, "harmed": 62, "findings": [{ "class": "error",
            "words": "errors on all routes: 8.1 % against 0.10 %", "candidate": { "requests": 765, "bad": 62 },
            "stable": { "requests": 14535, "bad": 15 }, "evidence": 18400 }] },
    }))
    .expect("a transition");
    assert_eq!(
        seen(&ended(&canary(), "taken_back", Some(&rolled_back))),
        "Taken back: green 2.0 gets no more requests.\n  \
         rolled back green 2.0 -> blue 1.0 in less than 1 ms · automatic automatic: the evidence\n  \
         worse · evidence 18,400:1 of 1,000:1 · 765 requests, 62 errors\n    \
         errors on all routes: 8.1 % against 0.10 % (18,400:1)\n"
    );
    assert_eq!(seen(&ended(&canary(), "known_good", None)), "Done: green 2.0 has the traffic, and is known good.\n");
}

#[test]
fn numbers_are_short() {
    let odds = [0.2, 1.0, 1.26, 9.96, 999.6, 1e12].map(ratio);
    assert_eq!(odds, ["1:1", "1:1", "1.3:1", "10:1", "1,000:1", "over 1,000,000,000:1"]);
    assert_eq!([5.0, 0.25, 12.5, 100.0].map(percent), ["5 %", "0.25 %", "12.5 %", "100 %"]);
    assert_eq!([0.4, 119.0, 120.0, 7_200.0].map(span), ["0 s", "119 s", "2 min", "2 h"]);
}

#[test]
fn a_step_that_takes_longer_than_it_may_is_told_at_the_start_with_steps_that_would_do() {
    let mut now = canary();
    let next = now.next.as_mut().expect("there");
    (next.needs_s, next.at_most_s) = (Some(10_900.0), Some(1_800.0));
    let said = "At the present rate this step takes about 3 h, and it has 30 min; larger steps are proved sooner: \
                `cutover canary abort`, then `cutover canary start --steps 50%`";
    assert!(seen(&hint_and_pace(&now)).contains(said), "{}", seen(&hint_and_pace(&now)));
    assert!(seen(&tick(&now)).contains(said));
    now.next.as_mut().expect("there").needs_s = Some(1_000.0);
    assert!(!seen(&tick(&now)).contains("At the present rate"), "it has the time");
}

fn hint_and_pace(now: &CanaryStatus) -> String {
    pace(now, now.next.as_ref().expect("there")).unwrap_or_default()
}

#[test]
fn spans_are_rounded_and_not_rounded_up() {
    assert_eq!([119.4, 121.0, 151.0, 600.0].map(span), ["119 s", "2 min", "3 min", "10 min"]);
}

#[test]
fn health_is_no_full_bar_beside_a_route_that_is_broken() {
    let mut now = answer();
    let evidence = now.canary.as_mut().and_then(|canary| canary.evidence.as_mut()).expect("there");
    evidence.no_worse = Some(OddsAnswer { odds: 9e9, limit: 20.0 });
    evidence.veto = Some("client_errors".to_owned());
    evidence.misses_files = true;
    let text = seen(&super::canary(&now));
    assert!(text.contains("health       ······························ none: see below"), "{text}");
    assert!(text.contains("no step follows: a route answers 4xx"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("pages of one release ask for files of the other: set `canary.sticky`"), "{text}");
}

#[test]
fn routes_with_too_few_requests_to_be_judged_are_named() {
    let mut now = answer();
    let rows = (0..7).map(|n| {
        let few: &[&str] = if n == 0 { &["errors", "latency"] } else { &["latency"] };
        RouteAnswer {
            too_few: few.iter().map(|of| (*of).to_owned()).collect(),
            ..route(Some(&format!("/{n}")), (9, 9), 0, 1.0)
        }
    });
    now.canary.as_mut().expect("there").routes = rows.collect();
    let text = seen(&super::canary(&now));
    assert!(text.contains("too few requests to judge errors: /0\n"), "{text}");
    assert!(text.contains("too few requests to judge latency: /0, /1, /2, /3, /4 and 2 more\n"), "{text}");
}
