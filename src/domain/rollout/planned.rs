//! The decision after a move, and its record in the ledger and in the answer.

use std::time::Duration;

use crate::domain::clock::Now;
use crate::domain::force::Guard;
use crate::domain::gate;
use crate::domain::release::Release;
use crate::domain::rollout::share::Share;
use crate::domain::rollout::{Asker, Move, Outcome, Rollout, quarantined, rolled_back};
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Kind, Previous, Transition};

impl Rollout {
    pub(super) fn planned(&mut self, now: Now, underway: &Move) -> Decision {
        let generation = self.new_generation();
        let mut lineage = self.lineage_after(underway);
        if underway.kind == Kind::Rollback {
            let left = rolled_back(now, (self.decision.active, &self.release_left_by(underway)), &underway.origin);
            lineage.note_rollback(left, self.configured.order_window);
        }
        let current = &self.decision;
        let left = Previous {
            color: current.active,
            release: current.release.clone(),
            until: now.wall,
            known_good: current.known_good,
        };
        let mut quarantine = current.quarantine.clone();
        // The move was forced past its quarantine.
        quarantine.retain(|bad| bad.release != underway.release);
        if underway.quarantine {
            quarantine.push(quarantined(now, &self.release_left_by(underway), &underway.origin));
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
                // A rollback leaves no target for another one; forward again is a switch.
                Kind::Rollback => None,
                _ => current.previous.clone(),
            },
            freeze: current.freeze.clone(),
            quarantine,
            by_force: if active == current.active { current.by_force } else { underway.force.overrides(Guard::Health) },
            maintenance: current.maintenance,
            seen: current.seen.clone(),
            written_back: self.written_back(active),
            lineage,
            deployment: self.deployment_after(now, underway, generation, known_good.is_some()),
            cooldown: current.cooldown,
            generation,
        }
    }

    /// The release that a rollback leaves. An operator means the one deployed there, even if its new label is not
    /// decided yet; an automatic rollback leaves the one that was watched.
    fn release_left_by(&self, underway: &Move) -> Release {
        match underway.asker {
            Asker::Command(_) => self.configured.deployed[self.decision.active].clone(),
            Asker::File | Asker::Automatic => self.decision.release.clone(),
        }
    }

    fn release_ended_by(&self, underway: &Move) -> Release {
        match self.decision.deployment.as_ref().filter(|deployment| deployment.is_canary()) {
            Some(canary) => canary.release.clone(),
            None => self.release_left_by(underway),
        }
    }

    pub(super) fn transition(&self, now: Now, underway: &Move, decision: Decision) -> Transition {
        Transition {
            // A change of weight leaves no release.
            from: (underway.share == Share::All).then(|| (self.decision.active, self.decision.release.clone())),
            forced: !underway.force.is_none(),
            overrode: self.overrode(underway),
            judgement: self.watching.judgement().cloned().filter(|_| matches!(underway.asker, Asker::Automatic)),
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
            overrode: self.overrode(underway),
            cancelled: None,
            pending: None,
            replaced: None,
            replaced_pause: None,
            quarantined: underway.quarantine.then(|| self.release_ended_by(underway)),
            ended_canary: self.ended_canary(underway),
        }
    }

    /// The answer to a dry run that no guard refuses.
    pub(super) fn would_be(&self, now: Now, underway: &Move) -> Outcome {
        Outcome {
            changed: true,
            active: underway.to,
            release: underway.release.clone(),
            took: now.mono.saturating_duration_since(underway.began.mono),
            way_back: self.outlook(underway, &self.lineage_after(underway)),
            checks: underway.report.as_ref().map(|report| report.checks.clone()).unwrap_or_default(),
            quarantined: underway.quarantine.then(|| self.release_ended_by(underway)),
            ..self.unchanged(now, true)
        }
    }

    /// Overridden guards that would have refused the move, or were skipped.
    fn overrode(&self, underway: &Move) -> Vec<Guard> {
        let stood = |guard: &Guard| match guard {
            Guard::Health => underway.report.is_none() || self.has_failed(underway),
            Guard::Quarantine => self.decision.quarantine.iter().any(|bad| bad.release == underway.release),
            Guard::Schema => !self.obstacles(underway).is_empty(),
            Guard::Cooldown => underway.kind == Kind::Canary && self.watching.cools_at().is_some(),
            Guard::Bake => underway.kind == Kind::Canary && self.decision.deployment.is_some(),
            Guard::File => underway.terms.past_file,
        };
        let all = Guard::NAMES.into_iter().map(|(_, guard)| guard);
        all.filter(|guard| underway.force.overrides(*guard)).filter(stood).collect()
    }

    fn has_failed(&self, underway: &Move) -> bool {
        underway.report.as_ref().is_some_and(|report| !gate::passes(&self.configured.gate, report))
    }

    /// The canary whose release gets all of the traffic earlier than planned.
    fn ended_canary(&self, underway: &Move) -> Option<(Release, Weight)> {
        let canary = self.decision.deployment.as_ref().filter(|deployment| deployment.is_canary())?;
        let by_hand = underway.kind == Kind::Switch && matches!(underway.asker, Asker::Command(_));
        (by_hand && self.continues(underway)).then(|| (canary.release.clone(), canary.weight))
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
            durable: self.journal.has_saved(&self.decision),
            way_back: None,
            held: None,
            deployment: self.decision.deployment.clone(),
            file_problem: None,
            checks: Vec::new(),
            overrode: Vec::new(),
            cancelled: None,
            pending: self.moving(),
            replaced: None,
            replaced_pause: None,
            quarantined: None,
            ended_canary: None,
        }
    }
}
