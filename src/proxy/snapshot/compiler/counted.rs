//! The names that requests are counted under.

use std::sync::Arc;

use crate::config::{Config, EventConfig, Sticky};
use crate::domain::deployment::Deployment;
use crate::domain::transition::Decision;
use crate::evidence::routes::{AppEvent, EventKind, RouteId};
use crate::proxy::snapshot::compiler::Compiler;
use crate::proxy::snapshot::route::Paths;

impl Compiler {
    pub(super) fn events_of(&self, config: &Config) -> Option<Arc<[Arc<AppEvent>]>> {
        let kind = |event: &EventConfig| EventKind {
            name: event.name.clone(),
            bad: event.bad,
            per_request: event.per_request,
        };
        let kinds: Vec<EventKind> = config.analysis.events.iter().map(kind).collect();
        let events = self.routes.tell(&kinds);
        (!events.is_empty()).then_some(events)
    }

    pub(super) fn counted(&self, config: &Config) -> Paths<RouteId> {
        let mut paths = Paths::default();
        for path in &config.canary.routes {
            paths.insert(path, self.routes.configured(path));
        }
        paths
    }

    pub(super) fn sticky_of(&mut self, config: &Config, decision: &Decision) -> Sticky {
        let deployment = decision.deployment.as_ref();
        let known = self.sticky.take().filter(|(id, _)| deployment.is_some_and(|deployment| deployment.id == *id));
        let recorded = |deployment: &Deployment| {
            Sticky::from_record(&deployment.sticky).unwrap_or_else(|| config.canary.sticky.clone())
        };
        self.sticky = known.or_else(|| deployment.map(|deployment| (deployment.id, recorded(deployment))));
        let sticky = self.sticky.as_ref().map(|(_, sticky)| sticky.clone()).unwrap_or_default();
        let split = deployment.map(Deployment::split).filter(|_| sticky != Sticky::Off);
        self.routes.keep_users(split, config.canary.evidence_per_network, std::mem::take(&mut self.is_new));
        sticky
    }
}
