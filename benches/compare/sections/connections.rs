//! Connections: many new ones at once, thousands at a time, and their share among workers.

mod crowd;
mod fairness;
mod storm;

use crate::bench::Bench;
use crate::report::Report;

/// Enough for a median; each takes seconds.
const ROUNDS: u32 = 3;

pub(crate) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    let rounds = rounds.min(ROUNDS);
    report.section(
        "Connections",
        &format!(
            "Medians of {rounds} rounds in turns. A star: another program took part in more than half of the rounds."
        ),
    );
    storm::run(bench, report, rounds).await;
    crowd::run(bench, report, rounds, requests).await;
    fairness::run(bench, report, rounds, requests).await;
}

/// A star for a figure that was disturbed in more than half of the rounds.
fn star(disturbed: &[bool]) -> &'static str {
    let count = disturbed.iter().filter(|disturbed| **disturbed).count();
    if count * 2 > disturbed.len() { "*" } else { "" }
}
