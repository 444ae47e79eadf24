//! `cutover history`: actions and refusals, as a table within 80 columns.

use std::fmt::Write;
use std::time::Duration;

use super::layout::{self, table};
use super::{BAD, DIM, GOOD, color, count, painted, plain, short};
use crate::admin::api::{EndedAnswer, HistoryAnswer, ReleasesAnswer, TransitionAnswer, VerifyAnswer};
use crate::cli::when;
use crate::domain::transition::InFlight;

/// Newest first. `filtered`: the answer is only a part.
pub(crate) fn history(answer: &HistoryAnswer, filtered: bool) -> String {
    if answer.transitions.is_empty() {
        return if filtered { "Nothing matches.\n".to_owned() } else { "Nothing happened yet.\n".to_owned() };
    }
    let titles = ["no", "when", "gen", "event"];
    let rows: Vec<_> = answer.transitions.iter().map(cells).collect();
    let mut text = String::new();
    // Lines below an event are indented in the same table.
    let indent = {
        let wide = |column: usize| {
            rows.iter().map(|(row, _)| layout::width(&row[column])).chain([titles[column].len()]).max().unwrap_or(0)
        };
        (0..3).map(|column| wide(column) + 2).sum::<usize>()
    };
    let whole = table(titles, &rows.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>());
    let mut lines = whole.lines().peekable();
    let margin = " ".repeat(indent);
    if let Some(titles) = lines.next() {
        let _ = writeln!(text, "{DIM}{titles}{DIM:#}");
    }
    for (_, below) in &rows {
        if let Some(first) = lines.next() {
            text.push_str(first);
            text.push('\n');
        }
        while let Some(line) = lines.next_if(|line| line.starts_with(&margin)) {
            text.push_str(line);
            text.push('\n');
        }
        for line in below {
            text.push_str(&layout::wrapped(&margin, line, indent));
        }
    }
    if let Some(before) = answer.next_before {
        let _ = writeln!(text, "{DIM}older ones: --before {before}{DIM:#}");
    }
    text
}

/// Prefixes of refusals of cancelled moves.
const CALLED_OFF: [&str; 2] = ["cancelled: ", "withdrawn: "];

fn cells(transition: &TransitionAnswer) -> ([String; 4], Vec<String>) {
    let TransitionAnswer { sequence, generation, at, .. } = transition;
    let cells = [sequence.to_string(), when::shown(at), generation.to_string(), happened(transition)];
    let mut below = Vec::new();
    let source = if transition.source.is_empty() { String::new() } else { format!(" ({})", transition.source) };
    let mut by = format!("by {} {}{source}", transition.trigger, plain(&transition.actor));
    if transition.forced {
        by.push_str(", forced");
        if !transition.overrode.is_empty() {
            let _ = write!(by, " (overrode {})", plain(&transition.overrode.join(", ")));
        }
        if transition.overridden {
            by.push_str(", and no way back");
        }
    }
    if let Some(reason) = &transition.reason {
        let _ = write!(by, ": {}", plain(reason));
    }
    below.push(by);
    if let Some(judgement) = &transition.judgement {
        below.push(plain(&judgement.words));
    }
    if let Some(refusal) = &transition.refusal {
        // The event says so already.
        let said = CALLED_OFF.iter().find_map(|code| refusal.strip_prefix(code)).unwrap_or(refusal);
        below.push(plain(said));
    }
    if let Some(drained) = transition.drained.as_ref().filter(|drained| drained.ended > 0) {
        let took = short(Duration::from_micros(drained.took_us));
        let EndedAnswer { requests, streams, tunnels } = drained.by_kind;
        let ended = InFlight { requests, streams, tunnels };
        let verb = if drained.timed_out { "cut off" } else { "closed, as drain.streams says" };
        below.push(format!("drained {} in {took}; {ended} {verb}", color(&drained.color)));
    }
    (cells, below)
}

pub(super) fn happened(transition: &TransitionAnswer) -> String {
    let (to, release) = (color(&transition.to), plain(&transition.release));
    let took = short(Duration::from_micros(transition.took_us));
    let held = transition.held_us.map(|held| format!(", requests held for {}", short(Duration::from_micros(held))));
    let held = held.unwrap_or_default();
    let from = match (&transition.from, &transition.from_release) {
        (Some(from), Some(release)) => format!("{} {} -> ", color(from), plain(release)),
        _ => String::new(),
    };
    match transition.kind.as_str() {
        "start" => format!("first start on {to} {release}"),
        "switch" => format!("switched {from}{to} {release} in {took}{held}"),
        "rollback" => format!("rolled back {from}{to} {release} in {took}{held}"),
        "hold" => "traffic paused".to_owned(),
        "hold_end" => format!("traffic unpaused after {took}"),
        "maintenance" => format!("maintenance {}", if transition.maintenance == Some(true) { "on" } else { "off" }),
        "release" => format!("{to} has release {release}"),
        "refused" => refused(transition),
        "known_good" => format!("{to} {release} is known good"),
        "freeze" => "frozen: only a rollback moves traffic".to_owned(),
        "unfreeze" => "unfrozen".to_owned(),
        "barrier" => format!("{to} {release} passed its barrier: a rollback is unsafe"),
        "staged" => staged(transition),
        "seen" if transition.refusal.is_some() => format!("refused; {to} {release} stays"),
        "seen" => format!("nothing to do; {to} {release} stays"),
        other => on_its_way(other, transition).unwrap_or_else(|| format!("{other}: {to} {release}")),
    }
}

fn on_its_way(kind: &str, transition: &TransitionAnswer) -> Option<String> {
    let watched = transition.canary.as_ref();
    let new = watched.map(|watched| format!("{} {}", color(&watched.color), plain(&watched.release)));
    let from = transition.from.as_deref().zip(transition.from_release.as_deref());
    let new = new.or_else(|| from.map(|(name, release)| format!("{} {}", color(name), plain(release))));
    let new = new.unwrap_or_else(|| "the release".to_owned());
    let weight = watched.map(|watched| super::numbers::percent(watched.weight)).unwrap_or_default();
    Some(match kind {
        "canary" => format!("canary of {new} began at {weight}"),
        "advance" => format!("{new} gets {weight}"),
        "abort" => format!("canary of {new} aborted"),
        "canary_hold" => format!("{new} paused at {weight}"),
        "canary_resume" => format!("{new} resumed from {weight}"),
        "suspect" => format!("{new} paused: probably worse"),
        "would_roll_back" => format!("{new} would have been rolled back; it is only observed"),
        "rollback_blocked" => format!("{new} can't be rolled back"),
        "baseline_unhealthy" => format!("{new} paused: the release it is compared with fails"),
        "both_unhealthy" => "the rollback did not help: both releases fail".to_owned(),
        "recovered" => "the rollback helped".to_owned(),
        _ => return None,
    })
}

fn staged(transition: &TransitionAnswer) -> String {
    let asked = transition.asked.as_ref().and_then(|asked| Some((asked.to.as_deref()?, asked.release.as_deref()?)));
    asked.map_or_else(|| "staged".to_owned(), |(to, release)| format!("staged {} on {}", plain(release), color(to)))
}

fn refused(transition: &TransitionAnswer) -> String {
    let Some(asked) = &transition.asked else { return "refused".to_owned() };
    match (&asked.to, &asked.release) {
        (Some(to), Some(release)) => {
            let kind = if asked.kind == "staged" { "deploy" } else { &asked.kind };
            let article = if kind.starts_with('a') { "an" } else { "a" };
            let refusal = transition.refusal.as_deref().unwrap_or_default();
            let verb = if CALLED_OFF.iter().any(|code| refusal.starts_with(code)) { "called off" } else { "refused" };
            format!("{verb} {article} {kind} to {} {}", color(to), plain(release))
        }
        _ => format!("refused to {}", asked.kind),
    }
}

pub(crate) fn releases(answer: &ReleasesAnswer) -> String {
    if answer.releases.is_empty() {
        return "No release served yet.\n".to_owned();
    }
    let rows: Vec<_> = answer
        .releases
        .iter()
        .map(|run| {
            let until = run.until.as_deref().map_or_else(|| "now".to_owned(), when::shown);
            let good = match &run.known_good {
                Some(since) => painted(GOOD, format!("known good since {}", when::shown(since))),
                None => painted(DIM, "never known good"),
            };
            let reason = run.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
            let more = format!("to {until}, {good}, by {} {}{reason}", run.trigger, plain(&run.actor));
            [color(&run.color), plain(&run.release), when::shown(&run.from), more]
        })
        .collect();
    table(["color", "release", "from", "until"], &rows)
}

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
