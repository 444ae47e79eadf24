//! The rollback as it would be now: possible or not, the guards that would refuse it, and the command.

use crate::control::handle::{EndpointStatus, WayBack};
use crate::domain::color::Color;
use crate::domain::force::Guard;
use crate::domain::gate::{GateReport, Probed, passes};
use crate::domain::health::Health;
use crate::domain::rollout::{Refusal, View};
use crate::domain::schema::Safety;

/// By the last probes.
pub(super) fn way_back(view: &View, endpoints: impl Fn(Color) -> Vec<EndpointStatus>) -> WayBack {
    let target = match &view.rollback {
        Ok(previous) => previous,
        Err(refusal) => {
            let command = match refusal {
                Refusal::NoKnownGood { command, .. } => command.clone(),
                _ => None,
            };
            return WayBack { why: Some(refusal.to_string()), command, ..WayBack::default() };
        }
    };
    let (color, mut guards, mut against) = (target.color, Vec::new(), Vec::new());
    // The stable release of a canary serves all the time: no gate, no barrier.
    let canary = view.decision.deployment.as_ref().is_some_and(|deployment| deployment.is_canary());
    if !canary && matches!(view.safety, Safety::No(_)) {
        guards.push(Guard::Schema);
        against.extend(view.safety.why());
    }
    let all = endpoints(color);
    let down: Vec<_> = all.iter().filter(|endpoint| endpoint.health == Health::Down).collect();
    if let Some(first) = down.first() {
        let (n, of) = (down.len(), all.len());
        let verb = if n == 1 { "is" } else { "are" };
        against.push(format!("{n} of {of} endpoints of {color} {verb} down ({}: {})", first.endpoint, first.detail));
    }
    if !canary && !passes(&view.gate, &seen(color, &all)) {
        guards.push(Guard::Health);
    }
    let mut command = "cutover rollback".to_owned();
    if !guards.is_empty() {
        let names: Vec<_> = guards.iter().map(|guard| guard.name()).collect();
        command.push_str(&format!(" --force={}", names.join(",")));
    }
    if guards.contains(&Guard::Schema) {
        command.push_str(" --reason …");
    }
    let why = (!against.is_empty()).then(|| against.join("; "));
    WayBack { possible: guards.is_empty(), guards, why, command: Some(command) }
}

/// A gate report from the last probes. An unprobed endpoint counts as healthy.
fn seen(color: Color, endpoints: &[EndpointStatus]) -> GateReport {
    let staying = endpoints.iter().filter(|endpoint| !endpoint.leaving);
    let probed = staying.map(|endpoint| Probed {
        upstream: endpoint.upstream.clone(),
        endpoint: endpoint.endpoint.clone(),
        passed: endpoint.health != Health::Down,
        detail: endpoint.detail.clone(),
        at: endpoint.since,
        took: std::time::Duration::ZERO,
    });
    GateReport { color, rounds: 1, endpoints: probed.collect(), checks: Vec::new() }
}
