use serde_json::json;

use super::moves::moved;
use super::*;
use crate::admin::api::{HistoryAnswer, StatusAnswer, SwitchAnswer};

/// A proxy at rest: blue serves, green stands by.
pub(crate) fn status() -> StatusAnswer {
    let color = |release: &str, endpoint: &str| {
        json!({
            "release": release,
            "endpoints": [{ "upstream": "default", "endpoint": endpoint, "health": "up", "detail": "200",
                            "since": "2026-01-01T00:00:00.000Z" }],
            "requests": 2, "streams": 1, "tunnels": 0, "requests_total": 9,
            "requests_per_second": 12.34, "errors_per_second": 0.0,
        })
    };
    serde_json::from_value(json!({
        "headline": { "level": "ok", "code": "ok", "sentence": "blue (1.0) serves, 1 of 1 endpoint up" },
        "active": "blue", "release": "1.0", "generation": 7, "since": "2026-01-01T00:00:00.000Z",
        "durable": true, "phase": "steady",
        "blue": color("1.0", "127.0.0.1:9001"), "green": color("2.0", "unix:/run/green.sock"),
        "rollback": { "possible": true, "safe": "yes", "to": "green", "release": "2.0" },
        "file": { "path": "/etc/c.toml", "active": "blue", "disagrees": false, "order": "done" },
        "http_address": "0.0.0.0:8080", "access_log_dropped": 0, "version": "1.2.3", "uptime_s": 61.0,
    }))
    .expect("a status")
}

fn seen(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Every word of the text fits into 80 columns.
fn fits(text: &str) {
    for line in text.lines() {
        let command = line.starts_with("  ") && line.contains(": cutover ");
        assert!(command || line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn a_status_without_problems_is_short_and_aligned() {
    let text = seen(&super::status(&status(), false));
    fits(&text);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "OK: blue (1.0) serves, 1 of 1 endpoint up.");
    assert_eq!(lines[1], "");
    assert!(lines[2].starts_with("serving      blue 1.0 · generation 7 · since 2026-01-01 00:00:00 UTC ("), "{text}");
    assert_eq!(lines[3], "rollback     ready: to green (2.0), 1/1 up");
    assert_eq!(lines[4], "blue         1.0 · 1/1 up · 3 in flight · 12.3 requests/s · 0.0 errors/s");
    assert!(lines[5].starts_with("             default  127.0.0.1:9001  up        200, for "), "{text}");
    assert_eq!(lines[8], "file         /etc/c.toml: active = \"blue\" (in force)");
    assert_eq!(lines[9], "proxy        serves on 0.0.0.0:8080 · up 1 min · version 1.2.3");
    assert_eq!(lines.len(), 10, "{text}");
}

#[test]
fn a_status_says_whether_the_other_color_may_be_stopped_where_it_has_a_release() {
    let mut now = status();
    now.green.safe_to_stop.safe = true;
    now.green.safe_to_stop.needed_by.clear();
    assert!(seen(&super::status(&now, false)).contains("\nsafe_to_stop green: yes\n"));
    now.green.safe_to_stop = serde_json::from_value(json!({
        "safe": false, "needed_by": [{ "need": "drain", "detail": "it still drains", "until": "2026-01-01T00:00:00.123Z" }],
    }))
    .expect("one");
    let text = seen(&super::status(&now, false));
    assert!(text.contains("\nsafe_to_stop green: no, it still drains, until 2026-01-01 00:00:00 UTC\n"), "{text}");
    now.green.release.clear();
    assert!(!seen(&super::status(&now, false)).contains("safe_to_stop"));
}

#[test]
fn a_status_with_every_problem_names_each() {
    let mut now = status();
    let moving = json!({ "kind": "switch", "to": "green", "release": "2.0", "whose": "alice's switch", "actor": "alice", "reason": "deploy 2.0",
                         "since": "2026-01-01T00:00:00Z", "ends_in_ms": 20_300, "phase": "health_checks",
                         "waits_for": "g:1 refused" });
    now.moving = serde_json::from_value(moving).expect("a move");
    now.draining = Some(Draining { color: "green".to_owned(), requests: 1, streams: 2, tunnels: 0, ends_in_ms: 1500 });
    now.green.endpoints[0].health = "down".to_owned();
    now.green.endpoints[0].detail = "503".to_owned();
    now.rollback.why = Some("1 of 1 endpoints of green is down".to_owned());
    now.file.disagrees = true;
    now.file.order = "refused".to_owned();
    now.file.refusal = serde_json::from_value(
        json!({ "status": 409, "code": "unhealthy", "title": "t", "detail": "green is not healthy" }),
    )
    .ok();
    now.file.write_back_error = Some("read-only file system".to_owned());
    now.file.error = Some("error: first line\n  second line\n".to_owned());
    now.access_log_dropped = 1;
    now.maintenance = true;
    now.known_good_in_s = Some(840.0);
    let text = seen(&super::status(&now, false));
    fits(&text);
    for said in [
        "switching    to green: waiting for health checks (g:1 refused), 21 s left\n             (alice: deploy 2.0)",
        "maintenance  ON: every request gets the maintenance answer",
        "             becomes a rollback target in 14 min, if it keeps serving",
        "rollback     blocked: to green (2.0), 0/1 up: 1 of 1 endpoints of green is down",
        "draining     green: 1 request, 2 streams, 0 tunnels; the rest is cut off in",
        "unix:/run/green.sock  down      503, for ",
        "file         /etc/c.toml: active = \"blue\" (refused)",
        "             unhealthy: green is not healthy",
        "             could not be written: read-only file system",
        "             not valid; the last good configuration stays in force\n             error: first line\nlog",
        "log          1 access log line dropped",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    assert!(seen(&super::status(&now, true)).contains("\n             second line\n"), "-v draws the whole error");
    assert!(!text.contains("schema"), "without labels nothing is said of schemas: {text}");
    now.stores = serde_json::from_value(json!([{ "store": "orders", "version": 2, "source": "probe" }])).expect("one");
    (now.rollback.safe, now.rollback.unsafe_why) = ("no".to_owned(), Some("orders 2, 1.0 needs 1".to_owned()));
    let text = seen(&super::status(&now, false));
    assert!(
        text.contains("schema       unsafe: orders 2, 1.0 needs 1\n             orders 2, by its probe\n"),
        "{text}"
    );
    now.rollback.possible = false;
    (now.rollback.to, now.rollback.release) = (None, None);
    now.rollback.why = Some("nothing served before".to_owned());
    assert!(seen(&super::status(&now, false)).contains("rollback     impossible: nothing served before"));
}

#[test]
fn endpoints_keep_their_order_and_long_texts_hang_within_80_columns() {
    let mut now = status();
    let mut endpoint = now.blue.endpoints[0].clone();
    endpoint.endpoint = "127.0.0.1:8999".to_owned();
    endpoint.detail = "timed out after 1s ".repeat(8);
    endpoint.ejected_for_ms = Some(9_000);
    now.blue.endpoints.push(endpoint);
    let text = seen(&super::status(&now, false));
    fits(&text);
    assert!(text.find("127.0.0.1:8999") < text.find("127.0.0.1:9001"), "{text}");
    assert!(text.contains("ejected for"), "{text}");
}

#[test]
fn a_headline_names_every_condition_and_keeps_its_commands_in_one_line() {
    let mut now = status();
    let command = "cutover unfreeze --reason \"outage\" && cutover switch green --force --reason \"outage\"";
    now.headline = serde_json::from_value(json!({
        "level": "outage", "code": "live_color_down",
        "sentence": "no endpoint of blue is up, all requests get 503 (127.0.0.1:9001: connection refused)",
        "purpose": "To recover", "next": command,
        "others": [{ "level": "note", "code": "frozen", "sentence": "moves are frozen (alice: db); rollback still works",
                     "purpose": "To allow moves", "next": "cutover unfreeze" }],
    }))
    .expect("a headline");
    let text = seen(&super::headline(&now.headline));
    fits(&text);
    assert_eq!(
        text,
        format!(
            "OUTAGE: no endpoint of blue is up, all requests get 503 (127.0.0.1:9001:\n  connection refused).\n  \
             To recover: {command}\nNote: moves are frozen (alice: db); rollback still works.\n  \
             To allow moves: cutover unfreeze\n"
        )
    );
    assert!(!now.headline.is_ok());
}

#[test]
fn durations_have_about_three_figures() {
    for (micros, said) in [
        (0, "less than 1 ms"),
        (999, "less than 1 ms"),
        (1_000, "1.0 ms"),
        (250_000, "250.0 ms"),
        (1_500_000, "1.5 s"),
        (59_000_000, "59.0 s"),
        (60_000_000, "1 min"),
        (3_600_000_000, "1 h"),
        (172_800_000_000, "2 days"),
    ] {
        assert_eq!(short(Duration::from_micros(micros)), said);
    }
}

#[test]
fn a_move_is_told_in_one_line_and_a_look_never_sounds_like_one() {
    let mut answer: SwitchAnswer = serde_json::from_value(json!({
        "changed": true, "active": "green", "previous": "blue", "release": "2.0", "generation": 8,
        "at": "2026-01-01T00:00:00.000Z", "took_us": 1500, "durable": true,
    }))
    .expect("an answer");
    assert_eq!(seen(&moved(&answer, "Switched")), "Switched to green (release 2.0) in 1.5 ms, generation 8.\n");
    answer.durable = false;
    assert!(moved(&answer, "Rolled back").contains("not on disk yet"));
    answer.dry_run = true;
    let would = seen(&moved(&answer, "Switched"));
    assert!(would.starts_with("Would switch to green") && would.contains("Nothing was changed"), "{would}");
    answer.changed = false;
    assert!(moved(&answer, "Switched").starts_with("Would change nothing"));
    answer.dry_run = false;
    assert!(moved(&answer, "Switched").ends_with("nothing changed.\n"));
}

#[test]
fn what_others_wrote_moves_no_cursor() {
    let evil = "a\u{1b}[2Jb\rc\u{7}";
    let refused: Problem = serde_json::from_value(json!({
        "status": 409, "code": "unhealthy", "title": "t", "detail": format!("{evil}\nnext"),
        "endpoints": [{ "upstream": "u", "endpoint": "e", "passed": false, "detail": evil, "at": "t", "took_us": 1 }],
    }))
    .expect("a problem");
    let history_of: HistoryAnswer = serde_json::from_value(json!({ "transitions": [{
        "sequence": 1, "kind": "seen", "at": "t", "to": "blue", "release": "1", "generation": 1, "trigger": "api",
        "actor": evil, "reason": evil, "refusal": evil, "forced": false, "took_us": 0,
    }] }))
    .expect("a history");
    let mut now = status();
    now.blue.endpoints[0].detail = evil.to_owned();
    for text in [problem(&refused), history(&history_of, false), super::status(&now, true)] {
        assert!(!text.contains(evil) && !text.contains('\r') && !text.contains('\u{7}'), "{text:?}");
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    }
    assert_eq!(problem(&refused).lines().count(), 3, "its own lines stay");
}

#[test]
fn the_history_says_what_happened_and_where_it_goes_on() {
    let page: HistoryAnswer = serde_json::from_value(json!({ "next_before": 3, "transitions": [
        { "sequence": 4, "kind": "rollback", "at": "T4", "from": "green", "from_release": "2.0", "to": "blue",
          "release": "1.0", "generation": 3, "trigger": "api", "actor": "deploy", "source": "unix", "reason": "errors",
          "forced": true, "took_us": 1500 },
        { "sequence": 3, "kind": "seen", "at": "T3", "to": "blue", "release": "1.0", "generation": 2,
          "trigger": "file", "actor": "/etc/c.toml", "forced": false, "refusal": "unhealthy: no", "took_us": 0 },
    ] }))
    .expect("a history");
    let text = seen(&history(&page, false));
    fits(&text);
    assert_eq!(
        text,
        "no  when  gen  event\n\
         4   T4    3    rolled back green 2.0 -> blue 1.0 in 1.5 ms\n               \
         by api deploy (unix), forced: errors\n\
         3   T3    2    refused; blue 1.0 stays\n               by file /etc/c.toml\n               unhealthy: no\n\
         older ones: --before 3\n"
    );
    let nothing = HistoryAnswer { transitions: Vec::new(), next_before: None };
    assert_eq!(history(&nothing, true), "Nothing matches.\n");
    assert_eq!(history(&nothing, false), "Nothing happened yet.\n");
}
