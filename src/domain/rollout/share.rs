//! Shares of the traffic: the deployment that a move leaves behind.
//!
//! The weight of a release grows in two ways, both durable before they are visible: step by step ([`Kind::Advance`],
//! which keeps `active`), and by the switch that gives it the traffic. The hold-back of a bake is given to it by a
//! [`Kind::Advance`].

use std::time::{Duration, SystemTime};

use crate::domain::clock::Now;
use crate::domain::deployment::{Deployment, DeploymentId, Mode, Plan, Stage};
use crate::domain::rollout::{Move, Overlap, Rollout};
use crate::domain::split::{Weight, draw};
use crate::domain::transition::{Generation, Kind};

/// The share of the traffic that a move gives to its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All but the hold-back.
    All,
    First(Plan, Mode),
    Step(usize),
    Rest,
}

impl Rollout {
    /// The target's weight after the move under way. `None` in a dry run.
    #[must_use]
    pub fn coming_share(&self) -> Option<Weight> {
        if self.under_way().is_some_and(|underway| underway.dry_run) {
            return None;
        }
        let step = match self.under_way().map(|underway| &underway.share) {
            Some(Share::First(plan, _)) => plan.steps.first().copied(),
            Some(Share::Step(step)) => {
                self.decision.deployment.as_ref().and_then(|deployment| deployment.plan.steps.get(*step).copied())
            }
            Some(Share::All | Share::Rest) | None => None,
        };
        Some(step.unwrap_or(Weight::ALL))
    }

    pub(super) fn continues(&self, underway: &Move) -> bool {
        let deployment = self.decision.deployment.as_ref();
        deployment.is_some_and(|it| (it.candidate, &it.release) == (underway.to, &underway.release))
    }

    /// `None`: nothing is watched. A known-good release is not watched again.
    pub(super) fn deployment_after(
        &self,
        now: Now,
        underway: &Move,
        generation: Generation,
        known_good: bool,
    ) -> Option<Deployment> {
        match (&underway.share, underway.kind) {
            (Share::First(plan, mode), _) => {
                let weight = *plan.steps.first()?;
                Some(self.fresh(now, underway, generation, (plan.clone(), *mode), (Stage::Step(0), weight)))
            }
            (Share::Step(step), _) => {
                let weight = *self.decision.deployment.as_ref()?.plan.steps.get(*step)?;
                self.further(now, Stage::Step(*step), weight)
            }
            (Share::Rest, _) => {
                let before = self.decision.deployment.clone()?;
                Some(Deployment { weight: Weight::ALL, watched: self.watching.observed(now.mono, &before), ..before })
            }
            (Share::All, Kind::Switch) if known_good => None,
            (Share::All, Kind::Switch) if self.continues(underway) => self.bake_of_canary(now, underway),
            (Share::All, Kind::Switch) => Some(self.bake_of_switch(now, underway, generation)),
            (Share::All, _) => None,
        }
    }

    fn bake_of_canary(&self, now: Now, underway: &Move) -> Option<Deployment> {
        let before = self.decision.deployment.as_ref()?;
        // A canary keeps a weight above the one that the hold-back leaves.
        let weight = self.without_holdback(underway, &before.plan).max(before.weight);
        let mut next = self.further(now, Stage::Bake, weight)?;
        next.plan.bake = underway.terms.bake.unwrap_or(next.plan.bake);
        Some(next)
    }

    fn bake_of_switch(&self, now: Now, underway: &Move, generation: Generation) -> Deployment {
        let policy = &self.configured.policy;
        let bake = underway.terms.bake.unwrap_or(policy.plan.bake);
        let plan = Plan { steps: Vec::new(), bake, holdback: policy.switch_holdback, ..policy.plan.clone() };
        let weight = self.without_holdback(underway, &plan);
        // An instant rollback would run both releases at once, which this move forbids.
        let alone = underway.overlap == Overlap::None && policy.bake == Mode::Enforce;
        let mode = if alone { Mode::Observe } else { policy.bake };
        self.fresh(now, underway, generation, (plan, mode), (Stage::Bake, weight))
    }

    fn without_holdback(&self, underway: &Move, plan: &Plan) -> Weight {
        let useful = underway.overlap == Overlap::Allow && self.reports.down(self.decision.active).is_none();
        if useful { plan.holdback.rest() } else { Weight::ALL }
    }

    fn fresh(
        &self,
        now: Now,
        underway: &Move,
        generation: Generation,
        (plan, mode): (Plan, Mode),
        (stage, weight): (Stage, Weight),
    ) -> Deployment {
        let id = DeploymentId(generation.0);
        let target = (underway.to, underway.release.clone());
        // The time makes it differ even after a lost ledger.
        let secret = self.configured.secret ^ generation.0 ^ nanoseconds(now);
        Deployment {
            salt: draw(underway.release.as_str().as_bytes(), secret),
            sticky: self.configured.policy.sticky.clone(),
            mode,
            ..Deployment::new(id, target, self.decision.release.clone(), (stage, weight), plan, now.wall)
        }
    }

    /// The same deployment in its next stage.
    fn further(&self, now: Now, stage: Stage, weight: Weight) -> Option<Deployment> {
        let before = self.decision.deployment.clone()?;
        Some(Deployment { stage, weight, since: now.wall, watched: Duration::ZERO, held: None, ..before })
    }
}

fn nanoseconds(now: Now) -> u64 {
    let since = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(since.subsec_nanos().into())
}
