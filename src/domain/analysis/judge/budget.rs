//! The error budget: fixed shares of the components, their weighted mean, and the components behind a verdict.

use super::Judge;
use crate::domain::analysis::component::Scope;
use crate::domain::analysis::evidence::ln_add;
use crate::domain::analysis::tick::number;

/// A component with this share of the evidence belongs to the verdict.
const ATTRIBUTED: f64 = 0.1;
/// A route stands out with this share of the logarithm of all evidence, if no other route has more.
const OUTSPOKEN: f64 = 0.4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ComponentKind {
    Errors,
    Slow,
    ClientErrors,
    Aborts,
    Cpu,
    Users,
    Event(usize),
}

/// Shares of the rollback's budget: of all routes together, and of each route, summed over routes.
const HARM: [(ComponentKind, f64, f64); 2] = [(ComponentKind::Errors, 0.29, 0.24), (ComponentKind::Slow, 0.14, 0.28)];
/// The share of 4xx, which end a canary without a quarantine.
pub(super) const WITHDRAWAL: f64 = 0.05;
/// Shares of the pause's budget. CPU has the rest.
const HOLD: [(ComponentKind, f64, f64); 2] =
    [(ComponentKind::ClientErrors, 0.30, 0.20), (ComponentKind::Aborts, 0.25, 0.15)];
const HOLD_CPU: f64 = 0.10;
/// With sticky users, taken from the share of errors on all routes: errors per user and minute.
const HARM_USERS: f64 = 0.10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) kind: ComponentKind,
    /// `None`: all routes.
    pub(super) route: Option<usize>,
    pub(super) weight: f64,
    pub(super) ln_evidence: f64,
}

impl Component {
    pub(super) fn weighted(&self) -> f64 {
        self.weight.ln() + self.ln_evidence
    }
}

impl Judge {
    pub(super) fn harm(&self) -> Vec<Component> {
        self.with_shares_of_others(self.components(HARM, |judge, scope, kind| match kind {
            // The rest of its stake, for a new beginning.
            ComponentKind::Slow if judge.cold => -std::f64::consts::LN_2,
            _ => judge.ln_evidence(scope, kind),
        }))
    }

    /// Adds components that only pause: errors without a comparison, and latency while caches may be cold.
    pub(super) fn suspicion(&self) -> Vec<Component> {
        self.with_shares_of_others(self.components(HARM, |judge, scope, kind| match kind {
            ComponentKind::Errors => scope.errors.ln_suspicion,
            _ => judge.ln_evidence(scope, kind),
        }))
    }

    /// With sticky users, a part of the errors' share goes to users per minute. Events of the application have shares
    /// of their own; the other components get the rest.
    fn with_shares_of_others(&self, mut harm: Vec<Component>) -> Vec<Component> {
        if self.keyed {
            // Errors on all routes come first.
            harm[0].weight -= HARM_USERS;
            let ln_evidence = self.minutes.ln_evidence;
            harm.push(Component { kind: ComponentKind::Users, route: None, weight: HARM_USERS, ln_evidence });
        }
        let left = 1.0 - self.told.shared();
        harm.iter_mut().for_each(|component| component.weight *= left);
        let event = |(place, (weight, ln_evidence))| Component {
            kind: ComponentKind::Event(place),
            route: None,
            weight,
            ln_evidence,
        };
        harm.extend(self.told.evidence().enumerate().map(event));
        harm
    }

    pub(super) fn hold(&self) -> Vec<Component> {
        let cpu =
            Component { kind: ComponentKind::Cpu, route: None, weight: HOLD_CPU, ln_evidence: self.cpu.ln_evidence() };
        let mut hold = self.components(HOLD, Judge::ln_evidence);
        hold.push(cpu);
        hold
    }

    /// More 4xx, on all routes or on one.
    pub(super) fn ln_client_errors(&self) -> f64 {
        let [(kind, on_all, on_routes), _] = HOLD;
        let whole = on_all + on_routes;
        total(&self.components([(kind, on_all / whole, on_routes / whole)], Judge::ln_evidence))
    }

    fn components<const N: usize>(
        &self,
        kinds: [(ComponentKind, f64, f64); N],
        of: impl Fn(&Judge, &Scope, ComponentKind) -> f64,
    ) -> Vec<Component> {
        let mut components = Vec::with_capacity(N * (1 + self.routes.len()));
        for (kind, on_all, on_routes) in kinds {
            let ln_evidence = of(self, &self.all, kind);
            components.push(Component { kind, route: None, weight: on_all, ln_evidence });
            // Fixed for each slot before it is taken, and one for all other routes.
            let weight = on_routes / number(self.policy.max_routes as u64 + 1);
            for (slot, scope) in self.routes.iter().enumerate() {
                if let Some(scope) = scope {
                    let ln_evidence = of(self, scope, kind);
                    components.push(Component { kind, route: Some(slot), weight, ln_evidence });
                }
            }
        }
        components
    }

    fn ln_evidence(&self, scope: &Scope, kind: ComponentKind) -> f64 {
        match kind {
            ComponentKind::Errors => scope.errors.ln_evidence,
            ComponentKind::Slow => scope.slow.ln_evidence,
            ComponentKind::ClientErrors => scope.ln_client_errors(),
            ComponentKind::Aborts => scope.aborts.ln_evidence,
            ComponentKind::Cpu => self.cpu.ln_evidence(),
            ComponentKind::Users => self.minutes.ln_evidence,
            ComponentKind::Event(place) => self.told.evidence().nth(place).map_or(0.0, |(_, ln_evidence)| ln_evidence),
        }
    }
}

/// The weighted mean of the evidence. Unassigned shares count as evidence of 1.
pub(super) fn total(components: &[Component]) -> f64 {
    let free = components.iter().fold(1.0, |free, component| free - component.weight).max(0.0);
    components.iter().fold(free.ln(), |sum, component| ln_add(sum, component.weighted()))
}

pub(super) type Ranked = Vec<(f64, Component)>;

pub(super) fn ranked<'a>(components: impl Iterator<Item = &'a Component>) -> Ranked {
    components.map(|component| (component.weighted(), *component)).collect()
}

/// The components that a verdict rests on; at least the heaviest.
pub(super) fn attributed(components: &[Component], ln_total: f64) -> Ranked {
    let share = ln_total + ATTRIBUTED.ln();
    let found: Vec<Component> = components.iter().filter(|component| component.weighted() >= share).copied().collect();
    if found.is_empty() {
        return ranked(components.iter().max_by(|a, b| a.weighted().total_cmp(&b.weighted())).into_iter());
    }
    let led = outspoken(components, &found);
    [ranked(found.iter()), led].concat()
}

/// The route that stands out, if only all routes together were found. Its budget may be too small for the verdict, but
/// people have to look there, so it comes first.
fn outspoken(components: &[Component], found: &[Component]) -> Ranked {
    let named = |kind: ComponentKind| found.iter().any(|component| component.kind == kind && component.route.is_some());
    let loudest = |all: &Component| {
        let of_kind = components.iter().filter(|component| component.kind == all.kind && component.route.is_some());
        let mut routes: Vec<Component> = of_kind.copied().collect();
        routes.sort_by(|a, b| b.ln_evidence.total_cmp(&a.ln_evidence));
        // A single route is the same as all routes.
        let [first, second, ..] = routes[..] else { return None };
        let stands_out =
            first.ln_evidence >= OUTSPOKEN * all.ln_evidence && second.ln_evidence <= OUTSPOKEN * first.ln_evidence;
        stands_out.then_some((all.weighted() + 1e-6, first))
    };
    let alone = found.iter().filter(|component| component.route.is_none() && !named(component.kind));
    alone.filter_map(loudest).collect()
}
