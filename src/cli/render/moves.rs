//! Outcomes of switches, rollbacks, drains and freezes in words: the event, the present state, the next command.

use std::fmt::Write;
use std::time::Duration;

use super::{BAD, color, count, left, painted, plain, short, way_back};
use crate::admin::api::{DrainedAnswer, FrozenAnswer, MovingAnswer, SwitchAnswer};

pub(crate) fn moved(answer: &SwitchAnswer, verb: &str) -> String {
    warnings(&answer.warnings) + &what_moved(answer, verb) + &file_problem(answer.file_problem.as_deref())
}

pub(crate) fn warnings(warnings: &[String]) -> String {
    warnings.iter().map(|said| warning(said) + "\n").collect()
}

pub(crate) fn warning(said: &str) -> String {
    painted(BAD, "WARNING:") + " " + &plain(said)
}

/// A warning that the file could not be updated by the command.
pub(crate) fn file_problem(problem: Option<&str>) -> String {
    let Some(problem) = problem else { return String::new() };
    let problem: Vec<_> = problem.trim_end().lines().map(plain).collect();
    let problem = painted(BAD, problem.join("\n"));
    format!("{problem}\nThe command used the configuration in force. Next: `cutover check`\n")
}

pub(crate) fn overrode(guards: &[String]) -> String {
    if guards.is_empty() {
        return String::new();
    }
    let guards: Vec<_> =
        guards.iter().map(|guard| if guard == "health" { "health (no endpoint was probed)" } else { guard }).collect();
    format!("--force overrode: {}.\n", guards.join(", "))
}

pub(crate) fn quarantined(release: Option<&str>) -> String {
    let said = |release| format!("Quarantined release {}: every move to it is refused from now on.\n", plain(release));
    release.map(said).unwrap_or_default()
}

fn cancelled(moving: &MovingAnswer) -> String {
    format!("Cancelled {} to {} ({})", plain(&moving.whose), color(&moving.to), plain(&moving.release))
}

fn what_moved(answer: &SwitchAnswer, verb: &str) -> String {
    let SwitchAnswer { release, generation, .. } = answer;
    let active = color(&answer.active);
    if answer.dry_run {
        return would(answer, verb);
    }
    if let (false, Some(moving)) = (answer.changed, &answer.cancelled) {
        return format!("{}; {active} ({release}) keeps serving.\n", cancelled(moving));
    }
    if !answer.changed {
        let mut text =
            format!("{active} serves already (release {release}, generation {generation}); nothing changed.\n");
        if let Some(pending) = &answer.pending {
            text.push_str(&still_pending(pending));
        }
        return text;
    }
    let took = short(Duration::from_micros(answer.took_us));
    let mut text = format!("{verb} to {active} (release {release}) in {took}, generation {generation}.\n");
    if let Some(canary) = &answer.ended_canary {
        let weight = super::numbers::percent(canary.weight);
        let _ = writeln!(text, "The canary of {} at {weight} ended; it has all traffic.", plain(&canary.release));
    }
    if let Some(moving) = &answer.cancelled {
        let _ = writeln!(text, "{}.", cancelled(moving));
    }
    text.push_str(&overrode(&answer.overrode));
    text.push_str(&quarantined(answer.quarantined.as_deref()));
    if let Some(held) = answer.held_us {
        let _ = writeln!(text, "Requests were held for {}.", short(Duration::from_micros(held)));
    }
    if !answer.durable {
        text.push_str("The decision is in force, but not on disk yet. Next: `cutover status`\n");
    }
    if let Some(rollback) = answer.rollback.as_ref().filter(|rollback| rollback.safe == "no") {
        let _ = writeln!(text, "The way back is {}.", way_back(rollback));
    }
    // An empty drain is over before anybody reads this.
    let under_way = answer.draining.as_ref().filter(|left| left.requests + left.streams + left.tunnels > 0);
    if let Some(draining) = under_way {
        let _ = writeln!(text, "Draining {}.", left(draining));
    }
    text
}

fn would(answer: &SwitchAnswer, verb: &str) -> String {
    let SwitchAnswer { release, generation, .. } = answer;
    let active = color(&answer.active);
    if let (false, Some(moving)) = (answer.changed, &answer.cancelled) {
        let (whose, to) = (plain(&moving.whose), color(&moving.to));
        let pending = format!("{whose} to {to} ({})", plain(&moving.release));
        return format!("Would cancel {pending}; {active} ({release}) would keep serving.\nNothing was changed.\n");
    }
    if !answer.changed {
        return format!(
            "Would change nothing: {active} serves already (release {release}, generation {generation}).\n"
        );
    }
    let back = verb == "Rolled back";
    let mut text = match (back, answer.active == answer.previous) {
        (true, true) => format!("Would end the canary: {active} ({release}) would get all requests.\n"),
        (true, false) => format!("Would roll back to {active} (release {release}): no guard refuses it.\n"),
        (false, _) => format!("Would switch to {active} (release {release}): no guard refuses it.\n"),
    };
    text.push_str(&super::gate::checks(&answer.checks));
    if let Some(bad) = answer.quarantined.as_deref() {
        let _ = writeln!(text, "It would quarantine release {}.", plain(bad));
    }
    if let Some(rollback) = answer.rollback.as_ref().filter(|_| !back) {
        let _ = writeln!(text, "The way back would then be {}.", way_back(rollback));
    }
    text + "Nothing was changed.\n"
}

/// A command without effect left another operator's move pending.
fn still_pending(pending: &MovingAnswer) -> String {
    let (whose, to, release) = (plain(&pending.whose), color(&pending.to), plain(&pending.release));
    let reason = pending.reason.as_deref().map(|reason| format!(", reason: {}", plain(reason))).unwrap_or_default();
    let left = pending.ends_in_ms.map(|left| format!(", {} s left", left.div_ceil(1_000))).unwrap_or_default();
    format!(
        "{whose} to {to} ({release}) is still pending, since {}{reason}{left}. To cancel it: `cutover rollback`\n",
        pending.since
    )
}

pub(crate) fn drained(drained: Option<&DrainedAnswer>) -> String {
    let Some(drained) = drained else {
        return "Drained: the color that served before has no requests.\n".to_owned();
    };
    let took = short(Duration::from_micros(drained.took_us));
    if drained.cut_off == 0 {
        return format!("Drained after {took}: {} has no requests.\n", color(&drained.color));
    }
    let cut = painted(BAD, format!("{} cut off", count(drained.cut_off, "request")));
    format!("Drained after {took}; {cut}.\n")
}

pub(crate) fn frozen(answer: &FrozenAnswer) -> String {
    let mut text = match (&answer.freeze, answer.changed) {
        (Some(freeze), _) => match &freeze.until {
            Some(until) => format!("Frozen until {until}: nothing but a rollback moves traffic.\n"),
            None => "Frozen until `cutover unfreeze`: nothing but a rollback moves traffic.\n".to_owned(),
        },
        (None, true) => "Moves are allowed again.\n".to_owned(),
        (None, false) => "Nothing changed: moves were not frozen.\n".to_owned(),
    };
    if let Some(before) = &answer.replaced {
        let _ = writeln!(text, "It replaced the freeze of {}: {}.", plain(&before.by), plain(&before.reason));
    }
    if let Some(moving) = &answer.cancelled {
        let _ = writeln!(text, "{}.", cancelled(moving));
    }
    if answer.changed && !answer.durable {
        text.push_str("It is in force, but not on disk yet.\n");
    }
    text
}
