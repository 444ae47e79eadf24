//! Canaries in words: share bars, evidence toward both verdicts, the clock, and a row per route.

use std::fmt::Write;

use super::moves::{file_problem, overrode, quarantined, warnings};
use super::numbers::{percent, span, thousands};
use super::{BAD, DIM, GOOD, color, happened, layout, painted, plain};
use crate::admin::api::{
    CanaryAnswer, CanaryMoved, CanaryStatus, EventAnswer, EvidenceAnswer, FindingAnswer, JudgementAnswer,
    LatencyAnswer, NextAnswer, OddsAnswer, RouteAnswer, SideAnswer, ToldAnswer, TransitionAnswer,
};
use crate::cli::when;
use crate::domain::verdict::{MISSES_FILES, Veto};

const WIDE: usize = 30;
/// Length of a route's name that always fits beside its numbers.
const SHORT: usize = 10;
/// Routes in the table; [`NAMED`] limits those in a line.
const ROUTES: usize = 20;
const NAMED: usize = 5;

pub(crate) fn moved(answer: &CanaryMoved, verb: &str) -> String {
    let CanaryMoved { active, release, generation, .. } = answer;
    let serves = format!("{} (release {})", color(active), plain(release));
    let mut text = match (&answer.canary, answer.changed) {
        (Some(canary), true) => {
            let mut text = format!("{verb}: {}, generation {generation}.\n", share(canary));
            if canary.held.is_none() && canary.stage == "step" {
                let _ = writeln!(text, "{}", hint(canary));
                if let Some(said) = canary.next.as_ref().and_then(|next| pace(canary, next)) {
                    let _ = writeln!(text, "{said}.");
                }
            }
            text
        }
        (Some(canary), false) => format!("Nothing changed: {}.\n", share(canary)),
        (None, true) => format!("{verb}: {serves} has all of the traffic, generation {generation}.\n"),
        (None, false) => match &answer.cancelled {
            Some(moving) => format!("Cancelled {}; {serves} has all of the traffic.\n", plain(&moving.whose)),
            None => format!("Nothing changed: no canary is running, and {serves} has all of the traffic.\n"),
        },
    };
    if !answer.durable {
        text.push_str("The decision is in force, but not on disk yet. Next: `cutover status`\n");
    }
    text.push_str(&overrode(&answer.overrode));
    text.push_str(&quarantined(answer.quarantined.as_deref()));
    text + &file_problem(answer.file_problem.as_deref()) + &warnings(&answer.warnings)
}

fn hint(canary: &CanaryStatus) -> String {
    let plan: Vec<_> = canary.plan.steps.iter().map(|step| percent(*step)).collect();
    let by_itself = match canary.mode.as_str() {
        "enforce" => "`cutover canary watch` follows it, `cutover canary abort` takes it back at once",
        _ => "the verdict is only reported, and `cutover canary advance` takes the next step",
    };
    format!("Steps: {}; {by_itself}.", plan.join(", "))
}

/// A warning where the step takes longer than it may.
fn pace(canary: &CanaryStatus, next: &NextAnswer) -> Option<String> {
    let (takes, most) = (next.needs_s?, next.at_most_s.filter(|_| next.stopped.is_none())?);
    // The share at which half of the time would suffice. More than half of the requests is no comparison.
    let needed = (canary.weight * takes / most * 2.0).clamp(canary.weight, 50.0);
    let steps: &[f64] = if needed <= 10.0 {
        &[10.0, 50.0]
    } else if needed <= 25.0 {
        &[25.0, 50.0]
    } else {
        &[50.0]
    };
    let steps: Vec<String> = steps.iter().map(|step| format!("{step}%")).collect();
    (takes > most && canary.weight < 50.0).then(|| {
        format!(
            "At the present rate this step takes about {}, and it has {}; larger steps are proved sooner: \
             `cutover canary abort`, then `cutover canary start --steps {}`",
            span(takes),
            span(most),
            steps.join(",")
        )
    })
}

/// `order: 20 % fewer than on blue (4.0 % against 5.0 % of requests; 10 % fewer tolerated) 12:1`
fn event(of: &EventAnswer, stable_color: &str) -> String {
    let name = plain(&of.event);
    if of.candidate.requests == 0 {
        return format!("{name}: not compared yet");
    }
    let rate = |side: &ToldAnswer| side.told as f64 / side.requests.max(1) as f64;
    let (stable, candidate) = (rate(&of.stable), rate(&of.candidate));
    let change = 100.0 * (candidate / stable - 1.0);
    let compared = match change {
        _ if stable == 0.0 && candidate == 0.0 => "none, as".to_owned(),
        _ if stable == 0.0 => "more than".to_owned(),
        change if change.abs() < 0.5 => "as many as".to_owned(),
        change if change > 0.0 => format!("{} % more than", figure(change)),
        change => format!("{} % fewer than", figure(-change)),
    };
    let [candidate, stable] = [candidate, stable].map(|rate| figure(100.0 * rate));
    let tolerated = format!("{} {} tolerated", percent(of.tolerate), of.bad);
    format!(
        "{name}: {compared} on {stable_color} ({candidate} % against {stable} % of requests; {tolerated}) {}",
        ratio(of.odds)
    )
}

/// `green 2.0 gets 5 % of the requests (step 1 of 3)`
fn share(canary: &CanaryStatus) -> String {
    let new = format!("{} {}", color(&canary.color), plain(&canary.release));
    let held = if canary.held.is_some() { ", held" } else { "" };
    match canary.step {
        Some(step) => {
            let (weight, of) = (percent(canary.weight), canary.plan.steps.len());
            format!("{new} gets {weight} of the requests (step {step} of {of}{held})")
        }
        None if canary.weight < 100.0 => {
            let back = percent(100.0 - canary.weight);
            format!("{new} has the traffic and is watched ({back} stays on the old color{held})")
        }
        None => format!("{new} has the traffic and is watched{held}"),
    }
}

pub(crate) fn canary(answer: &CanaryAnswer) -> String {
    let Some(canary) = &answer.canary else { return nothing(answer) };
    let mut text = String::new();
    let mut row = |name: &str, what: String| text.push_str(&layout::row(name, &what));
    let new = format!("{} {}", color(&canary.color), plain(&canary.release));
    row(
        "canary",
        format!("{} · {new} against {} {} · {}", canary.id, other(&canary.color), plain(&canary.stable), canary.mode),
    );
    row("weight", format!("{} {}", bar(canary.weight / 100.0), weight(canary)));
    row("step", clock(canary));
    if let Some(evidence) = &canary.evidence {
        row("regression", odds(&evidence.worse));
        if let Some(no_worse) = &evidence.no_worse {
            // A full bar beside a broken route would be believed.
            let visibly_worse = evidence.veto.as_deref().and_then(Veto::named).is_some_and(Veto::is_alarming);
            let none = || painted(BAD, format!("{} none: see below", bar(0.0)));
            row("health", if visibly_worse { none() } else { odds(no_worse) });
        }
        if let Some(hold) = evidence.hold.as_ref().filter(|hold| hold.odds >= 2.0) {
            row("client side", format!("{} (4xx, clients that left)", odds(hold)));
        }
        if let Some(cpu) = evidence.cpu.as_ref().filter(|cpu| cpu.odds >= 2.0) {
            row("cpu", odds(cpu));
        }
    } else if canary.mode == "off" {
        row("evidence", "not judged: mode is off".to_owned());
    } else {
        row("evidence", "none yet".to_owned());
    }
    for of in &canary.events {
        row("event", event(of, &other(&canary.color)));
    }
    for said in words(canary) {
        row("", said);
    }
    for finding in canary.judgement.iter().flat_map(|judgement| &judgement.findings).take(3) {
        row("", finding_line(finding));
    }
    afterwards(answer, &mut row);
    if !canary.routes.is_empty() {
        text.push('\n');
        text.push_str(&table(&canary.routes));
    }
    text
}

fn nothing(answer: &CanaryAnswer) -> String {
    let serves = format!("{} (release {})", color(&answer.active), plain(&answer.release));
    let mut text = format!("No canary is running; {serves} has all of the traffic.\n");
    afterwards(answer, &mut |name, what| text.push_str(&layout::row(name, &what)));
    text
}

fn afterwards(answer: &CanaryAnswer, row: &mut impl FnMut(&str, String)) {
    if answer.both_unhealthy {
        row(
            "",
            painted(
                BAD,
                "the rollback did not help: the release that serves is no better; nothing moves automatically",
            ),
        );
    }
    if let Some(left) = answer.verifying_s {
        row("", format!("checking for {} more whether the rollback helped", span(left)));
    }
    if let Some(until) = &answer.cooldown_until {
        row(
            "",
            format!(
                "cooling down after a rollback: nothing starts or advances automatically until {}",
                when::shown(until)
            ),
        );
    }
}

/// `5 %, next 25 %`
fn weight(canary: &CanaryStatus) -> String {
    let steps = &canary.plan.steps;
    let place = match canary.step {
        Some(step) => format!(" · step {step} of {}", steps.len()),
        None => " · bake".to_owned(),
    };
    let next = canary.next.as_ref().filter(|next| next.weight > canary.weight);
    let next = next.map(|next| format!(", next {}", percent(next.weight))).unwrap_or_default();
    format!("{}{place}{next}", percent(canary.weight))
}

/// Time in this step, and its minimum or maximum.
fn clock(canary: &CanaryStatus) -> String {
    let Some(next) = &canary.next else { return format!("for {}", span(canary.for_s)) };
    let mut text = if canary.stage == "step" {
        format!("{} of at least {}", span(canary.for_s), span(canary.plan.dwell_s))
    } else {
        format!("{} left", span(next.in_s))
    };
    if let Some(left) = next.at_most_s.filter(|_| next.stopped.is_none()) {
        let what = match canary.plan.on_insufficient.as_str() {
            "advance" => "advances",
            "abort" => "is taken back",
            _ => "pauses",
        };
        let _ = write!(text, "; {what} in {} if the evidence is still insufficient", span(left));
    }
    text
}

fn words(canary: &CanaryStatus) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(needs) = canary.next.as_ref().and_then(needs) {
        said.push(needs);
    }
    said.extend(canary.next.as_ref().and_then(|next| pace(canary, next)));
    let stopped = canary.next.as_ref().and_then(|next| next.stopped.as_deref());
    match (stopped, &canary.held) {
        (_, Some(held)) => {
            let text =
                format!("PAUSED by {}: {}; to continue: cutover canary resume", plain(&held.by), plain(&held.reason));
            said.push(painted(BAD, text));
        }
        (Some("frozen"), _) => said.push(painted(BAD, "PAUSED: moves are frozen; to allow them: cutover unfreeze")),
        (Some("cooling_down"), _) => {
            said.push("paused: cooling down after a rollback".to_owned());
        }
        (Some("suspect"), _) => {
            said.push(painted(BAD, "PAUSED: probably worse; to take it back: cutover canary abort"))
        }
        (Some("baseline_unhealthy"), _) => {
            let old = other(&canary.color);
            said.push(painted(
                BAD,
                format!("PAUSED: {old} {}, which it is compared with, fails", plain(&canary.stable)),
            ));
        }
        (Some("by_hand"), _) => {
            said.push("only observed; to advance: cutover canary advance".to_owned());
        }
        _ => {}
    }
    if let Some(evidence) = &canary.evidence {
        said.extend(doubts(evidence));
    }
    said
}

fn doubts(evidence: &EvidenceAnswer) -> Vec<String> {
    let mut said = Vec::new();
    if evidence.without_control {
        said.push(
            "no other release serves; errors are compared with the time before, and pause the release".to_owned(),
        );
    }
    if let Some(veto) = evidence.veto.as_deref().and_then(Veto::named) {
        let text = format!("no step follows: {}", veto.words());
        said.push(if veto.is_alarming() { painted(BAD, text) } else { text });
    }
    if evidence.misses_files {
        said.push(MISSES_FILES.to_owned());
    }
    if evidence.stable_worse {
        said.push("the release it is compared with is the worse one".to_owned());
    }
    if evidence.split_off {
        said.push("the observed split differs from the weight; verdicts still hold".to_owned());
    }
    if let Some(networks) = evidence.few_networks {
        let from = if networks == 1 { "1 client network".to_owned() } else { format!("{networks} client networks") };
        said.push(format!(
            "evidence is thin: all requests come from {from}; `listen.trusted_proxies` names proxies in front, \
             `canary.evidence_per_network` says how much one network counts"
        ));
    }
    said
}

/// `needs about 120 more requests, 40 s`
fn needs(next: &NextAnswer) -> Option<String> {
    let requests = next.needs_requests?;
    let time = match next.needs_s {
        Some(seconds) => span(seconds),
        None => "but no requests arrive".to_owned(),
    };
    Some(format!("needs about {} more requests to prove health, {time}", thousands(requests)))
}

/// Rows of `cutover status`: title and text; odds only if `verbose`.
pub(super) fn rows(canary: &CanaryStatus, verbose: bool) -> Vec<(&'static str, String)> {
    let name = if canary.stage == "step" { "canary" } else { "bake" };
    let new = format!("{} {}", color(&canary.color), plain(&canary.release));
    let mode = match canary.mode.as_str() {
        "enforce" => "",
        "off" => "; not judged",
        _ => "; being observed (no automatic rollback)",
    };
    let first = match canary.stage.as_str() {
        "step" => format!("{new} gets {}{mode}", weight(canary)),
        _ => format!("{new} has {}{mode}", percent(canary.weight)),
    };
    let mut rows = vec![(name, format!("{first}; {}", clock(canary)))];
    rows.extend(words(canary).into_iter().map(|said| ("", said)));
    if let Some(evidence) = canary.evidence.as_ref().filter(|_| verbose) {
        rows.push(("evidence", both(evidence)));
    }
    rows
}

/// `of a regression 12:1 (rollback at 1,000:1), of health 8:1 (next step at 20:1)`
fn both(evidence: &EvidenceAnswer) -> String {
    let worse = format!("of a regression {} (rollback at {})", ratio(evidence.worse.odds), ratio(evidence.worse.limit));
    match &evidence.no_worse {
        Some(no_worse) => {
            format!("{worse}, of health {} (next step at {})", ratio(no_worse.odds), ratio(no_worse.limit))
        }
        None => worse,
    }
}

/// The state, without the numbers that change all the time.
pub(crate) fn place(canary: &CanaryStatus) -> String {
    let stopped = canary.next.as_ref().and_then(|next| next.stopped.clone());
    let verdict = canary.judgement.as_ref().map(|judgement| judgement.verdict.clone());
    format!("{} {:?} {} {:?} {stopped:?} {verdict:?}", canary.stage, canary.step, canary.weight, canary.held)
}

pub(crate) fn tick(canary: &CanaryStatus) -> String {
    let mut text = format!("{} {} · {}", color(&canary.color), plain(&canary.release), weight(canary));
    if let Some(evidence) = &canary.evidence {
        let _ = write!(text, " · evidence {}", both(evidence));
    }
    for said in words(canary) {
        let _ = write!(text, " · {said}");
    }
    text + "\n"
}

pub(crate) fn ended(canary: &CanaryStatus, outcome: &str, last: Option<&TransitionAnswer>) -> String {
    let new = format!("{} {}", color(&canary.color), plain(&canary.release));
    let mut text = match outcome {
        "took_traffic" => painted(GOOD, "Done") + &format!(": {new} has the traffic; it is not known good yet.\n"),
        "known_good" => painted(GOOD, "Done") + &format!(": {new} has the traffic, and is known good.\n"),
        _ => painted(BAD, "Taken back") + &format!(": {new} gets no more requests.\n"),
    };
    let Some(last) = last else { return text };
    let reason = last.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    let _ = writeln!(text, "  {} · {} {}{reason}", happened(last), last.trigger, plain(&last.actor));
    if let Some(judgement) = &last.judgement {
        text.push_str(&findings(judgement, "  "));
    }
    text
}

pub(crate) fn findings(judgement: &JudgementAnswer, indent: &str) -> String {
    let evidence = format!("evidence {} of {}", ratio(judgement.evidence as f64), ratio(judgement.limit as f64));
    let (exposed, harmed) = (thousands(judgement.exposed), thousands(judgement.harmed));
    let mut text = format!("{indent}{} · {evidence} · {exposed} requests, {harmed} errors\n", verdict(judgement));
    for finding in &judgement.findings {
        let _ = writeln!(text, "{indent}  {}", finding_line(finding));
    }
    if judgement.baseline_unhealthy {
        let _ = writeln!(text, "{indent}  the release that it is compared with fails itself");
    }
    if judgement.without_control {
        let _ = writeln!(text, "{indent}  nothing else served to compare it with");
    }
    text
}

pub(crate) fn verdict(judgement: &JudgementAnswer) -> String {
    match judgement.verdict.as_str() {
        "fail" => painted(BAD, "worse"),
        "suspect" => painted(BAD, "suspect"),
        "pass" => painted(GOOD, "no worse"),
        "insufficient" => "not decided".to_owned(),
        other => plain(other),
    }
}

fn finding_line(finding: &FindingAnswer) -> String {
    format!("{} ({})", plain(&finding.words), ratio(finding.evidence as f64))
}

fn table(routes: &[RouteAnswer]) -> String {
    let titles = ["requests", "errors", "p50 ms", "p90 ms", "p99 ms", "worse"].map(str::to_owned);
    let strongest = |row: &RouteAnswer| row.evidence.iter().map(|of| of.odds).fold(0.0, f64::max);
    let (all, mut each): (Vec<_>, Vec<_>) = routes.iter().partition(|row| row.route.is_none());
    each.sort_by(|a, b| strongest(b).total_cmp(&strongest(a)).then_with(|| a.route.cmp(&b.route)));
    let more = each.len().saturating_sub(ROUTES);
    let mut rows = vec![("route".to_owned(), titles)];
    rows.extend(all.into_iter().chain(each.into_iter().take(ROUTES)).map(cells));
    let mut wide: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|(_, row)| row[column].chars().count()).max().unwrap_or(0)).collect();
    let total = |wide: &[usize]| wide.iter().map(|wide| wide + 2).sum::<usize>();
    // The median tells least about problems.
    let shown: &[usize] = if total(&wide) + SHORT > layout::wide() { &[0, 1, 3, 4, 5] } else { &[0, 1, 2, 3, 4, 5] };
    wide = shown.iter().map(|column| wide[*column]).collect();
    let numbers = total(&wide);
    let room = layout::wide().saturating_sub(numbers).max(SHORT);
    let names = rows.iter().map(|(name, _)| name.chars().count()).filter(|name| *name <= room).max().unwrap_or(0);
    let mut text = format!("{DIM}stable / candidate{DIM:#}\n");
    for (name, row) in &rows {
        if name.chars().count() > room {
            let _ = write!(text, "{name}\n{:names$}", "");
        } else {
            let _ = write!(text, "{name:<names$}");
        }
        for (column, width) in shown.iter().zip(&wide) {
            let _ = write!(text, "  {:>width$}", row[*column]);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    if more > 0 {
        let _ = writeln!(text, "{DIM}and {more} more{DIM:#}");
    }
    text + &too_few(routes)
}

/// Routes without enough requests to judge: no finding there means nothing.
fn too_few(routes: &[RouteAnswer]) -> String {
    let mut text = String::new();
    for (kind, what) in [("errors", "errors"), ("latency", "latency")] {
        let unknown = |row: &&RouteAnswer| row.too_few.iter().any(|of| of == kind);
        let names: Vec<_> = routes.iter().filter(unknown).filter_map(|row| row.route.as_deref()).map(plain).collect();
        if names.is_empty() {
            continue;
        }
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = names[..names.len().min(NAMED)].join(", ");
        let _ = writeln!(text, "{DIM}too few requests to judge {what}: {named}{more}{DIM:#}");
    }
    text
}

fn cells(row: &RouteAnswer) -> (String, [String; 6]) {
    let RouteAnswer { stable, candidate, .. } = row;
    let errors = |side: &SideAnswer| match side.completed {
        0 => "-".to_owned(),
        completed => figure(100.0 * side.errors as f64 / completed as f64) + " %",
    };
    let latency = |of: fn(&LatencyAnswer) -> f64| {
        let shown = |side: &SideAnswer| side.latency.as_ref().map_or("-".to_owned(), |latency| millis(of(latency)));
        format!("{} / {}", shown(stable), shown(candidate))
    };
    let strongest = row.evidence.iter().max_by(|a, b| a.odds.total_cmp(&b.odds)).filter(|of| of.odds >= 2.0);
    let numbers = [
        format!("{} / {}", thousands(stable.assigned), thousands(candidate.assigned)),
        format!("{} / {}", errors(stable), errors(candidate)),
        latency(|latency| latency.p50_ms),
        latency(|latency| latency.p90_ms),
        latency(|latency| latency.p99_ms),
        strongest.map_or("-".to_owned(), |of| format!("{} {}", ratio(of.odds), class(&of.class))),
    ];
    (plain(row.route.as_deref().unwrap_or("all")), numbers)
}

fn class(name: &str) -> &str {
    match name {
        "error" => "errors",
        "slow_p50" => "p50",
        "slow_p90" => "p90",
        "slow_p99" => "p99",
        "client_error" => "4xx",
        "abort" => "left",
        "more_events" | "fewer_events" => "events",
        other => other,
    }
}

/// Odds relative to their limit, as a bar on a logarithmic scale.
fn odds(of: &OddsAnswer) -> String {
    let far = if of.limit > 1.0 { of.odds.max(1.0).ln() / of.limit.ln() } else { 0.0 };
    format!("{} {} of {}", bar(far), ratio(of.odds), ratio(of.limit))
}

fn bar(part: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 to WIDE")]
    let full = (part.clamp(0.0, 1.0) * WIDE as f64).round() as usize;
    format!("{}{}", "█".repeat(full), painted(DIM, "·".repeat(WIDE - full)))
}

/// `12:1`, `1,000:1`; no evidence is `1:1`.
pub(crate) fn ratio(odds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates")]
    match odds {
        odds if odds >= 1e9 => "over 1,000,000,000:1".to_owned(),
        odds if odds >= 9.95 => format!("{}:1", thousands(odds.round() as u64)),
        odds if odds >= 1.05 => format!("{odds:.1}:1"),
        _ => "1:1".to_owned(),
    }
}

fn figure(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number >= 9.95 => format!("{number:.0}"),
        number if number >= 0.995 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

fn millis(number: f64) -> String {
    if number >= 9.95 { format!("{number:.0}") } else { format!("{number:.1}") }
}

fn other(name: &str) -> String {
    color(if name == "blue" { "green" } else { "blue" })
}

#[cfg(test)]
pub(crate) mod tests;
