//! Answers in words: short, aligned, the two colors in their colors. Styles are always written; `output` strips them
//! where they are not wanted.

use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};

use crate::admin::api::{
    ColorAnswer, Draining, EndedAnswer, FrozenAnswer, HistoryAnswer, HoldAnswer, HoldStatus, NotifyTestAnswer, Problem,
    ReleasesAnswer, RollbackAnswer, StatusAnswer, StoreAnswer, SwitchAnswer, TransitionAnswer, VerifyAnswer,
};
use crate::domain::transition::Left;

pub(crate) mod canary;
pub(crate) mod replay;

const BLUE: Style = AnsiColor::BrightBlue.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The name of a color, in it.
pub(crate) fn color(name: &str) -> String {
    let style = match name {
        "blue" => BLUE,
        "green" => GREEN,
        _ => Style::new(),
    };
    painted(style, name)
}

fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What became of a switch or a rollback.
pub(crate) fn moved(answer: &SwitchAnswer, verb: &str) -> String {
    what_moved(answer, verb) + &file_problem(answer.file_problem.as_deref())
}

/// That a command could not take the file in.
fn file_problem(problem: Option<&str>) -> String {
    let Some(problem) = problem else { return String::new() };
    let problem: Vec<_> = problem.trim_end().lines().map(plain).collect();
    let problem = painted(BAD, problem.join("\n"));
    format!("{problem}\nThe command used the configuration in force. Next: `cutover check`\n")
}

fn what_moved(answer: &SwitchAnswer, verb: &str) -> String {
    let SwitchAnswer { release, generation, .. } = answer;
    let active = color(&answer.active);
    if answer.dry_run {
        return if answer.changed {
            let mut text = format!("Would switch to {active} (release {release}): nothing speaks against it.\n");
            if let Some(rollback) = &answer.rollback {
                let _ = writeln!(text, "The way back would then be {}.", way_back(rollback));
            }
            text + "Nothing was changed.\n"
        } else {
            format!("Would change nothing: {active} serves already (release {release}, generation {generation}).\n")
        };
    }
    if !answer.changed {
        return format!("{active} serves already (release {release}, generation {generation}); nothing was touched.\n");
    }
    let took = short(Duration::from_micros(answer.took_us));
    let mut text = format!("{verb} to {active} (release {release}) in {took}, generation {generation}.\n");
    if let Some(held) = answer.held_us {
        let _ = writeln!(text, "Requests were held for {}.", short(Duration::from_micros(held)));
    }
    if !answer.durable {
        text.push_str("It is in force, but not on disk yet; `cutover status` tells why and when.\n");
    }
    if let Some(rollback) = answer.rollback.as_ref().filter(|rollback| rollback.safe == "no") {
        let _ = writeln!(text, "The way back is {}.", way_back(rollback));
    }
    // What is empty is over before it is read.
    let under_way = answer.draining.as_ref().filter(|left| left.requests + left.streams + left.tunnels > 0);
    if let Some(draining) = under_way {
        let _ = writeln!(text, "Draining {}.", left(draining));
    }
    text
}

/// Whether there is a way back, and how safe it is.
fn way_back(rollback: &RollbackAnswer) -> String {
    let (Some(to), Some(release)) = (&rollback.to, &rollback.release) else {
        return format!("not possible: {}", plain(rollback.why.as_deref().unwrap_or("nothing to go back to")));
    };
    let reason = rollback.unsafe_why.as_ref().map(|why| format!(" ({})", plain(why))).unwrap_or_default();
    let safety = match rollback.safe.as_str() {
        "yes" => painted(GOOD, "safe"),
        "no" if rollback.possible => painted(BAD, format!("unsafe{reason}")),
        "no" => painted(BAD, format!("impossible{reason}")),
        _ => format!("unknown{reason}"),
    };
    // `why` begins with what was said already.
    let said = rollback.unsafe_why.as_deref().filter(|_| rollback.safe == "no").unwrap_or_default();
    let why = rollback.why.as_deref().unwrap_or_default();
    let also = why.strip_prefix(said).unwrap_or(why).trim_start_matches("; ");
    let also = if also.is_empty() { String::new() } else { format!(", but {}", plain(also)) };
    format!("{safety}, to {} (release {release}){also}", color(to))
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
            let _ = write!(
                text,
                " · barrier passed by the first write ({}, request {})",
                write.at,
                plain(&write.request_id)
            );
        }
        (Some(barrier), None) => {
            let passed = if store.barrier_passed { "passed" } else { "not passed yet" };
            let _ = write!(text, " · barrier {barrier}: {passed}");
        }
        (None, _) => {}
    }
    text
}

/// Whether requests are served, held, or answered with the maintenance answer.
pub(crate) fn door(answer: &HoldAnswer) -> String {
    let nothing = if answer.changed { "" } else { " It was so already; nothing was touched." };
    let active = color(&answer.active);
    let mut text = match &answer.hold {
        _ if answer.maintenance => format!("Every request gets the maintenance answer; {active} is active.{nothing}\n"),
        Some(hold) => format!("Requests are held, {}.{nothing}\n", held(hold)),
        None => format!("Requests are served by {active}.{nothing}\n"),
    };
    if !answer.durable {
        text.push_str("The decision is in force, but not on disk yet; `cutover status` tells why and when.\n");
    }
    text
}

fn held(hold: &HoldStatus) -> String {
    let ends = short(Duration::from_millis(hold.ends_in_ms));
    let whose = if hold.for_move { "for a move" } else { "by hand" };
    let reason = hold.reason.as_deref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    format!("{whose}, for {ends} more at most: {} · {}{reason}", count(hold.requests, "request"), plain(&hold.actor))
}

/// What is left of a retired color.
pub(crate) fn left(draining: &Draining) -> String {
    let Draining { requests, streams, tunnels, .. } = draining;
    let ends = short(Duration::from_millis(draining.ends_in_ms));
    format!(
        "{}: {}, {}, {}; what is left is ended in {ends}",
        color(&draining.color),
        count(*requests, "request"),
        count(*streams, "stream"),
        count(*tunnels, "tunnel"),
    )
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Everything at a glance.
pub(crate) fn status(status: &StatusAnswer) -> String {
    let mut text = String::new();
    let mut row = |name: &str, what: String| {
        let _ = writeln!(text, "{name:<10} {what}");
    };
    let since = format!("since {} ({} ago)", status.since, ago(&status.since));
    row(
        "active",
        format!("{} · release {} · generation {} · {since}", color(&status.active), status.release, status.generation),
    );
    if !status.durable {
        row("", painted(BAD, "not on disk: a restart would come up on the decision before; see the log"));
    }
    if status.by_force {
        row("", "by force: its endpoints are asked also while no check passes".to_owned());
    }
    for (name, what) in status.canary.iter().flat_map(canary::rows) {
        row(name, what);
    }
    if status.both_unhealthy {
        row("", painted(BAD, "the automatic rollback did not help: the release that serves is no better"));
    }
    if let Some(to) = &status.moving_to {
        row("moving", format!("to {} ({})", color(to), status.phase));
    }
    if status.maintenance {
        row("door", painted(BAD, "maintenance: no request is served; `cutover maintenance off` ends it"));
    }
    if let Some(hold) = &status.hold {
        row("held", painted(BAD, held(hold)));
    }
    row("rollback", way_back(&status.rollback));
    for store in &status.stores {
        row("store", store_line(store));
    }
    if let (None, Some(left)) = (&status.known_good, status.known_good_in_s) {
        let left = short(Duration::from_secs_f64(left.clamp(0.0, 1e9)));
        row("bake", format!("release {} is known good in {left}, if it goes on", status.release));
    }
    if let Some(freeze) = &status.freeze {
        let until = freeze.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        let text = format!("by {}{until}: {}", plain(&freeze.by), plain(&freeze.reason));
        row("frozen", painted(BAD, text));
    }
    for bad in &status.quarantine {
        row("quarantine", format!("release {} by {}: {}", plain(&bad.release), plain(&bad.by), plain(&bad.reason)));
    }
    if let Some(draining) = &status.draining {
        row("draining", left(draining));
    }
    for (name, of_color) in [("blue", &status.blue), ("green", &status.green)] {
        environment(&mut text, name, of_color);
    }
    let mut row = |name: &str, what: String| {
        let _ = writeln!(text, "{name:<10} {what}");
    };
    let file = &status.file;
    let mut says = format!("{} says {}", file.path, color(&file.active));
    if file.disagrees {
        says.push_str(&painted(BAD, " and disagrees with what is live"));
    }
    row("file", format!("{says}; its last order: {}", file.order));
    if let Some(refusal) = &file.refusal {
        row("", painted(BAD, format!("{}: {}", refusal.code, refusal.detail)));
    }
    if let Some(error) = &file.write_back_error {
        row("", painted(BAD, format!("it could not be put right: {error}")));
    }
    if let Some(error) = &file.error {
        row("", painted(BAD, "it is not valid; the last good configuration stays in force:"));
        for line in error.trim_end().lines() {
            row("", line.to_owned());
        }
    }
    if status.access_log_dropped > 0 {
        row("log", format!("{} dropped", count(status.access_log_dropped, "access log line")));
    }
    // Those of TLS stand beside the certificates.
    let of_tls = |path: &str| status.certificate_errors.iter().any(|error| error.starts_with(path));
    for problem in status.problems.iter().filter(|problem| !of_tls(&problem.path)) {
        row("problem", painted(BAD, format!("{} ({}): {}", problem.setting, problem.path, problem.reason)));
    }
    for name in &status.names {
        if let Some(error) = &name.error {
            let since = name.since.as_deref().map(|since| format!(", for {}", ago(since))).unwrap_or_default();
            row("name", painted(BAD, format!("{} does not resolve{since}: {}", name.name, plain(error))));
            if !name.addresses.is_empty() {
                row("", format!("its last known addresses stay in use: {}", name.addresses.join(", ")));
            }
        }
    }
    for sink in status.notify.iter().filter(|sink| sink.state != "well") {
        let waiting = count(sink.pending as u64, "notice");
        let why = sink.last_error.as_deref().unwrap_or("no reason known");
        row("notify", painted(BAD, format!("{} is {}, {waiting} waiting: {why}", sink.sink, sink.state)));
    }
    let uptime = short(Duration::from_secs_f64(status.uptime_s.max(0.0)));
    for certificate in &status.certificates {
        row("tls", format!("{} until {} ({})", certificate.name, certificate.not_after, certificate.path));
    }
    for error in &status.certificate_errors {
        row("tls", painted(BAD, error));
    }
    if let Some(preview) = &status.preview {
        let host = preview.host.as_ref().map(|host| format!(", or to the host {host}")).unwrap_or_default();
        let port = preview.address.as_ref().map(|address| format!(", or on {address}")).unwrap_or_default();
        row("preview", format!("{} with the header {}{host}{port}", color(&preview.color), preview.header));
    }
    let https = status.https_address.as_ref().map(|https| format!(", and on {https} with TLS")).unwrap_or_default();
    row("proxy", format!("{} · up {uptime} · serving on {}{https}", status.version, status.http_address));
    text
}

/// What came back, one line a notice.
pub(crate) fn notify_test(answer: &NotifyTestAnswer) -> String {
    let wide = answer.notices.iter().map(|notice| notice.sink.len()).max().unwrap_or(0);
    let mut text = String::new();
    for notice in &answer.notices {
        let what = if notice.delivered { "delivered".to_owned() } else { painted(BAD, "failed") };
        let _ = writeln!(text, "{:<wide$}  {:<28} {what} ({})", notice.sink, notice.event, notice.detail);
    }
    text
}

fn environment(text: &mut String, name: &str, of_color: &ColorAnswer) {
    let up = of_color.endpoints.iter().filter(|endpoint| endpoint.health == "up").count();
    let in_flight = of_color.requests + of_color.streams + of_color.tunnels;
    let gap = " ".repeat(10_usize.saturating_sub(name.len()));
    let _ = writeln!(
        text,
        "{}{gap} release {} · {up}/{} up · {in_flight} in flight · {:.1} requests/s · {:.1} errors/s",
        color(name),
        of_color.release,
        of_color.endpoints.len(),
        of_color.requests_per_second,
        of_color.errors_per_second,
    );
    let widest = |of: fn(&crate::admin::api::EndpointAnswer) -> &str| {
        of_color.endpoints.iter().map(|endpoint| of(endpoint).chars().count()).max().unwrap_or(0)
    };
    let (upstreams, addresses) = (widest(|endpoint| &endpoint.upstream), widest(|endpoint| &endpoint.endpoint));
    for endpoint in &of_color.endpoints {
        let style = match endpoint.health.as_str() {
            "up" => GOOD,
            "down" => BAD,
            _ => DIM,
        };
        let _ = writeln!(
            text,
            "           {:<upstreams$}  {:<addresses$}  {style}{:<7}{style:#}  {}, for {}",
            endpoint.upstream,
            endpoint.endpoint,
            endpoint.health,
            plain(&endpoint.detail),
            ago(&endpoint.since),
        );
        if endpoint.leaving {
            let _ = writeln!(
                text,
                "           the name no longer has this address; it serves until another address of the name is up"
            );
        }
        if let Some(left) = endpoint.ejected_for_ms {
            let left = short(Duration::from_millis(left));
            let _ = writeln!(
                text,
                "           {}",
                painted(BAD, format!("it failed too often, and is left out for {left} more"))
            );
        }
    }
}

/// What happened, newest first.
pub(crate) fn history(answer: &HistoryAnswer) -> String {
    let mut text = String::new();
    for transition in &answer.transitions {
        let TransitionAnswer { sequence, generation, .. } = transition;
        let _ = write!(text, "{sequence:>5}  {}  gen {generation:<4} {}", transition.at, happened(transition));
        let source = if transition.source.is_empty() { String::new() } else { format!(" ({})", transition.source) };
        let _ = write!(text, " · {} {}{source}", transition.trigger, plain(&transition.actor));
        if transition.forced {
            text.push_str(if transition.overridden { " · forced, and no way back" } else { " · forced" });
        }
        if let Some(reason) = &transition.reason {
            let _ = write!(text, " · {}", plain(reason));
        }
        text.push('\n');
        if let Some(judgement) = &transition.judgement {
            let _ = writeln!(text, "       {}", plain(&judgement.words));
        }
        if let Some(refusal) = &transition.refusal {
            let _ = writeln!(text, "       {}", plain(refusal));
        }
        if let Some(drained) = transition.drained.as_ref().filter(|drained| drained.ended > 0) {
            let took = short(Duration::from_micros(drained.took_us));
            let EndedAnswer { requests, streams, tunnels } = drained.by_kind;
            let ended = Left { requests, streams, tunnels };
            let verb = if drained.timed_out { "had to be ended" } else { "ended, as drain.streams says" };
            let _ = writeln!(text, "       drained {} in {took}; {ended} {verb}", color(&drained.color));
        }
    }
    if let Some(before) = answer.next_before {
        let _ = writeln!(text, "{DIM}older ones: --before {before}{DIM:#}");
    }
    text
}

fn happened(transition: &TransitionAnswer) -> String {
    let (to, release) = (color(&transition.to), &transition.release);
    let took = short(Duration::from_micros(transition.took_us));
    let held = transition.held_us.map(|held| format!(", requests held for {}", short(Duration::from_micros(held))));
    let held = held.unwrap_or_default();
    let from = match (&transition.from, &transition.from_release) {
        (Some(from), Some(release)) => format!("{} {release} -> ", color(from)),
        _ => String::new(),
    };
    match transition.kind.as_str() {
        "start" => format!("first start on {to} {release}"),
        "switch" => format!("switched {from}{to} {release} in {took}{held}"),
        "rollback" => format!("rolled back {from}{to} {release} in {took}{held}"),
        "hold" => "requests are held by hand".to_owned(),
        "hold_end" => format!("the hold by hand ended after {took}"),
        "maintenance" => format!("maintenance {}", if transition.maintenance == Some(true) { "on" } else { "off" }),
        "release" => format!("{to} has release {release}"),
        "refused" => refused(transition),
        "known_good" => format!("{to} {release} is known good"),
        "freeze" => "frozen: nothing but a rollback moves traffic".to_owned(),
        "unfreeze" => "not frozen any more".to_owned(),
        "barrier" => format!("{to} {release} passed its barrier: the way back is not safe"),
        "seen" if transition.refusal.is_some() => format!("refused; {to} {release} stays"),
        "seen" => format!("nothing to do; {to} {release} stays"),
        other => on_its_way(other, transition).unwrap_or_else(|| format!("{other}: {to} {release}")),
    }
}

/// What happened to a release that has not all of the traffic yet, or bakes.
fn on_its_way(kind: &str, transition: &TransitionAnswer) -> Option<String> {
    let watched = transition.canary.as_ref();
    let new = watched.map(|watched| format!("{} {}", color(&watched.color), plain(&watched.release)));
    let from = transition.from.as_deref().zip(transition.from_release.as_deref());
    let new = new.or_else(|| from.map(|(name, release)| format!("{} {}", color(name), plain(release))));
    let new = new.unwrap_or_else(|| "the release".to_owned());
    let weight = watched.map(|watched| canary::percent(watched.weight)).unwrap_or_default();
    Some(match kind {
        "canary" => format!("canary of {new} began at {weight}"),
        "advance" => format!("{new} gets {weight}"),
        "abort" => format!("called off {new}"),
        "canary_hold" => format!("{new} stays at {weight}"),
        "canary_resume" => format!("{new} may go on from {weight}"),
        "suspect" => format!("evidence against {new}: it goes no further"),
        "would_roll_back" => format!("{new} would have been rolled back; it is only observed"),
        "rollback_blocked" => format!("{new} can't be rolled back"),
        "baseline_unhealthy" => format!("what {new} is compared with fails itself: nothing advances"),
        "both_unhealthy" => "the rollback did not help: both releases fail".to_owned(),
        "recovered" => "the rollback helped".to_owned(),
        _ => return None,
    })
}

fn refused(transition: &TransitionAnswer) -> String {
    let Some(asked) = &transition.asked else { return "refused".to_owned() };
    match (&asked.to, &asked.release) {
        (Some(to), Some(release)) => {
            let article = if asked.kind.starts_with('a') { "an" } else { "a" };
            format!("refused {article} {} to {} {release}", asked.kind, color(to))
        }
        _ => format!("refused to {}", asked.kind),
    }
}

/// Which release served where.
pub(crate) fn releases(answer: &ReleasesAnswer) -> String {
    let mut text = String::new();
    for run in &answer.releases {
        let until = run.until.as_deref().unwrap_or("now");
        let good = match &run.known_good {
            Some(since) => painted(GOOD, format!("known good since {since}")),
            None => painted(DIM, "never known good"),
        };
        let _ = write!(text, "{:<5} {}  {} to {until}  {good}", color(&run.color), plain(&run.release), run.from);
        let _ = write!(text, " · {} {}", run.trigger, plain(&run.actor));
        if let Some(reason) = &run.reason {
            let _ = write!(text, " · {}", plain(reason));
        }
        text.push('\n');
    }
    text
}

/// Whether the ledger is as it was written.
pub(crate) fn verified(found: &VerifyAnswer) -> String {
    let mut text = String::new();
    let (lines, first, last) = (count(found.lines, "line"), found.first, found.last);
    if found.ok {
        let _ = writeln!(text, "{lines} (numbers {first} to {last}) are as they were written.");
    }
    for problem in &found.breaks {
        let _ = writeln!(text, "{}", painted(BAD, plain(problem)));
    }
    if let Some(head) = &found.head {
        let _ = writeln!(text, "SHA-256 of the last line: {head}");
    }
    text
}

/// What became of a freeze, or of its end.
pub(crate) fn frozen(answer: &FrozenAnswer) -> String {
    let mut text = match (&answer.freeze, answer.changed) {
        (Some(freeze), _) => match &freeze.until {
            Some(until) => format!("Frozen until {until}: nothing but a rollback moves traffic.\n"),
            None => "Frozen until `cutover unfreeze`: nothing but a rollback moves traffic.\n".to_owned(),
        },
        (None, true) => "Not frozen any more.\n".to_owned(),
        (None, false) => "It was not frozen; nothing was touched.\n".to_owned(),
    };
    if answer.changed && !answer.durable {
        text.push_str("It is in force, but not on disk yet.\n");
    }
    text
}

/// An error of the proxy.
pub(crate) fn problem(problem: &Problem) -> String {
    let instead = problem.rollback_unsafe.as_ref();
    // What to do instead gets lines of its own.
    let detail =
        instead.map_or_else(|| problem.detail.clone(), |u| problem.detail.replace(&format!("; {}", u.hint), ""));
    // Also of several lines, where a file is not valid.
    let detail: Vec<_> = detail.trim_end().lines().map(plain).collect();
    let mut text = format!("{BAD}{}{BAD:#}: {}", problem.code, detail.join("\n"));
    for step in instead.iter().flat_map(|instead| &instead.steps) {
        let _ = write!(text, "\n  {:<14}  {}", step.step, plain(&step.what));
    }
    if let Some(instead) = instead.filter(|instead| instead.steps.is_empty()) {
        let _ = write!(text, "\n  {}", plain(&instead.hint));
    }
    for endpoint in problem.endpoints.iter().filter(|endpoint| !endpoint.passed) {
        let took = short(Duration::from_micros(endpoint.took_us));
        let _ = write!(
            text,
            "\n  {}  {}  {} (at {}, after {took})",
            endpoint.upstream,
            endpoint.endpoint,
            plain(&endpoint.detail),
            endpoint.at
        );
    }
    text
}

/// Text of others, without what would move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// A duration with about three figures.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 if seconds < 0.001 => format!("{} µs", duration.as_micros()),
        0 => format!("{:.1} ms", seconds * 1e3),
        1..=59 => format!("{seconds:.1} s"),
        60..=3599 => format!("{} min", duration.as_secs() / 60),
        3600..=172_799 => format!("{} h", duration.as_secs() / 3600),
        _ => format!("{} days", duration.as_secs() / 86_400),
    }
}

fn ago(at: &str) -> String {
    let at = humantime::parse_rfc3339(at).ok();
    let age = at.and_then(|at| SystemTime::now().duration_since(at).ok());
    match age.map_or(0, |age| age.as_secs()) {
        seconds @ 0..=59 => format!("{seconds} s"),
        seconds => short(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
