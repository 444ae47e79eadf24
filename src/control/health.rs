//! Consequences of a changed health, and of a name's changed addresses.

use crate::control::Controller;
use crate::control::handle::News;
use crate::control::probe::HealthChange;
use crate::domain::health::Health;

impl Controller {
    pub(super) fn health_changed(&mut self, change: HealthChange) {
        let HealthChange { color, upstream, endpoint, health, detail } = change;
        if health == Health::Down {
            tracing::warn!(%color, %upstream, %endpoint, reason = %detail, "Endpoint down");
        } else {
            tracing::info!(%color, %upstream, %endpoint, reason = %detail, "Endpoint up");
        }
        self.notify_health(color, &upstream, &endpoint, health, &detail);
        self.report_fitness();
        let _ = self.news.send(News::Health { color, upstream: upstream.to_string(), endpoint, health, detail });
        self.drop_leaving();
    }

    /// Publishes changed addresses.
    pub(super) fn endpoints_changed(&mut self) {
        let decision = self.rollout.decision().clone();
        self.prepare_lingering(&decision);
        let retired = self.publisher.publish(&self.config, &decision);
        debug_assert!(retired.is_none(), "no address moves traffic between colors");
        self.probers.reconcile(self.publisher.pools().iter().flat_map(|(_, pools)| pools));
        self.forget_down();
        self.report_fitness();
    }

    /// An address that its name has lost leaves when another one is up, or it is down itself.
    pub(super) fn drop_leaving(&mut self) {
        let pools = self.publisher.pools().iter().flat_map(|(_, pools)| pools);
        if pools.flat_map(|pool| &pool.endpoints).any(|endpoint| endpoint.is_leaving()) {
            self.endpoints_changed();
        }
    }
}
