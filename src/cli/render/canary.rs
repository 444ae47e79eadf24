//! Canaries in words: their shares, clocks and pauses. `evidence` has the numbers of the judge.

use std::fmt::Write;

use super::evidence::{bar, both, doubts, event, finding_line, findings, odds, table};
use super::moves::{file_problem, overrode, quarantined, warnings};
use super::numbers::{percent, span, thousands};
use super::{BAD, GOOD, color, happened, layout, painted, plain};
use crate::admin::api::{CanaryAnswer, CanaryMoved, CanaryStatus, NextAnswer, TransitionAnswer};
use crate::cli::when;
use crate::domain::verdict::Veto;

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

fn other(name: &str) -> String {
    color(if name == "blue" { "green" } else { "blue" })
}

#[cfg(test)]
pub(crate) mod tests;
