//! Evidence in words: odds as bars, a verdict with its findings, and a row per route.

use std::fmt::Write;

use super::numbers::{percent, thousands};
use super::{BAD, DIM, GOOD, layout, painted, plain};
use crate::admin::api::{
    EventAnswer, EvidenceAnswer, FindingAnswer, JudgementAnswer, LatencyAnswer, OddsAnswer, RouteAnswer, SideAnswer,
    ToldAnswer,
};
use crate::domain::verdict::{MISSES_FILES, Veto};

const WIDE: usize = 30;
/// Length of a route's name that always fits beside its numbers.
const SHORT: usize = 10;
/// Routes in the table; [`NAMED`] limits those in a line.
const ROUTES: usize = 20;
const NAMED: usize = 5;

/// Odds relative to their limit, as a bar on a logarithmic scale.
pub(super) fn odds(of: &OddsAnswer) -> String {
    let far = if of.limit > 1.0 { of.odds.max(1.0).ln() / of.limit.ln() } else { 0.0 };
    format!("{} {} of {}", bar(far), ratio(of.odds), ratio(of.limit))
}

pub(super) fn bar(part: f64) -> String {
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

/// `of a regression 12:1 (rollback at 1,000:1), of health 8:1 (next step at 20:1)`
pub(super) fn both(evidence: &EvidenceAnswer) -> String {
    let worse = format!("of a regression {} (rollback at {})", ratio(evidence.worse.odds), ratio(evidence.worse.limit));
    match &evidence.no_worse {
        Some(no_worse) => {
            format!("{worse}, of health {} (next step at {})", ratio(no_worse.odds), ratio(no_worse.limit))
        }
        None => worse,
    }
}

pub(super) fn doubts(evidence: &EvidenceAnswer) -> Vec<String> {
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

pub(super) fn finding_line(finding: &FindingAnswer) -> String {
    format!("{} ({})", plain(&finding.words), ratio(finding.evidence as f64))
}

/// `order: 20 % fewer than on blue (4.0 % against 5.0 % of requests; 10 % fewer tolerated) 12:1`
pub(super) fn event(of: &EventAnswer, stable_color: &str) -> String {
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

fn figure(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        number if number >= 9.95 => format!("{number:.0}"),
        number if number >= 0.995 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

pub(super) fn table(routes: &[RouteAnswer]) -> String {
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

fn millis(number: f64) -> String {
    if number >= 9.95 { format!("{number:.0}") } else { format!("{number:.1}") }
}
