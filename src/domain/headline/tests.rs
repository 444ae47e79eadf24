use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_763_820_000)
}

fn endpoint(endpoint: &str, up: bool) -> EndpointFacts {
    EndpointFacts {
        upstream: "default".to_owned(),
        endpoint: endpoint.to_owned(),
        up: Some(up),
        ejected: false,
        detail: if up { "200" } else { "connection refused" }.to_owned(),
    }
}

fn color(release: &str, endpoints: Vec<EndpointFacts>) -> ColorFacts {
    ColorFacts { release: Release::new(release), endpoints, requests: 0.0, errors: 0.0 }
}

/// Blue 1.0 serves, green 2.0 is up and known good.
fn calm() -> Facts {
    Facts {
        now: now(),
        config: "/etc/c.toml".to_owned(),
        state_dir: "/var/lib/cutover".to_owned(),
        active: Color::Blue,
        release: Release::new("1.0"),
        colors: PerColor {
            blue: color("1.0", vec![endpoint("b:1", true), endpoint("b:2", true)]),
            green: color("2.0", vec![endpoint("g:1", true)]),
        },
        quorum_percent: 100,
        by_force: false,
        both_unhealthy: false,
        durable: true,
        ledger: None,
        file_error: None,
        order_refused: None,
        file_disagrees: None,
        write_back_error: None,
        wrong_releases: Vec::new(),
        certificates: Vec::new(),
        bad_files: Vec::new(),
        names: Vec::new(),
        sinks: Vec::new(),
        freeze: None,
        held: None,
        maintenance: false,
        maintained: None,
        moving: None,
        on_its_way: None,
        quarantine: Vec::new(),
        rollback: Way { has_target: true, is_unsafe: false },
        switch_unsafe: false,
    }
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = calm();
    change(&mut facts);
    facts
}

fn dead(facts: &mut Facts) {
    facts.colors.blue.endpoints = vec![endpoint("b:1", false), endpoint("b:2", false)];
}

fn freeze() -> Freeze {
    let until = Some(now() + Duration::from_secs(3600));
    Freeze { by: "alice".to_owned(), reason: "db".to_owned(), since: now(), until }
}

fn quarantined(release: &str) -> Quarantined {
    Quarantined { release: Release::new(release), since: now(), by: "bob".to_owned(), reason: "5xx".to_owned() }
}

fn canary(stopped: Option<Stop>) -> Option<OnItsWay> {
    let (color, release) = (Color::Green, Release::new("2.0"));
    Some(OnItsWay { color, release, weight: "5 %".to_owned(), canary: true, stopped })
}

/// Each problem alone, worst for clients first.
fn conditions() -> Vec<(&'static str, Facts, &'static str)> {
    vec![
        (
            "maintenance",
            with(|facts| facts.maintenance = true),
            "OUTAGE: maintenance is on, every request gets the maintenance answer. To serve again: cutover maintenance off",
        ),
        (
            "no_endpoints",
            with(|facts| facts.colors.blue.endpoints.clear()),
            "OUTAGE: blue serves and has no endpoints, all requests get 503. To recover: cutover rollback --reason \"outage\"",
        ),
        (
            "live_color_down",
            with(dead),
            "OUTAGE: no endpoint of blue is up, all requests get 503 (b:1: connection refused). To recover: cutover rollback --reason \"outage\"",
        ),
        (
            "requests_fail",
            with(|facts| (facts.colors.blue.requests, facts.colors.blue.errors) = (10.0, 2.5)),
            "WARNING: 25 % of requests to blue (1.0) get 5xx. To go back: cutover rollback --reason \"errors\"",
        ),
        (
            "endpoints_down",
            with(|facts| facts.colors.blue.endpoints[1] = endpoint("b:2", false)),
            "WARNING: 1 of 2 endpoints of blue is down (b:2: connection refused). After its repair: cutover wait --healthy blue",
        ),
        (
            "endpoints_ejected",
            with(|facts| facts.colors.blue.endpoints[1].ejected = true),
            "WARNING: 1 of 2 endpoints of blue is ejected after repeated failures (b:2). To watch it: cutover status --watch",
        ),
        (
            "paused",
            with(|facts| {
                let (by, reason) = ("alice".to_owned(), Some("db".to_owned()));
                facts.held =
                    Some(OnHold { for_move: false, by, reason, requests: 3, ends_in: Duration::from_secs(40) });
            }),
            "WARNING: traffic is paused (alice: db), 3 requests wait, 40 s left. To serve again: cutover unpause",
        ),
        (
            "not_durable",
            with(|facts| {
                facts.durable = false;
                facts.ledger = Some((now() - Duration::from_secs(720), "no space left on device".to_owned()));
            }),
            "WARNING: NOT SAVED for 12 min (no space left on device); after a restart the previous decision would apply. To find the cause: df -h /var/lib/cutover",
        ),
        (
            "not_durable",
            with(|facts| facts.durable = false),
            "WARNING: NOT SAVED (the disk does not answer); after a restart the previous decision would apply. To find the cause: ls -ld /var/lib/cutover && df -h /var/lib/cutover",
        ),
        (
            "not_durable",
            with(|facts| facts.ledger = Some((now() - Duration::from_secs(5), "disk full".to_owned()))),
            "WARNING: the ledger can't be written for 5 s (disk full); switches are refused, rollbacks work. To find the cause: df -h /var/lib/cutover",
        ),
        (
            "wrong_release",
            with(|facts| {
                let (color, endpoint, says) = (Color::Blue, "b:1".to_owned(), "0.9".to_owned());
                facts.wrong_releases.push(WrongRelease { color, endpoint, says });
            }),
            "WARNING: b:1 of blue answers as release 0.9, its label says 1.0. Restart that endpoint with 1.0, or correct `release` below [blue] in /etc/c.toml. After the correction: cutover reload",
        ),
        (
            "both_unhealthy",
            with(|facts| facts.both_unhealthy = true),
            "WARNING: the automatic rollback did not help: blue (1.0) fails too. To see the evidence: cutover history -n 5",
        ),
        (
            "invalid_config",
            with(|facts| facts.file_error = Some("/etc/c.toml:3:1: unknown key".to_owned())),
            "WARNING: the configuration file is not valid, the last good one stays in force: /etc/c.toml:3:1: unknown key. To see every error: cutover check --config /etc/c.toml",
        ),
        (
            "order_refused",
            with(|facts| facts.order_refused = Some((Color::Green, "unhealthy", "green is not healthy".to_owned()))),
            "WARNING: /etc/c.toml ordered green, refused: green is not healthy. After its repair: cutover switch green",
        ),
        (
            "order_refused",
            with(|facts| facts.order_refused = Some((Color::Green, "frozen", "frozen by alice".to_owned()))),
            "WARNING: /etc/c.toml ordered green, refused: frozen by alice. To allow moves: cutover unfreeze",
        ),
        (
            "certificate_expired",
            with(|facts| {
                let (name, path) = ("shop.test".to_owned(), "/etc/site.pem".to_owned());
                let not_after = now() - Duration::from_secs(7200);
                facts.certificates.push(Certificate { name, path, not_after });
            }),
            "WARNING: the certificate of shop.test expired 2 h ago (/etc/site.pem). After replacing the file: openssl x509 -enddate -noout -in /etc/site.pem",
        ),
        (
            "certificate_expires",
            with(|facts| {
                let (name, path) = ("shop.test".to_owned(), "/etc/site.pem".to_owned());
                let not_after = now() + Duration::from_secs(3 * 86_400);
                facts.certificates.push(Certificate { name, path, not_after });
            }),
            "WARNING: the certificate of shop.test expires in 3 days (/etc/site.pem). After replacing the file: openssl x509 -enddate -noout -in /etc/site.pem",
        ),
        (
            "unusable_file",
            with(|facts| {
                let (setting, path, reason) = ("log.access".into(), "/a.log".into(), "permission denied".into());
                facts.bad_files.push(BadFile { setting, path, reason });
            }),
            "WARNING: log.access (/a.log): permission denied. To look: ls -l /a.log",
        ),
        (
            "name_unresolved",
            with(|facts| facts.names.push(("app.internal:80".to_owned(), "no answer".to_owned()))),
            "WARNING: app.internal:80 does not resolve, its last known addresses stay in use: no answer. To ask: getent hosts app.internal",
        ),
        (
            "suspect",
            with(|facts| facts.on_its_way = canary(Some(Stop::Suspect))),
            "WARNING: the canary of green 2.0 at 5 % is PAUSED: probably worse. To take it back: cutover canary abort --reason \"…\"",
        ),
        (
            "baseline_unhealthy",
            with(|facts| facts.on_its_way = canary(Some(Stop::BaselineUnhealthy))),
            "WARNING: the canary of green 2.0 at 5 % is paused: the release it is compared with fails. To see the evidence: cutover canary status",
        ),
        (
            "file_disagrees",
            with(|facts| {
                facts.file_disagrees = Some(Color::Green);
                facts.write_back_error = Some("read-only file system".to_owned());
            }),
            "WARNING: /etc/c.toml says active = \"green\", but blue serves (not written: read-only file system). To see what the file would change: cutover check --config /etc/c.toml",
        ),
        (
            "notify_failing",
            with(|facts| facts.sinks.push(("ops".to_owned(), "500".to_owned()))),
            "WARNING: notices to \"ops\" do not get through: 500. After its repair: cutover notify test --sink ops",
        ),
        (
            "held_for_move",
            with(|facts| {
                let (by, reason) = ("alice".to_owned(), None);
                facts.held = Some(OnHold { for_move: true, by, reason, requests: 1, ends_in: Duration::from_secs(9) });
            }),
            "Note: traffic is held for a move (alice), 1 request waits, 9 s left. To cancel the move: cutover rollback",
        ),
        (
            "canary_paused",
            with(|facts| {
                facts.on_its_way = canary(Some(Stop::Held { by: "alice".to_owned(), reason: "logs".to_owned() }));
            }),
            "Note: the canary of green 2.0 at 5 % is paused (alice: logs). To continue: cutover canary resume",
        ),
        (
            "canary",
            with(|facts| facts.on_its_way = canary(None)),
            "Note: the canary of green 2.0 at 5 % is in progress. To follow it: cutover canary watch",
        ),
        (
            "file_disagrees",
            with(|facts| facts.file_disagrees = Some(Color::Green)),
            "Note: /etc/c.toml says active = \"green\", but blue serves. To see what the file would change: cutover check --config /etc/c.toml",
        ),
        (
            "moving",
            with(|facts| facts.moving = Some(pending())),
            "Note: switching to green: waiting for health checks (g:1 connection refused), 21 s left (alice: deploy 2.15). To cancel it: cutover rollback",
        ),
        (
            "frozen",
            with(|facts| facts.freeze = Some(freeze())),
            "Note: moves are frozen (alice: db), 60 min left; rollback still works. To allow moves: cutover unfreeze",
        ),
        (
            "way_back_down",
            with(|facts| facts.colors.green.endpoints[0] = endpoint("g:1", false)),
            "Note: a rollback would be refused now: 1 of 1 endpoint of green is down (g:1: connection refused). After its repair: cutover wait --healthy green",
        ),
        (
            "quarantined",
            with(|facts| facts.quarantine.push(quarantined("3.0"))),
            "Note: 3.0 is quarantined (bob: 5xx).",
        ),
    ]
}

#[test]
fn every_condition_has_its_sentence_and_the_command_that_answers_it() {
    for (code, facts, said) in conditions() {
        let found = findings(&facts);
        let finding = found.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{code}: {found:?}"));
        assert_eq!(finding.to_string(), said);
        let expected = if finding.level <= Level::Note { Level::Ok } else { finding.level };
        assert_eq!(found[0].level, expected, "{code}: the worst comes first: {found:?}");
        assert_eq!(found.iter().filter(|finding| finding.code != "ok").count(), 1, "{code} is told once: {found:?}");
    }
}

#[test]
fn a_calm_proxy_is_ok_and_says_what_serves() {
    let found = findings(&calm());
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["OK: blue (1.0) serves, 2 of 2 endpoints up."]
    );
}

#[test]
fn of_two_conditions_the_one_that_hurts_clients_more_comes_first() {
    // The problem that the second one hides is a state of its own.
    let all = conditions();
    let position = |found: &[Finding], code: &str| found.iter().position(|finding| finding.code == code);
    let pairs = [
        ("live_color_down", "paused"),
        ("endpoints_down", "not_durable"),
        ("paused", "invalid_config"),
        ("not_durable", "wrong_release"),
        ("invalid_config", "certificate_expired"),
        ("certificate_expired", "suspect"),
        ("suspect", "notify_failing"),
        ("moving", "frozen"),
        ("frozen", "quarantined"),
    ];
    for (worse, better) in pairs {
        assert!(all.iter().any(|(code, ..)| *code == worse) && all.iter().any(|(code, ..)| *code == better));
    }
    let mut facts = calm();
    facts.colors.blue.endpoints[1] = endpoint("b:2", false);
    facts.held =
        Some(OnHold { for_move: false, by: "alice".to_owned(), reason: None, requests: 0, ends_in: Duration::ZERO });
    facts.ledger = Some((now(), "full".to_owned()));
    facts.file_error = Some("wrong".to_owned());
    facts.wrong_releases.push(WrongRelease { color: Color::Blue, endpoint: "b:1".into(), says: "0.9".into() });
    facts.certificates.push(Certificate { name: "a".into(), path: "b".into(), not_after: now() - SOON });
    facts.on_its_way = canary(Some(Stop::Suspect));
    facts.sinks.push(("ops".to_owned(), "500".to_owned()));
    facts.moving = Some(pending());
    facts.freeze = Some(freeze());
    facts.quarantine.push(quarantined("3.0"));
    let found = findings(&facts);
    for (worse, better) in &pairs[1..] {
        assert!(position(&found, worse) < position(&found, better), "{worse} before {better}: {found:?}");
    }
    dead(&mut facts);
    let found = findings(&facts);
    assert_eq!(found[0].code, "live_color_down");
    assert!(position(&found, "live_color_down") < position(&found, "paused"));
}

fn pending() -> Pending {
    Pending {
        kind: Kind::Switch,
        to: Color::Green,
        waits_for: "health checks".to_owned(),
        first: Some("g:1 connection refused".to_owned()),
        ends_in: Some(Duration::from_millis(20_300)),
        by: "alice".to_owned(),
        reason: Some("deploy 2.15".to_owned()),
    }
}

#[test]
fn a_move_that_waits_says_where_to_for_what_how_long_and_who_asked() {
    let said = |change: fn(&mut Pending)| {
        let mut pending = pending();
        change(&mut pending);
        let facts = with(|facts| facts.moving = Some(pending));
        let found = findings(&facts);
        found.iter().find(|finding| finding.code == "moving").expect("it is told").sentence.clone()
    };
    let back = said(|pending| (pending.kind, pending.first) = (Kind::Rollback, None));
    assert_eq!(back, "rolling back to green: waiting for health checks, 21 s left (alice: deploy 2.15)");
    let canary = said(|pending| (pending.kind, pending.reason, pending.ends_in) = (Kind::Canary, None, None));
    assert_eq!(canary, "starting a canary on green: waiting for health checks (g:1 connection refused) (alice)");
}

#[test]
fn maintenance_says_since_when_by_whom_and_why() {
    let maintained = Maintained { since: now() - 3 * SOON, by: "alice".to_owned(), reason: Some("db".to_owned()) };
    let facts = with(|facts| (facts.maintenance, facts.maintained) = (true, Some(maintained)));
    let said = findings(&facts)[0].to_string();
    assert!(said.starts_with("OUTAGE: maintenance is on for 3 min (alice: db), every request gets"), "{said}");
}

const SOON: Duration = Duration::from_secs(60);

#[test]
fn the_way_out_of_an_outage_names_the_guards_that_stand_in_it() {
    let command = |change: fn(&mut Facts)| {
        let mut facts = calm();
        dead(&mut facts);
        change(&mut facts);
        findings(&facts).remove(0).next
    };
    for (change, expected) in [
        ((|_| {}) as fn(&mut Facts), "cutover rollback --reason \"outage\"".to_owned()),
        (|facts| facts.freeze = Some(freeze()), "cutover rollback --reason \"outage\"".to_owned()),
        (|facts| facts.rollback.is_unsafe = true, format!("cutover rollback{} --reason \"outage\"", force("schema"))),
        (
            |facts| facts.colors.green.endpoints.push(endpoint("g:2", false)),
            format!("cutover rollback{} --reason \"outage\"", force("health")),
        ),
        (|facts| facts.rollback.has_target = false, "cutover switch green --reason \"outage\"".to_owned()),
        (
            |facts| {
                facts.rollback.has_target = false;
                facts.quarantine.push(quarantined("2.0"));
            },
            format!("cutover switch green{} --reason \"outage\"", force("quarantine")),
        ),
        (
            |facts| {
                facts.rollback.has_target = false;
                facts.freeze = Some(freeze());
            },
            "cutover unfreeze --reason \"outage\" && cutover switch green --reason \"outage\"".to_owned(),
        ),
        (|facts| facts.on_its_way = canary(None), "cutover switch green --reason \"outage\"".to_owned()),
        (
            |facts| facts.colors.green.endpoints = vec![endpoint("g:1", false)],
            "cutover maintenance on --reason \"outage\"".to_owned(),
        ),
    ] {
        assert_eq!(command(change), expected);
    }
}

fn force(guard: &'static str) -> String {
    recovery::forced([(true, guard)])
}

#[test]
fn requests_that_fail_without_a_rollback_target_name_the_way_to_the_other_color() {
    let mut facts = calm();
    facts.rollback.has_target = false;
    (facts.colors.blue.requests, facts.colors.blue.errors) = (10.0, 10.0);
    assert_eq!(findings(&facts)[0].next, "cutover switch green --reason \"errors\"");
}

#[test]
fn a_color_that_serves_by_force_is_judged_by_its_answers() {
    let mut facts = calm();
    dead(&mut facts);
    facts.by_force = true;
    (facts.colors.blue.requests, facts.colors.blue.errors) = (100.0, 1.0);
    assert_eq!(findings(&facts)[0].level, Level::Warning);
    facts.colors.blue.errors = 99.0;
    let worst = findings(&facts).remove(0);
    assert_eq!(worst.level, Level::Outage);
    assert!(worst.sentence.contains("99 % of requests get 5xx"), "{}", worst.sentence);
    (facts.colors.blue.requests, facts.colors.blue.errors) = (0.0, 0.0);
    assert_eq!(findings(&facts)[0].level, Level::Outage);
}

#[test]
fn one_dead_upstream_is_an_outage_of_its_routes() {
    let mut facts = calm();
    facts.colors.blue.endpoints.push(EndpointFacts { upstream: "api".to_owned(), ..endpoint("a:1", false) });
    let worst = findings(&facts).remove(0);
    assert_eq!(worst.level, Level::Outage);
    assert!(worst.sentence.starts_with("no endpoint of blue is up in api, requests for api get 503"), "{worst}");
}

#[test]
fn endpoints_that_were_never_asked_are_no_outage() {
    let mut facts = calm();
    for endpoint in &mut facts.colors.blue.endpoints {
        endpoint.up = None;
    }
    assert_eq!(findings(&facts)[0].code, "ok");
}
