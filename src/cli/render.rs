//! Answers in words: short, aligned, in the colors' colors. Styles are always written; `output` strips them where they
//! are not wanted.

use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};

use crate::admin::api::{
    Draining, HoldAnswer, HoldStatus, NeedAnswer, NotifyTestAnswer, Problem, RollbackAnswer, TriedAnswer,
};
use crate::cli::when;

pub(crate) mod canary;
pub(crate) mod evidence;
mod gate;
mod history;
pub(crate) mod layout;
pub(crate) mod moves;
pub(crate) mod numbers;
mod status;

use history::happened;
pub(crate) use history::{history, releases, verified};
pub(crate) use status::{headline, status};

const BLUE: Style = AnsiColor::BrightBlue.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DIM: Style = Style::new().dimmed();

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
    // `why` begins with the sentence above.
    let said = rollback.unsafe_why.as_deref().filter(|_| rollback.safe == "no").unwrap_or_default();
    let why = rollback.why.as_deref().unwrap_or_default();
    let also = why.strip_prefix(said).unwrap_or(why).trim_start_matches("; ");
    let also = if also.is_empty() { String::new() } else { format!(", but {}", plain(also)) };
    format!("{safety}, to {} (release {release}){also}", color(to))
}

pub(crate) fn door(answer: &HoldAnswer) -> String {
    let active = color(&answer.active);
    let state = match &answer.hold {
        _ if answer.maintenance => format!("every request gets the maintenance answer; {active} is active"),
        Some(hold) => format!("requests are held, {}", held(hold)),
        None => format!("requests are served by {active}"),
    };
    let mut text = match answer.changed {
        true => format!("{}{}.\n", state[..1].to_uppercase(), &state[1..]),
        false => format!("Nothing changed: {state}.\n"),
    };
    if let Some(before) = &answer.replaced {
        let reason = before.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
        let _ = writeln!(text, "It replaced the pause of {}{reason}.", plain(&before.actor));
    }
    if !answer.durable {
        text.push_str("The decision is in force, but not on disk yet. Next: `cutover status`\n");
    }
    text
}

fn held(hold: &HoldStatus) -> String {
    let ends = short(Duration::from_millis(hold.ends_in_ms));
    let whose = if hold.for_move { "for a move" } else { "by hand" };
    let reason = hold.reason.as_deref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    format!("{whose}, for {ends} more at most: {} · {}{reason}", count(hold.requests, "request"), plain(&hold.actor))
}

/// Reason that a color may not be stopped, and until when.
pub(crate) fn needed(need: &NeedAnswer) -> String {
    let until = need.until.as_deref().map(|until| format!(", until {}", when::shown(until))).unwrap_or_default();
    format!("{}{until}", plain(&need.detail))
}

pub(crate) fn left(draining: &Draining) -> String {
    let Draining { requests, streams, tunnels, .. } = draining;
    let ends = short(Duration::from_millis(draining.ends_in_ms));
    format!(
        "{}: {}, {}, {}; the rest is cut off in {ends}",
        color(&draining.color),
        count(*requests, "request"),
        count(*streams, "stream"),
        count(*tunnels, "tunnel"),
    )
}

pub(crate) fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

pub(crate) fn notify_test(answer: &NotifyTestAnswer) -> String {
    let wide = answer.notices.iter().map(|notice| notice.sink.len()).max().unwrap_or(0);
    let mut text = String::new();
    // One line about an unreachable receiver stands for the rest.
    let tried = |notice: &&TriedAnswer| !notice.detail.starts_with("not tried: ");
    for notice in answer.notices.iter().filter(tried) {
        let what = if notice.delivered { "delivered".to_owned() } else { painted(BAD, "failed") };
        let _ = writeln!(text, "{:<wide$}  {:<28} {what} ({})", notice.sink, notice.event, plain(&notice.detail));
    }
    let untried = answer.notices.iter().filter(|notice| !tried(notice)).count();
    if untried > 0 {
        let _ = writeln!(text, "{} not tried", count(untried as u64, "notice"));
    }
    text
}

pub(crate) fn problem(problem: &Problem) -> String {
    let instead = problem.rollback_unsafe.as_ref();
    let detail =
        instead.map_or_else(|| problem.detail.clone(), |u| problem.detail.replace(&format!("; {}", u.hint), ""));
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

pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 if seconds < 0.001 => "less than 1 ms".to_owned(),
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
