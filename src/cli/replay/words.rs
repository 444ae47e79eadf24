//! Replays in words.

use std::fmt::Write;

use crate::cli::render::evidence::{findings, verdict};
use crate::cli::render::numbers::{percent, span, thousands};
use crate::cli::render::plain;
use crate::cli::replay::{AaAnswer, Judged, Moment, ReplayAnswer};

pub(crate) fn replayed(answer: &ReplayAnswer) -> String {
    let (release, stable) = (plain(&answer.release), plain(&answer.stable));
    let (lasted, requests) = (span(answer.lasted_s), thousands(answer.requests));
    let beside = thousands(answer.stable_requests);
    let name = name(answer.deployment.as_deref());
    let mut text =
        format!("{name}{release} against {stable}: {lasted}, {requests} requests, {beside} to compare with\n\n");
    block(&mut text, "recorded", &answer.recorded);
    if let Some(replayed) = &answer.replayed {
        block(&mut text, "replayed", replayed);
    }
    text
}

fn name(deployment: Option<&str>) -> String {
    deployment.map(|deployment| format!("{deployment} · ")).unwrap_or_default()
}

fn block(text: &mut String, name: &str, judged: &Judged) {
    let Judged { alpha, margin, floor, ratio, .. } = judged;
    let _ = writeln!(text, "{name:<10} alpha {alpha}, margin {margin}, floor {}, ratio {ratio}", percent(*floor));
    let moments = [("worse", &judged.fail), ("suspect", &judged.suspect), ("no worse", &judged.pass)];
    for (what, moment) in moments {
        let _ = writeln!(text, "           {what:<9} {}", moment.as_ref().map_or("never".to_owned(), when));
    }
    match &judged.judgement {
        Some(judgement) => {
            let after = if judged.fail.is_some() { "then" } else { "at the end" };
            let lines = findings(judgement, "           ");
            let _ = write!(text, "           {after}: {}", lines.trim_start());
            debug_assert!(lines.contains(&verdict(judgement)));
        }
        None => text.push_str("           nothing was judged\n"),
    }
}

/// `after 14 s (tick 14), at request 402`
fn when(moment: &Moment) -> String {
    format!("after {} (tick {}), at request {}", span(moment.at_s), moment.tick, thousands(moment.requests))
}

/// The rate of rollbacks of a good release.
pub(crate) fn against_itself(answer: &AaAnswer) -> String {
    let AaAnswer { runs, alarms, suspicions, passes, .. } = answer;
    let name = name(answer.deployment.as_deref());
    let (stable, lasted) = (plain(&answer.stable), span(answer.lasted_s));
    let (times, requests) = (thousands(u64::from(*runs)), thousands(answer.requests));
    let mut text = format!("{name}{stable} against itself, {times} times: {lasted}, {requests} requests each\n\n");
    let of = |number: u32| {
        let share = 100.0 * f64::from(number) / f64::from(*runs).max(1.0);
        format!("{} of {times} ({})", thousands(u64::from(number)), percent(share))
    };
    let below = percent(100.0 * answer.at_most);
    let promise = percent(100.0 * answer.alpha);
    let _ =
        writeln!(text, "rolled back   {}; below {below} with 95 % confidence, and {promise} is promised", of(*alarms));
    let _ = writeln!(text, "suspected     {}", of(*suspicions));
    let _ = writeln!(text, "would advance {}", of(*passes));
    let apart = &answer.apart;
    let below = percent(100.0 * apart.at_most);
    let _ = writeln!(text, "\nWith a placebo whose bad moments are its own, some seconds after the stable release's:");
    let _ = writeln!(text, "rolled back   {}; below {below} with 95 % confidence", of(apart.alarms));
    let _ = writeln!(text, "suspected     {}", of(apart.suspicions));
    if apart.rate > 10.0 * answer.alpha.max(answer.rate) {
        let _ = writeln!(
            text,
            "\nErrors or slow requests come in clumps (they vary {:.0} times as much as independent ones would).\n\
             Clumps of one process would roll back good releases here: give each color more endpoints.\n\
             Trouble that both colors have at the same time does no harm; the record can't tell them apart.",
            answer.clumps
        );
    }
    text
}

#[cfg(test)]
mod tests;
