//! `cutover status`: the headline, the decision in force, both environments, and exceptional states.

use std::fmt::Write;
use std::time::Duration;

use super::layout::{self, row};
use super::{BAD, DIM, GOOD, ago, canary, color, count, gate, held, left, needed, painted, plain, short};
use crate::admin::api::{
    ColorAnswer, ConditionAnswer, EndpointAnswer, FileAnswer, HeadlineAnswer, MovingAnswer, StatusAnswer, StoreAnswer,
};
use crate::cli::when;

/// `verbose` adds a canary's odds and rarely needed facts.
pub(crate) fn status(status: &StatusAnswer, verbose: bool) -> String {
    let mut text = headline(&status.headline);
    text.push('\n');
    let mut add = |title: &str, what: &str| text.push_str(&row(title, what));
    add(
        "serving",
        &format!(
            "{} {} · generation {} · since {} ({})",
            color(&status.active),
            plain(&status.release),
            status.generation,
            when::shown(&status.since),
            ago(&status.since)
        ),
    );
    if status.by_force {
        add("", "by force: its endpoints get requests although no check passes");
    }
    if let (None, Some(left)) = (&status.known_good, status.known_good_in_s) {
        let left = super::numbers::span(left);
        add("", &format!("becomes a rollback target in {left}, if it keeps serving"));
    }
    add("rollback", &rollback(status));
    schema(status, &mut add);
    if let Some(last) = &status.checks {
        add("checks", &gate::last(last));
    }
    if let Some(linger) = &status.linger {
        add("lingering", &gate::lingering(linger));
    }
    if let Some(canary) = &status.canary {
        for (title, what) in canary::rows(canary, verbose) {
            add(title, &what);
        }
    }
    under_way(status, &mut add);
    for (name, of_color) in [("blue", &status.blue), ("green", &status.green)] {
        text.push_str(&environment(name, of_color));
    }
    let mut add = |title: &str, what: &str| text.push_str(&row(title, what));
    safe_to_stop(status, &mut add);
    file(&status.file, verbose, &mut add);
    unusual(status, &mut add);
    if verbose {
        rarely(status, &mut add);
    }
    let https = status.https_address.as_ref().map(|https| format!(" and {https} (TLS)")).unwrap_or_default();
    let uptime = short(Duration::from_secs_f64(status.uptime_s.max(0.0)));
    add("proxy", &format!("serves on {}{https} · up {uptime} · version {}", status.http_address, status.version));
    text
}

pub(crate) fn headline(headline: &HeadlineAnswer) -> String {
    let all = [&headline.worst].into_iter().chain(&headline.others);
    all.map(condition).collect()
}

fn condition(condition: &ConditionAnswer) -> String {
    let ConditionAnswer { level, sentence, purpose, next, .. } = condition;
    let title = match level.as_str() {
        "ok" => painted(GOOD, "OK:"),
        "note" => "Note:".to_owned(),
        "warning" => painted(BAD, "WARNING:"),
        "outage" => painted(BAD, "OUTAGE:"),
        // A version before the headline sends none.
        _ => return String::new(),
    };
    let mut text = layout::wrapped(&format!("{title} "), &format!("{}.", plain(sentence)), 2);
    if let Some(next) = next {
        let purpose = purpose.as_deref().unwrap_or("Next");
        // A command stays in one line, so that it can be copied.
        let _ = writeln!(text, "  {purpose}: {}", plain(next));
    }
    text
}

fn rollback(status: &StatusAnswer) -> String {
    let rollback = &status.rollback;
    let why = rollback.why.as_deref().map(plain).unwrap_or_default();
    let (Some(to), Some(release)) = (&rollback.to, &rollback.release) else {
        return format!("{}: {why}", painted(BAD, "impossible"));
    };
    let target = if to == "blue" { &status.blue } else { &status.green };
    let to = format!("to {} ({}), {}", color(to), plain(release), up(target));
    match (rollback.possible, why.is_empty()) {
        (true, true) => format!("{}: {to}", painted(GOOD, "ready")),
        (_, false) => format!("{}: {to}: {why}", painted(BAD, "blocked")),
        (false, true) => format!("{}: {to}", painted(BAD, "blocked")),
    }
}

fn up(of_color: &ColorAnswer) -> String {
    let up = of_color.endpoints.iter().filter(|endpoint| endpoint.health == "up").count();
    format!("{up}/{} up", of_color.endpoints.len())
}

fn schema(status: &StatusAnswer, add: &mut impl FnMut(&str, &str)) {
    if status.stores.is_empty() {
        return;
    }
    let rollback = &status.rollback;
    if let Some(release) = &rollback.release {
        let why = rollback.unsafe_why.as_deref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        let said = match rollback.safe.as_str() {
            "yes" => painted(GOOD, "safe") + &format!(": {} runs on the schemas of now", plain(release)),
            "no" => painted(BAD, "unsafe") + &why,
            _ => format!("unknown{why}"),
        };
        add("schema", &said);
    }
    for (index, store) in status.stores.iter().enumerate() {
        let title = if index == 0 && rollback.release.is_none() { "schema" } else { "" };
        add(title, &store_line(store));
    }
}

fn store_line(store: &StoreAnswer) -> String {
    let mut text = match (store.version, store.source.as_str()) {
        (Some(version), "probe") => format!("{} {version}, by its probe", plain(&store.store)),
        (Some(version), _) => format!("{} {version}, by the labels", plain(&store.store)),
        (None, _) => format!("{}, version not known", plain(&store.store)),
    };
    if let Some(error) = &store.probe_error {
        text.push_str(&painted(BAD, format!(" · its probe failed: {}", plain(error))));
    }
    match (&store.barrier, &store.first_write) {
        (Some(_), Some(write)) => {
            let (at, id) = (when::shown(&write.at), plain(&write.request_id));
            let _ = write!(text, " · barrier passed by the first write ({at}, request {id})");
        }
        (Some(barrier), None) => {
            let passed = if store.barrier_passed { "passed" } else { "not passed yet" };
            let _ = write!(text, " · barrier {barrier}: {passed}");
        }
        (None, _) => {}
    }
    text
}

fn under_way(status: &StatusAnswer, add: &mut impl FnMut(&str, &str)) {
    if let Some(moving) = &status.moving {
        add("switching", &switching(moving));
    }
    if status.maintenance {
        let since = status
            .maintenance_by
            .as_ref()
            .map(|on| format!(" since {} {}", when::shown(&on.since), by(&on.by, on.reason.as_deref())));
        let said = format!("ON{}: every request gets the maintenance answer", since.unwrap_or_default());
        add("maintenance", &painted(BAD, said));
    }
    if let Some(hold) = &status.hold {
        add("paused", &painted(BAD, held(hold)));
    }
    if let Some(freeze) = &status.freeze {
        let until = freeze.until.as_deref().map(|until| format!(" until {}", when::shown(until))).unwrap_or_default();
        add("frozen", &painted(BAD, format!("by {}{until}: {}", plain(&freeze.by), plain(&freeze.reason))));
    }
    for bad in &status.quarantine {
        add("quarantine", &format!("{} by {}: {}", plain(&bad.release), plain(&bad.by), plain(&bad.reason)));
    }
    if let Some(draining) = &status.draining {
        add("draining", &left(draining));
    }
}

/// `to blue: waiting for health checks, 21 s left (alice: deploy 2.15)`
fn switching(moving: &MovingAnswer) -> String {
    let waits = match moving.phase.as_str() {
        "health_checks" => "health checks",
        "gate_checks" => "gate checks",
        "in_flight_requests" => "in-flight requests",
        "disk" => "the disk",
        _ => "its turn",
    };
    let first = moving.waits_for.as_deref().filter(|first| *first != waits && moving.phase != "disk");
    let first = first.map(|first| format!(" ({})", plain(first))).unwrap_or_default();
    let left = moving.ends_in_ms.map(|left| format!(", {} s left", left.div_ceil(1_000))).unwrap_or_default();
    let by = by(&moving.actor, moving.reason.as_deref());
    format!("to {}: waiting for {waits}{first}{left} {by}", color(&moving.to))
}

/// `(alice: deploy 2.15)`
fn by(who: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("({}: {})", plain(who), plain(reason)),
        None => format!("({})", plain(who)),
    }
}

fn safe_to_stop(status: &StatusAnswer, add: &mut impl FnMut(&str, &str)) {
    let (name, other) = if status.active == "blue" { ("green", &status.green) } else { ("blue", &status.blue) };
    if other.release.is_empty() {
        return;
    }
    match other.safe_to_stop.needed_by.first() {
        Some(need) => add("safe_to_stop", &format!("{}: no, {}", color(name), needed(need))),
        None if other.safe_to_stop.safe => add("safe_to_stop", &format!("{}: yes", color(name))),
        // A version before `safe_to_stop` sends none.
        None => {}
    }
}

fn environment(name: &str, of_color: &ColorAnswer) -> String {
    if of_color.release.is_empty() {
        return row(&color(name), "nothing is deployed");
    }
    let in_flight = of_color.requests + of_color.streams + of_color.tunnels;
    let mut text = row(
        &color(name),
        &format!(
            "{} · {} · {in_flight} in flight · {:.1} requests/s · {:.1} errors/s",
            plain(&of_color.release),
            up(of_color),
            of_color.requests_per_second,
            of_color.errors_per_second,
        ),
    );
    let mut endpoints: Vec<_> = of_color.endpoints.iter().collect();
    endpoints.sort_by(|a, b| (&a.upstream, &a.endpoint).cmp(&(&b.upstream, &b.endpoint)));
    let widest =
        |of: fn(&EndpointAnswer) -> &str| endpoints.iter().map(|it| of(it).chars().count()).max().unwrap_or_default();
    let (upstreams, addresses) = (widest(|it| &it.upstream), widest(|it| &it.endpoint));
    for endpoint in endpoints {
        let (style, health) = match endpoint.health.as_str() {
            "up" => (GOOD, "up"),
            _ if endpoint.starting.is_some() => (DIM, "starting"),
            "down" => (BAD, "down"),
            _ => (DIM, "starting"),
        };
        let head = format!(
            "{:<at$}{:<upstreams$}  {:<addresses$}  {style}{health:<8}{style:#}  ",
            "",
            endpoint.upstream,
            endpoint.endpoint,
            at = layout::TITLE
        );
        let mut said = match &endpoint.starting {
            Some(starting) => {
                format!("{} of {} checks passed ({})", starting.passed, starting.of, plain(&endpoint.detail))
            }
            None => format!("{}, for {}", plain(&endpoint.detail), ago(&endpoint.since)),
        };
        if endpoint.leaving {
            said.push_str("; its name no longer has this address, it serves until another one is up");
        }
        if let Some(left) = endpoint.ejected_for_ms {
            let left = short(Duration::from_millis(left));
            let _ = write!(said, "; {}", painted(BAD, format!("ejected for {left} more after repeated failures")));
        }
        if let Some(wrong) = &endpoint.answers_as {
            let said_so =
                format!("answers as release {} for {}, not as its label", plain(&wrong.release), ago(&wrong.since));
            let _ = write!(said, "; {}", painted(BAD, said_so));
        }
        let indent = layout::width(&head).min(layout::wide() / 2);
        text.push_str(&layout::wrapped(&head, &said, indent));
    }
    text
}

fn file(file: &FileAnswer, verbose: bool, add: &mut impl FnMut(&str, &str)) {
    let state = match (file.disagrees, file.order.as_str()) {
        (_, "pending") => "(pending)".to_owned(),
        (_, "refused") => painted(BAD, "(refused)"),
        (true, _) => painted(BAD, "(not in force)"),
        (false, _) => "(in force)".to_owned(),
    };
    if !file.orders {
        add("file", &format!("{}: orders nothing (state.file_orders = false)", plain(&file.path)));
    } else {
        add("file", &format!("{}: active = \"{}\" {state}", plain(&file.path), color(&file.active)));
    }
    if let Some(refusal) = &file.refusal {
        add("", &painted(BAD, format!("{}: {}", refusal.code, plain(&refusal.detail))));
    }
    if let Some(error) = &file.write_back_error {
        add("", &painted(BAD, format!("could not be written: {}", plain(error))));
    }
    if let Some(error) = &file.error {
        add("", &painted(BAD, "not valid; the last good configuration stays in force"));
        // Drawings of the file are not wrapped.
        let lines = error.trim_end().lines().filter(|line| verbose || line.starts_with("error"));
        for line in lines {
            add("", &plain(line));
        }
    }
}

fn unusual(status: &StatusAnswer, add: &mut impl FnMut(&str, &str)) {
    if status.both_unhealthy {
        add("judge", &painted(BAD, "the automatic rollback did not help: the release that serves is no better"));
    }
    if status.access_log_dropped > 0 {
        add("log", &format!("{} dropped", count(status.access_log_dropped, "access log line")));
    }
    // TLS files are listed with the certificates.
    let of_tls = |path: &str| status.certificate_errors.iter().any(|error| error.starts_with(path));
    for problem in status.problems.iter().filter(|problem| !of_tls(&problem.path)) {
        add("problem", &painted(BAD, format!("{} ({}): {}", problem.setting, problem.path, plain(&problem.reason))));
    }
    for name in &status.names {
        if let Some(error) = &name.error {
            let since = name.since.as_deref().map(|since| format!(" for {}", ago(since))).unwrap_or_default();
            add("name", &painted(BAD, format!("{} does not resolve{since}: {}", name.name, plain(error))));
            if !name.addresses.is_empty() {
                add("", &format!("its last known addresses stay in use: {}", name.addresses.join(", ")));
            }
        }
    }
    for sink in status.notify.iter().filter(|sink| sink.state != "well") {
        let waiting = count(sink.pending as u64, "notice");
        let why = sink.last_error.as_deref().unwrap_or("no reason known");
        add("notify", &painted(BAD, format!("{} is {}, {waiting} waiting: {}", sink.sink, sink.state, plain(why))));
    }
    for error in &status.certificate_errors {
        add("tls", &painted(BAD, plain(error)));
    }
}

fn rarely(status: &StatusAnswer, add: &mut impl FnMut(&str, &str)) {
    for certificate in &status.certificates {
        let until = when::shown(&certificate.not_after);
        add("tls", &format!("{} until {until} ({})", certificate.name, certificate.path));
    }
    if let Some(preview) = &status.preview {
        let host = preview.host.as_ref().map(|host| format!(", or to the host {host}")).unwrap_or_default();
        let port = preview.address.as_ref().map(|address| format!(", or on {address}")).unwrap_or_default();
        add("preview", &format!("{} with the header {}{host}{port}", color(&preview.color), preview.header));
    }
}
