//! The answer to a command, read from its ledger line: the process ended before it answered.

use crate::domain::rollout::{Outcome, Refusal};
use crate::domain::transition::{Kind, Transition};

impl Outcome {
    pub fn of_line(line: &Transition) -> Result<Outcome, Refusal> {
        if let Some((code, sentence)) = &line.refusal {
            return Err(Refusal::recalled(code, sentence));
        }
        let decision = &line.decision;
        // An abort's line names the canary.
        let previous = match (&line.from, line.kind) {
            (Some((color, _)), kind) if kind != Kind::Abort => *color,
            _ => decision.active,
        };
        Ok(Outcome {
            changed: true,
            dry_run: false,
            active: decision.active,
            previous,
            release: decision.release.clone(),
            generation: decision.generation,
            at: line.at,
            took: line.took,
            durable: true,
            way_back: None,
            held: line.held,
            deployment: decision.deployment.clone(),
            file_problem: None,
            checks: line.gate.as_ref().map(|gate| gate.checks.clone()).unwrap_or_default(),
            overrode: line.overrode.clone(),
            cancelled: None,
            pending: None,
            replaced: None,
            replaced_pause: None,
            quarantined: decision.quarantine.iter().find(|bad| bad.since == line.at).map(|bad| bad.release.clone()),
            ended_canary: None,
        })
    }
}
