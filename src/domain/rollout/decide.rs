//! What a move makes of the decision in force, and what is said of it in the ledger and in the answer.

use std::time::Duration;

use crate::domain::clock::Now;
use crate::domain::rollout::stages::Share;
use crate::domain::rollout::{Asker, Move, Outcome, Rollout, quarantined, taken_back};
use crate::domain::transition::{Decision, Kind, Previous, Transition};

impl Rollout {
    /// The decision that a move leads to.
    pub(super) fn planned(&mut self, now: Now, underway: &Move) -> Decision {
        let generation = self.new_generation();
        let mut lineage = self.lineage_after(underway);
        if underway.kind == Kind::Rollback {
            let left = taken_back(now, (self.decision.active, &self.decision.release), &underway.origin);
            lineage.take_back(left, self.configured.order_window);
        }
        let current = &self.decision;
        let left = Previous {
            color: current.active,
            release: current.release.clone(),
            until: now.wall,
            known_good: current.known_good,
        };
        let mut quarantine = current.quarantine.clone();
        // It was forced, or it would not have come here.
        quarantine.retain(|bad| bad.release != underway.release);
        if underway.quarantine {
            quarantine.push(quarantined(now, &current.release, &underway.origin));
        }
        let known_good = self.known_good(now, underway);
        let whole = underway.share == Share::All;
        let active = if whole { underway.to } else { current.active };
        Decision {
            active,
            release: if whole { underway.release.clone() } else { current.release.clone() },
            since: if active == current.active { current.since } else { now.wall },
            known_good: if whole { known_good } else { current.known_good },
            previous: match underway.kind {
                Kind::Switch => Some(left),
                // What was rolled back from is no place to roll back to; forward again is a switch.
                Kind::Rollback => None,
                _ => current.previous.clone(),
            },
            freeze: current.freeze.clone(),
            quarantine,
            by_force: if active == current.active { current.by_force } else { underway.forced },
            maintenance: current.maintenance,
            seen: current.seen.clone(),
            written_back: self.written_back(active),
            lineage,
            deployment: self.deployment_after(now, underway, generation, known_good.is_some()),
            cooldown: current.cooldown,
            generation,
        }
    }

    pub(super) fn transition(&self, now: Now, underway: &Move, decision: Decision) -> Transition {
        Transition {
            // What only changes a share leaves nothing.
            from: (underway.share == Share::All).then(|| (self.decision.active, self.decision.release.clone())),
            forced: underway.forced,
            judgement: self.watching.judgement.clone().filter(|_| matches!(underway.asker, Asker::Itself)),
            gate: underway.report.clone(),
            took: now.mono.saturating_duration_since(underway.began.mono),
            held: underway.held_for(now),
            ..Transition::new(underway.kind, now.wall, underway.origin.clone(), decision)
        }
    }

    pub(super) fn outcome(&self, now: Now, underway: &Move, next: &Decision, durable: bool) -> Outcome {
        Outcome {
            changed: true,
            dry_run: false,
            active: next.active,
            previous: self.decision.active,
            release: next.release.clone(),
            generation: next.generation,
            at: now.wall,
            took: now.mono.saturating_duration_since(underway.began.mono),
            durable,
            way_back: self.outlook(underway, &next.lineage),
            held: underway.held_for(now),
            deployment: next.deployment.clone(),
            file_problem: None,
            checks: underway.report.as_ref().map(|report| report.checks.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn unchanged(&self, now: Now, dry_run: bool) -> Outcome {
        Outcome {
            changed: false,
            dry_run,
            active: self.decision.active,
            previous: self.decision.active,
            release: self.decision.release.clone(),
            generation: self.decision.generation,
            at: now.wall,
            took: Duration::ZERO,
            durable: self.durable && self.line.freeze == self.decision.freeze,
            way_back: None,
            held: None,
            deployment: self.decision.deployment.clone(),
            file_problem: None,
            checks: Vec::new(),
        }
    }
}
