//! The gate: a move waits until its target has passed, or its time is up.

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::gate::{self, GateReport, Probed};
use crate::domain::rollout::checks::CheckState;
use crate::domain::rollout::{
    Asker, Command, CommandId, Configured, Effect, Gating, Move, Overlap, ROUND_PAUSE, Refusal, Rollout, RoundId,
    Share, State,
};
use crate::domain::transition::{Asked, Kind, Trigger};

impl Rollout {
    pub(super) fn begin(&mut self, now: Now, underway: Move, effects: &mut Vec<Effect>) {
        let schema = self.waits_for_probes(&underway) && !underway.force.overrides(Guard::Schema);
        let unasked = underway.force.overrides(Guard::Health) && !schema;
        if unasked || underway.share == Share::Rest {
            return self.gate_opened(now, underway, effects);
        }
        if !schema && let Some(refusal) = self.objection(&underway) {
            return self.refuse(now, underway, refusal, effects);
        }
        let round = RoundId(self.new_id());
        let deadline = now.mono + underway.terms.gate.unwrap_or(self.configured.gate.timeout);
        let resolve = underway.kind != Kind::Rollback;
        effects.push(Effect::Probe { round, color: underway.to, schema, resolve });
        let checks = CheckState::default();
        let gating = Gating { round: Some(round), next_round: None, deadline, rounds: 0, passes: 0, checks };
        self.state = State::Gating(underway, gating);
    }

    pub(super) fn probed(&mut self, now: Now, round: RoundId, results: Vec<Probed>, effects: &mut Vec<Effect>) {
        let State::Gating(underway, gating) = &mut self.state else { return };
        if gating.round != Some(round) || gating.checks == CheckState::Now {
            return;
        }
        gating.round = None;
        gating.rounds += 1;
        let mut report =
            GateReport { color: underway.to, rounds: gating.rounds, endpoints: results, checks: Vec::new() };
        let passed = underway.force.overrides(Guard::Health) || gate::passes(&self.configured.gate, &report);
        if passed {
            report.checks = underway.report.take().map(|before| before.checks).unwrap_or_default();
        } else {
            gating.checks = CheckState::NotYet;
        }
        underway.report = Some(report);
        // An unsafe store may be the reason why the target is unhealthy, so it is reported first.
        if self.under_way().is_some_and(|underway| self.objection(underway).is_some()) {
            let State::Gating(underway, _) = std::mem::replace(&mut self.state, State::Steady) else { return };
            return self.gate_opened(now, underway, effects);
        }
        let State::Gating(underway, gating) = &mut self.state else { return };
        gating.passes = if passed { gating.passes + 1 } else { 0 };
        let patient = underway.is_patient();
        if gating.passes >= self.configured.gate.passes || (passed && !patient) {
            self.continue_healthy(now, effects);
        } else if patient && now.mono < gating.deadline {
            gating.next_round = Some(now.mono + ROUND_PAUSE);
        } else {
            self.gate_closed(now, effects);
        }
    }

    pub(super) fn gate_closed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let State::Gating(underway, gating) = std::mem::replace(&mut self.state, State::Steady) {
            let (color, rounds) = (underway.to, gating.rounds);
            let nothing = GateReport { color, rounds, endpoints: Vec::new(), checks: Vec::new() };
            let report = underway.report.clone().unwrap_or(nothing);
            self.refuse(now, underway, gating.refusal(report), effects);
        }
    }

    pub(super) fn gate_opened(&mut self, now: Now, underway: Move, effects: &mut Vec<Effect>) {
        if underway.share != Share::Rest
            && let Some(refusal) = self.objection(&underway)
        {
            return self.refuse(now, underway, refusal, effects);
        }
        if underway.dry_run {
            if let Asker::Command(id) = underway.asker {
                effects.push(Effect::Reply(id, Ok(self.would_be(now, &underway))));
            }
            return;
        }
        if underway.overlap == Overlap::None && underway.to != self.decision.active && underway.held.is_none() {
            return self.hold_for(now, underway, effects);
        }
        let next = self.planned(now, &underway);
        let transition = self.transition(now, &underway, next.clone());
        if underway.kind == Kind::Rollback {
            let answer = match underway.asker {
                Asker::Command(id) => Some((id, self.outcome(now, &underway, &next, false))),
                Asker::File | Asker::Automatic => None,
            };
            // An answer that waits for the disk still names the decision before.
            self.journal.answer_waiting(false, effects);
            self.make_visible(now, next, effects);
            if underway.held.is_some() {
                self.release_held(effects);
            }
            self.journal.write_behind(now, transition, answer, effects);
        } else {
            let commit = self.journal.write_ahead(transition, effects);
            self.state = State::Committing(underway, commit, Box::new(next));
        }
    }

    /// A move never goes to a target that its gate has not examined. After an edit of the target the gate begins anew;
    /// a move past its gate, or for another release, is refused.
    pub(super) fn follow_target(&mut self, now: Now, before: &Configured, effects: &mut Vec<Effect>) {
        let Some(underway) = self.under_way() else { return };
        let to = underway.to;
        let deployed = self.configured.deployed[to].clone();
        let relabelled = deployed != underway.release;
        let edited = self.configured.targets[to] != before.targets[to];
        let by_file = matches!(underway.asker, Asker::File);
        // A target that serves already, or skips the gate, needs no examination.
        let unasked = edited && !underway.force.overrides(Guard::Health) && !self.decision.serves(to);
        if relabelled {
            let why = Refusal::TargetChanged { to, asked: underway.release.clone(), now: deployed };
            self.file.wait_if(by_file);
            let origin = self.configured.origin(Trigger::File);
            return self.withdraw(now, &origin, why, effects);
        }
        match &mut self.state {
            State::Gating(underway, gating) if edited => {
                let round = RoundId(self.last_id + 1);
                self.last_id += 1;
                let deadline = now.mono + underway.terms.gate.unwrap_or(self.configured.gate.timeout);
                let (rounds, checks) = (gating.rounds, CheckState::NotYet);
                *gating = Gating { round: Some(round), next_round: None, deadline, rounds, passes: 0, checks };
                underway.report = None;
                let resolve = underway.kind != Kind::Rollback;
                let schema = self.under_way().is_some_and(|underway| self.waits_for_probes(underway));
                effects.push(Effect::Probe { round, color: to, schema, resolve });
            }
            State::Holding(..) | State::Committing(..) if unasked => {
                let why = Refusal::TargetChanged { to, asked: deployed.clone(), now: deployed };
                self.file.wait_if(by_file);
                let origin = self.configured.origin(Trigger::File);
                self.withdraw(now, &origin, why, effects);
            }
            State::Steady | State::Gating(..) | State::Holding(..) | State::Committing(..) => {}
        }
    }

    pub(super) fn obstructed(
        &mut self,
        now: Now,
        id: CommandId,
        command: &Command,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let (kind, to, dry_run) = self.subject_of(command);
        if !dry_run {
            let asked = Asked { kind, to: Some((to, self.configured.deployed[to].clone())) };
            self.record_refused(now, asked, command.origin().clone(), None, &refusal);
        }
        effects.push(Effect::Reply(id, Err(refusal)));
    }

    /// Kind and target of a command, and `dry_run`.
    pub(super) fn subject_of(&self, command: &Command) -> (Kind, Color, bool) {
        let other = self.decision.active.other();
        match command {
            Command::Switch { to, dry_run, .. } => (Kind::Switch, self.target(to).unwrap_or(other), *dry_run),
            Command::Rollback { to, dry_run, .. } => (Kind::Rollback, to.unwrap_or(self.rollback_color()), *dry_run),
            Command::CanaryAbort { .. } => (Kind::Rollback, self.rollback_color(), false),
            Command::CanaryStart { .. } => (Kind::Canary, other, false),
            _ => (Kind::Advance, self.decision.deployment.as_ref().map_or(other, |it| it.candidate), false),
        }
    }
}
