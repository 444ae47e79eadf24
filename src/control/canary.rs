//! A deployment from the controller's side: fitness of the colors for the core, and its log lines.

use std::sync::Arc;

use crate::control::Controller;
use crate::domain::color::{Color, PerColor};
use crate::domain::health::Health;
use crate::domain::rollout::{Event, Fitness};
use crate::domain::transition::{Kind, Transition};

impl Controller {
    pub(super) fn report_fitness(&mut self) {
        for color in Color::ALL {
            let fitness = self.fitness_of(color);
            if self.fitness[color] != fitness {
                self.fitness[color] = fitness.clone();
                self.handle(Event::Fitness(color, fitness));
            }
        }
    }

    fn fitness_of(&self, color: Color) -> Fitness {
        if self.analysis.is_out_of_reach(color) {
            return Fitness::Down("connections to it can't be made, again and again".to_owned());
        }
        if self.config.colors[color].is_empty() {
            return Fitness::Down("nothing is deployed there".to_owned());
        }
        let mut known = true;
        for pool in &self.publisher.pools()[color] {
            let healths = || pool.endpoints.iter().map(|endpoint| endpoint.health());
            if healths().all(|health| health == Health::Down) {
                return Fitness::Down(format!("no endpoint of {} passes its checks", pool.upstream));
            }
            known &= healths().any(|health| health == Health::Up);
        }
        if known { Fitness::Fit } else { Fitness::Unknown }
    }
}

pub(super) fn unknown() -> PerColor<Fitness> {
    PerColor::from_fn(|_| Fitness::Unknown)
}

pub(super) fn announce(transition: &Arc<Transition>) {
    let decision = &transition.decision;
    let (active, generation) = (decision.active, decision.generation.0);
    let (actor, reason) = (&transition.origin.actor, transition.origin.reason.as_deref().unwrap_or(""));
    let deployment = decision.deployment.as_ref();
    let release = deployment.map(|deployment| deployment.release.as_str()).unwrap_or_default();
    let weight = deployment.map(|deployment| deployment.weight.to_string()).unwrap_or_default();
    let judgement = transition.judgement.as_ref().map(ToString::to_string).unwrap_or_default();
    match transition.kind {
        Kind::Canary => tracing::info!(release, weight, generation, actor, reason, "A canary began."),
        Kind::Advance => tracing::info!(release, weight, generation, actor, reason, "The canary gets more."),
        Kind::Abort => {
            let release = transition.from.as_ref().map(|(_, release)| release.as_str()).unwrap_or_default();
            tracing::warn!(release, %active, generation, actor, reason, "canary aborted");
        }
        Kind::CanaryHold => tracing::warn!(release, weight, actor, reason, "The release on its way is held."),
        Kind::CanaryResume => tracing::info!(release, weight, actor, reason, "The release on its way may go on."),
        Kind::Suspect => tracing::warn!(release, weight, judgement, "There is evidence against the release."),
        Kind::WouldRollBack => {
            tracing::warn!(release, weight, reason, "The release would have been rolled back; it is only observed.");
        }
        Kind::RollbackBlocked => tracing::error!(release, weight, reason, "The release can't be rolled back."),
        Kind::BaselineUnhealthy => {
            tracing::warn!(
                release,
                weight,
                judgement,
                "The release that it is compared with fails itself. Nothing advances."
            );
        }
        Kind::Recovered => tracing::info!(%active, reason, "The rollback helped."),
        Kind::BothUnhealthy => tracing::error!(%active, reason, "The rollback did not help: both releases fail."),
        _ => {}
    }
}
