//! Outcomes of upgrades: `cutover_upgrades_total{outcome}`, counted by the process that serves afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::exposition::Page;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The process before ended during the upgrade.
    Alone,
    /// A move, a pause or another upgrade has to end first.
    Refused,
    /// The file is no program, or may not be executed.
    NotStarted,
    /// The new process ended before it served.
    Died,
    /// The new process did not serve in time.
    Late,
    /// The new process gave a reason, such as its configuration.
    Rejected,
}

const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Done, "done"),
    (Outcome::Alone, "alone"),
    (Outcome::Refused, "refused"),
    (Outcome::NotStarted, "not_started"),
    (Outcome::Died, "died"),
    (Outcome::Late, "late"),
    (Outcome::Rejected, "rejected"),
];

static COUNTS: [AtomicU64; OUTCOMES.len()] = [const { AtomicU64::new(0) }; OUTCOMES.len()];

pub(crate) fn count(outcome: Outcome) {
    COUNTS[outcome as usize].fetch_add(1, Ordering::Relaxed);
}

pub(super) fn render(page: &mut Page) {
    let mut upgrades =
        page.counter("cutover_upgrades_total", "Upgrades, by outcome. After done or alone, another process counts.");
    for (outcome, name) in OUTCOMES {
        upgrades.sample(&[("outcome", name)], COUNTS[outcome as usize].load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_count() {
        for (index, (outcome, _)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
