//! Gate checks: requests to the target whose responses are examined, after its health rounds have passed.
//!
//! A failed check sends the gate back to its health rounds, until its time is up. A rollback runs only the checks
//! configured for it, once.

use std::time::Duration;

use crate::domain::clock::Now;
use crate::domain::force::Guard;
use crate::domain::gate::CheckReport;
use crate::domain::rollout::{Checks, Effect, Gating, Move, Refusal, Rollout, RoundId, State};
use crate::domain::transition::Kind;

/// Pause after failed checks. Longer than between health rounds: a check may be a whole login.
const CHECK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CheckState {
    #[default]
    NotYet,
    Now,
    Failed,
}

impl Rollout {
    fn has_checks(&self, underway: &Move) -> bool {
        // They are part of the health guard.
        if underway.force.overrides(Guard::Health) {
            return false;
        }
        let Checks { forward, back } = self.configured.checks;
        if underway.kind == Kind::Rollback { back } else { forward }
    }

    pub(super) fn continue_healthy(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let id = self.new_id();
        let checks = self.under_way().is_some_and(|underway| self.has_checks(underway));
        if checks && let State::Gating(underway, gating) = &mut self.state {
            let endpoints = underway.report.iter().flat_map(|report| &report.endpoints);
            let endpoints = endpoints.filter(|probed| probed.passed);
            let endpoints = endpoints.map(|probed| (probed.upstream.clone(), probed.endpoint.clone())).collect();
            (gating.round, gating.checks) = (Some(RoundId(id)), CheckState::Now);
            let (color, back) = (underway.to, underway.kind == Kind::Rollback);
            return effects.push(Effect::Check { round: RoundId(id), color, back, endpoints });
        }
        if let State::Gating(underway, _) = std::mem::replace(&mut self.state, State::Steady) {
            self.gate_opened(now, underway, effects);
        }
    }

    pub(super) fn checked(&mut self, now: Now, round: RoundId, results: Vec<CheckReport>, effects: &mut Vec<Effect>) {
        let State::Gating(underway, gating) = &mut self.state else { return };
        if gating.round != Some(round) || gating.checks != CheckState::Now {
            return;
        }
        gating.round = None;
        let passed = results.iter().all(CheckReport::has_passed);
        self.reports.set_checks(underway.to, underway.release.clone(), results.clone());
        if let Some(report) = &mut underway.report {
            report.checks = results;
        }
        if passed {
            let State::Gating(underway, _) = std::mem::replace(&mut self.state, State::Steady) else { return };
            return self.gate_opened(now, underway, effects);
        }
        (gating.checks, gating.passes) = (CheckState::Failed, 0);
        if underway.is_patient() && now.mono < gating.deadline {
            gating.next_round = Some(now.mono + CHECK_PAUSE);
        } else {
            self.gate_closed(now, effects);
        }
    }

    /// The result of this round is still of use.
    #[must_use]
    pub fn awaits(&self, round: RoundId) -> bool {
        matches!(&self.state, State::Gating(_, gating) if gating.round == Some(round))
    }
}

impl Gating {
    pub(super) fn refusal(&self, report: crate::domain::gate::GateReport) -> Refusal {
        if self.checks == CheckState::NotYet { Refusal::Unhealthy(report) } else { Refusal::CheckFailed(report) }
    }
}
