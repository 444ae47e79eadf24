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
    let (color, generation) = (decision.active, decision.generation.0);
    let (actor, reason) = (&transition.origin.actor, transition.origin.reason.as_deref().unwrap_or(""));
    let deployment = decision.deployment.as_ref();
    let release = deployment.map(|deployment| deployment.release.as_str()).unwrap_or_default();
    let weight = deployment.map(|deployment| deployment.weight.to_string()).unwrap_or_default();
    let judgement = transition.judgement.as_ref().map(ToString::to_string).unwrap_or_default();
    match transition.kind {
        Kind::Canary => tracing::info!(release, weight, generation, actor, reason, "Canary started"),
        Kind::Advance => tracing::info!(release, weight, generation, actor, reason, "Canary advanced"),
        Kind::Abort => {
            let release = transition.from.as_ref().map(|(_, release)| release.as_str()).unwrap_or_default();
            tracing::warn!(release, %color, generation, actor, reason, "Canary aborted");
        }
        Kind::CanaryHold => tracing::warn!(release, weight, actor, reason, "Canary paused"),
        Kind::CanaryResume => tracing::info!(release, weight, actor, reason, "Canary resumed"),
        Kind::Suspect => tracing::warn!(release, weight, judgement, "Release suspect"),
        Kind::WouldRollBack => {
            tracing::warn!(release, weight, reason, "Would have rolled back (observe)");
        }
        Kind::RollbackBlocked => tracing::error!(release, weight, reason, "Automatic rollback blocked"),
        Kind::BaselineUnhealthy => {
            tracing::warn!(release, weight, judgement, "Stable release fails; the canary is paused");
        }
        Kind::Recovered => tracing::info!(%color, reason, "Rollback helped"),
        Kind::BothUnhealthy => tracing::error!(%color, reason, "Rollback did not help: both releases fail"),
        _ => {}
    }
}
