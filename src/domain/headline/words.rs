//! A sentence and a command for each problem, in the order in which clients are hurt.

use std::time::Duration;

use super::recovery::{Recovery, by_upstream, forced, recovery};
use super::{ColorFacts, EndpointFacts, Facts, Finding, Level, Pending, Stop};
use crate::domain::color::Color;
use crate::domain::transition::Kind;

/// Certificates that expire within this time are reported.
const SOON: Duration = Duration::from_secs(7 * 86_400);

const FAILING: f64 = 0.1;
const ERRORS_PER_SECOND: f64 = 0.2;

pub(super) fn well(facts: &Facts) -> Finding {
    let all = facts.live().endpoints.len();
    let up = facts.live().endpoints.iter().filter(|endpoint| endpoint.up == Some(true)).count();
    let sentence = format!("{} ({}) serves, {up} of {} up", facts.active, facts.release, endpoints(all));
    Finding::new(Level::Ok, "ok", sentence)
}

pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(maintenance(facts));
    found.extend(live_color(facts));
    found.extend(held(facts));
    found.extend(ledger(facts));
    found.extend(wrong_releases(facts));
    found.extend(both_unhealthy(facts));
    found.extend(file_error(facts));
    found.extend(order(facts));
    found.extend(certificates(facts));
    found.extend(bad_files(facts));
    found.extend(names(facts));
    found.extend(on_its_way(facts));
    found.extend(disagrees(facts));
    found.extend(sinks(facts));
    found.extend(moving(facts));
    found.extend(freeze(facts));
    found.extend(way_back(facts));
    found.extend(quarantine(facts));
    found
}

fn maintenance(facts: &Facts) -> Option<Finding> {
    facts.maintenance.then(|| {
        let since = facts.maintained.as_ref().map(|maintained| {
            let ago = span(facts.now.duration_since(maintained.since).unwrap_or_default());
            format!(" for {ago} {}", by(&maintained.by, maintained.reason.as_deref()))
        });
        let since = since.unwrap_or_default();
        let sentence = format!("maintenance is on{since}, every request gets the maintenance answer");
        Finding::new(Level::Outage, "maintenance", sentence).next("To serve again", "cutover maintenance off")
    })
}

fn live_color(facts: &Facts) -> Vec<Finding> {
    let (active, live) = (facts.active, facts.live());
    if live.endpoints.is_empty() {
        let sentence = format!("{active} serves and has no endpoints, all requests get 503");
        return vec![with_recovery(facts, Finding::new(Level::Outage, "no_endpoints", sentence))];
    }
    let upstreams = by_upstream(live);
    let down = |upstream: &str| {
        live.endpoints.iter().filter(|of| of.upstream == upstream).all(|endpoint| endpoint.up == Some(false))
    };
    let dead: Vec<_> = upstreams.keys().copied().filter(|upstream| down(upstream)).collect();
    if dead.is_empty() {
        return partly(facts);
    }
    let which = if dead.len() == upstreams.len() {
        (format!("no endpoint of {active} is up"), "all requests get 503".to_owned())
    } else {
        let names = dead.join(", ");
        (format!("no endpoint of {active} is up in {names}"), format!("requests for {names} get 503"))
    };
    let first = live.endpoints.iter().find(|endpoint| dead.contains(&endpoint.upstream.as_str()));
    let first = first.map(probe).unwrap_or_default();
    if facts.by_force {
        // Checks may be wrong; successful responses are not.
        let answers = live.requests > 0.0 && live.errors * 2.0 < live.requests;
        let level = if answers { Level::Warning } else { Level::Outage };
        let state = match (answers, live.requests > 0.0) {
            (true, _) => "it serves by force and answers".to_owned(),
            (false, true) => format!("{:.0} % of requests get 5xx", 100.0 * live.errors / live.requests),
            (false, false) => "it serves by force, and requests fail unless its checks are wrong".to_owned(),
        };
        let finding = Finding::new(level, "live_color_down", format!("{}{first}; {state}", which.0));
        return vec![with_recovery(facts, finding)];
    }
    let finding = Finding::new(Level::Outage, "live_color_down", format!("{}, {}{first}", which.0, which.1));
    vec![with_recovery(facts, finding)]
}

fn with_recovery(facts: &Facts, finding: Finding) -> Finding {
    match recovery(facts) {
        Recovery::Command(command) => finding.next("To recover", command),
        Recovery::BothDown => {
            let other = facts.active.other();
            let first = facts.other().endpoints.iter().find(|endpoint| endpoint.up != Some(true));
            let first = first.map(probe).unwrap_or_default();
            let sentence = format!(
                "{}; {other} can't take over{first}. Restart the endpoints of {}, and traffic returns by itself; with {other} \
                 restarted, this status names the switch to it",
                finding.sentence, facts.active
            );
            Finding { sentence, ..finding }
                .next("To show clients a page meanwhile", "cutover maintenance on --reason \"outage\"")
        }
    }
}

fn probe(endpoint: &EndpointFacts) -> String {
    if endpoint.detail.is_empty() {
        format!(" ({})", endpoint.endpoint)
    } else {
        format!(" ({}: {})", endpoint.endpoint, endpoint.detail)
    }
}

fn partly(facts: &Facts) -> Vec<Finding> {
    let (active, live) = (facts.active, facts.live());
    let mut found = Vec::new();
    found.extend(failing(facts));
    let all = live.endpoints.len();
    let wait = format!("cutover wait --healthy {active}");
    let down: Vec<_> = live.endpoints.iter().filter(|endpoint| endpoint.up == Some(false)).collect();
    if let Some(first) = down.first() {
        let sentence =
            format!("{} of {} of {active} {} down{}", down.len(), endpoints(all), is(down.len()), probe(first));
        let finding = Finding::new(Level::Warning, "endpoints_down", sentence);
        found.push(finding.next("After its repair", wait.clone()));
    }
    let ejected: Vec<_> = live.endpoints.iter().filter(|endpoint| endpoint.ejected).collect();
    if let Some(first) = ejected.first() {
        let (n, name) = (ejected.len(), &first.endpoint);
        let sentence =
            format!("{n} of {} of {active} {} ejected after repeated failures ({name})", endpoints(all), is(n));
        let finding = Finding::new(Level::Warning, "endpoints_ejected", sentence);
        found.push(finding.next("To watch it", "cutover status --watch"));
    }
    found
}

/// Requests fail before checks do: an endpoint stays up until `health.fall` checks in a row have failed.
fn failing(facts: &Facts) -> Option<Finding> {
    let live = facts.live();
    if live.errors < ERRORS_PER_SECOND || live.errors < FAILING * live.requests {
        return None;
    }
    let share = live.errors / live.requests.max(live.errors);
    let sentence = format!("{:.0} % of requests to {} ({}) get 5xx", 100.0 * share, facts.active, facts.release);
    let finding = Finding::new(Level::Warning, "requests_fail", sentence);
    // During a canary the stable color serves, and a rollback ends the canary.
    let canary = facts.on_its_way.as_ref().is_some_and(|release| release.canary);
    Some(match recovery(facts) {
        Recovery::Command(command) if facts.rollback.has_target => {
            finding.next("To go back", command.replace("outage", "errors"))
        }
        Recovery::Command(command) if !canary => {
            finding.next("To go to the other color", command.replace("outage", "errors"))
        }
        Recovery::Command(_) | Recovery::BothDown => finding.next("To watch it", "cutover status --watch"),
    })
}

fn held(facts: &Facts) -> Option<Finding> {
    let held = facts.held.as_ref()?;
    let by = by(&held.by, held.reason.as_deref());
    let (n, left) = (held.requests, span(held.ends_in));
    let waiting = if n == 1 { "1 request waits".to_owned() } else { format!("{n} requests wait") };
    Some(if held.for_move {
        let sentence = format!("traffic is held for a move {by}, {waiting}, {left} left");
        Finding::new(Level::Note, "held_for_move", sentence).next("To cancel the move", "cutover rollback")
    } else {
        let sentence = format!("traffic is paused {by}, {waiting}, {left} left");
        Finding::new(Level::Warning, "paused", sentence).next("To serve again", "cutover unpause")
    })
}

fn ledger(facts: &Facts) -> Option<Finding> {
    let (why, since) = match (&facts.ledger, facts.durable) {
        (None, true) => return None,
        (Some((at, why)), _) => {
            let ago = facts.now.duration_since(*at).unwrap_or_default();
            (why.as_str(), format!(" for {}", span(ago)))
        }
        (None, false) => ("the disk does not answer", String::new()),
    };
    let sentence = if facts.durable {
        format!("the ledger can't be written{since} ({why}); switches are refused, rollbacks work")
    } else {
        format!("NOT SAVED{since} ({why}); after a restart the previous decision would apply")
    };
    let dir = &facts.state_dir;
    let lower = why.to_lowercase();
    let full = ["space", "quota", "full"].iter().any(|word| lower.contains(word));
    let command = if full { format!("df -h {dir}") } else { format!("ls -ld {dir} && df -h {dir}") };
    Some(Finding::new(Level::Warning, "not_durable", sentence).next("To find the cause", command))
}

fn wrong_releases(facts: &Facts) -> Vec<Finding> {
    let told = facts.wrong_releases.iter().map(|wrong| {
        let label = &facts.colors[wrong.color].release;
        let (endpoint, color, says) = (&wrong.endpoint, wrong.color, &wrong.says);
        let sentence = format!(
            "{endpoint} of {color} answers as release {says}, its label says {label}. Restart that endpoint with {label}, or \
             correct `release` below [{color}] in {}",
            facts.config
        );
        Finding::new(Level::Warning, "wrong_release", sentence).next("After the correction", "cutover reload")
    });
    told.collect()
}

fn both_unhealthy(facts: &Facts) -> Option<Finding> {
    facts.both_unhealthy.then(|| {
        let sentence = format!("the automatic rollback did not help: {} ({}) fails too", facts.active, facts.release);
        Finding::new(Level::Warning, "both_unhealthy", sentence).next("To see the evidence", "cutover history -n 5")
    })
}

fn file_error(facts: &Facts) -> Option<Finding> {
    let error = facts.file_error.as_ref()?;
    let sentence = format!("the configuration file is not valid, the last good one stays in force: {error}");
    let command = format!("cutover check --config {}", facts.config);
    Some(Finding::new(Level::Warning, "invalid_config", sentence).next("To see every error", command))
}

fn order(facts: &Facts) -> Option<Finding> {
    let (to, code, why) = facts.order_refused.as_ref()?;
    let sentence = format!("{} ordered {to}, refused: {why}", facts.config);
    let command = match *code {
        "frozen" => "cutover unfreeze".to_owned(),
        "quarantined" => format!("cutover switch {to}{} --reason \"…\"", forced([(true, "quarantine")])),
        "rollback_unsafe" => format!("cutover switch {to} --dry-run"),
        _ => format!("cutover switch {to}"),
    };
    let purpose = match *code {
        "frozen" => "To allow moves",
        "rollback_unsafe" => "To see the safe steps",
        "unhealthy" => "After its repair",
        _ => "To go there anyway",
    };
    Some(Finding::new(Level::Warning, "order_refused", sentence).next(purpose, command))
}

fn certificates(facts: &Facts) -> Vec<Finding> {
    let told = facts.certificates.iter().filter_map(|certificate| {
        let (name, path) = (&certificate.name, &certificate.path);
        let next = |finding: Finding| {
            finding.next("After replacing the file", format!("openssl x509 -enddate -noout -in {path}"))
        };
        match certificate.not_after.duration_since(facts.now) {
            Err(_) => {
                let ago = facts.now.duration_since(certificate.not_after).unwrap_or_default();
                let sentence = format!("the certificate of {name} expired {} ago ({path})", span(ago));
                Some(next(Finding::new(Level::Warning, "certificate_expired", sentence)))
            }
            Ok(left) if left < SOON => {
                let sentence = format!("the certificate of {name} expires in {} ({path})", span(left));
                Some(next(Finding::new(Level::Warning, "certificate_expires", sentence)))
            }
            Ok(_) => None,
        }
    });
    told.collect()
}

fn bad_files(facts: &Facts) -> Vec<Finding> {
    let told = facts.bad_files.iter().map(|file| {
        let sentence = format!("{} ({}): {}", file.setting, file.path, file.reason);
        Finding::new(Level::Warning, "unusable_file", sentence).next("To look", format!("ls -l {}", file.path))
    });
    told.collect()
}

fn names(facts: &Facts) -> Vec<Finding> {
    let told = facts.names.iter().map(|(name, why)| {
        let sentence = format!("{name} does not resolve, its last known addresses stay in use: {why}");
        let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
        Finding::new(Level::Warning, "name_unresolved", sentence).next("To ask", format!("getent hosts {host}"))
    });
    told.collect()
}

fn on_its_way(facts: &Facts) -> Option<Finding> {
    let release = facts.on_its_way.as_ref()?;
    let name = format!("{} {}", release.color, release.release);
    let (verb, abort) = match release.canary {
        true => (format!("the canary of {name} at {}", release.weight), "cutover canary abort"),
        false => (format!("the bake of {name}"), "cutover rollback"),
    };
    Some(match &release.stopped {
        Some(Stop::Suspect) => Finding::new(Level::Warning, "suspect", format!("{verb} is PAUSED: probably worse"))
            .next("To take it back", format!("{abort} --reason \"…\"")),
        Some(Stop::BaselineUnhealthy) => Finding::new(
            Level::Warning,
            "baseline_unhealthy",
            format!("{verb} is paused: the release it is compared with fails"),
        )
        .next("To see the evidence", "cutover canary status"),
        Some(Stop::Held { by: who, reason }) => {
            let sentence = format!("{verb} is paused {}", by(who, Some(reason)));
            Finding::new(Level::Note, "canary_paused", sentence).next("To continue", "cutover canary resume")
        }
        None if release.canary => Finding::new(Level::Note, "canary", format!("{verb} is in progress"))
            .next("To follow it", "cutover canary watch"),
        None => return None,
    })
}

fn disagrees(facts: &Facts) -> Option<Finding> {
    let says = facts.file_disagrees?;
    // A refused order and an invalid file have findings of their own.
    if facts.order_refused.is_some() || facts.file_error.is_some() || facts.moving.is_some() {
        return None;
    }
    let why = facts.write_back_error.as_ref().map(|why| format!(" (not written: {why})")).unwrap_or_default();
    let sentence = format!("{} says active = \"{says}\", but {} serves{why}", facts.config, facts.active);
    let level = if facts.write_back_error.is_some() { Level::Warning } else { Level::Note };
    let finding = Finding::new(level, "file_disagrees", sentence);
    Some(finding.next("To see what the file would change", format!("cutover check --config {}", facts.config)))
}

fn sinks(facts: &Facts) -> Vec<Finding> {
    let told = facts.sinks.iter().map(|(name, why)| {
        let sentence = format!("notices to \"{name}\" do not get through: {why}");
        let command = format!("cutover notify test --sink {name}");
        Finding::new(Level::Warning, "notify_failing", sentence).next("After its repair", command)
    });
    told.collect()
}

fn moving(facts: &Facts) -> Option<Finding> {
    let Pending { kind, to, waits_for, first, ends_in, by: who, reason } = facts.moving.as_ref()?;
    let verb = match kind {
        Kind::Rollback => "rolling back",
        Kind::Canary => "starting a canary",
        Kind::Advance => "giving more requests",
        _ => "switching",
    };
    let first = first.as_ref().map(|first| format!(" ({first})")).unwrap_or_default();
    let left = ends_in.map(|left| format!(", {} s left", left.as_millis().div_ceil(1_000))).unwrap_or_default();
    let by = by(who, reason.as_deref());
    let preposition = if *kind == Kind::Canary { "on" } else { "to" };
    let sentence = format!("{verb} {preposition} {to}: waiting for {waits_for}{first}{left} {by}");
    Some(Finding::new(Level::Note, "moving", sentence).next("To cancel it", "cutover rollback"))
}

fn freeze(facts: &Facts) -> Option<Finding> {
    let freeze = facts.freeze.as_ref()?;
    let until = freeze.until.and_then(|until| until.duration_since(facts.now).ok());
    let until = until.map(|left| format!(", {} left", span(left))).unwrap_or_default();
    let sentence = format!("moves are frozen {}{until}; rollback still works", by(&freeze.by, Some(&freeze.reason)));
    Some(Finding::new(Level::Note, "frozen", sentence).next("To allow moves", "cutover unfreeze"))
}

fn way_back(facts: &Facts) -> Option<Finding> {
    let other = facts.active.other();
    let canary = facts.on_its_way.as_ref().is_some_and(|release| release.canary);
    if !facts.rollback.has_target || canary {
        return None;
    }
    let color: &ColorFacts = facts.other();
    let down: Vec<_> = color.endpoints.iter().filter(|endpoint| endpoint.up == Some(false)).collect();
    let first = down.first()?;
    let sentence = format!(
        "a rollback would be refused now: {} of {} of {other} {} down{}",
        down.len(),
        endpoints(color.endpoints.len()),
        is(down.len()),
        probe(first)
    );
    let finding = Finding::new(Level::Note, "way_back_down", sentence);
    Some(finding.next("After its repair", format!("cutover wait --healthy {other}")))
}

fn quarantine(facts: &Facts) -> Vec<Finding> {
    let deployed = |color: Color, release| facts.colors[color].release == release;
    let told = facts.quarantine.iter().map(|bad| {
        let sentence = format!("{} is quarantined {}", bad.release, by(&bad.by, Some(&bad.reason)));
        let to = Color::ALL.into_iter().find(|color| deployed(*color, bad.release.clone()));
        let finding = Finding::new(Level::Note, "quarantined", sentence);
        match to.filter(|to| *to != facts.active) {
            Some(to) => finding.next(
                "To go there anyway",
                format!("cutover switch {to}{} --reason \"…\"", forced([(true, "quarantine")])),
            ),
            None => finding,
        }
    });
    told.collect()
}

/// `(alice: deploy 2.15)`
fn by(who: &str, reason: Option<&str>) -> String {
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("({who}: {reason})"),
        None => format!("({who})"),
    }
}

fn endpoints(n: usize) -> String {
    if n == 1 { "1 endpoint".to_owned() } else { format!("{n} endpoints") }
}

fn is(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// `40 s`, `12 min`, `3 h`, `4 days`
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
