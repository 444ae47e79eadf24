//! The full state of a judge, for the status and its table of routes.

use super::component::Scope;
use super::event::EventReport;
use super::histogram::Quantiles;
use super::judge::{Judge, OTHER};
use super::pass::LOOKED_AT;
use super::tick::{Arms, Counts, Seen};
use crate::domain::verdict::{Class, Needs, Veto};

/// With fewer requests, a route that always fails may go unnoticed.
const ENOUGH_FOR_ERRORS: u64 = 20;

/// Odds of a regression to one; below 1 they speak for the candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evidence {
    pub class: Class,
    /// At most 1e18.
    pub odds: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteReport {
    /// `None`: all routes together.
    pub route: Option<String>,
    pub assigned: Arms<u64>,
    /// Finished and failed requests, and the events that count.
    pub counts: Arms<Counts>,
    pub quantiles: Arms<Option<Quantiles>>,
    pub too_few_for_errors: bool,
    /// Too few comparable requests to judge latency, on either side.
    pub too_few_for_latency: bool,
    /// Errors, latency (its clearest class), 4xx, clients that left.
    pub evidence: [Evidence; 4],
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// Odds of a regression to one, over all that a rollback is decided by.
    pub worse: f64,
    pub worse_limit: f64,
    /// Odds of a regression, over all that only pauses a deployment.
    pub hold: f64,
    pub suspect_limit: f64,
    /// Odds that CPU time per request is above the tolerated.
    pub cpu: f64,
    /// Odds that the candidate is not bad, in this step.
    pub pass: f64,
    pub pass_limit: f64,
    pub veto: Option<Veto>,
    pub needs: Option<Needs>,
    /// The stable release is proved to be worse. A hint without consequence.
    pub stable_worse: bool,
    /// The split is off its weight. Verdicts hold all the same.
    pub split_off: bool,
    /// Set by the caller: sticky users come from this few networks, so they are little evidence.
    pub few_networks: Option<u64>,
    /// Set by the caller: there are more 4xx, most for missing files, while each request draws its color.
    pub misses_files: bool,
    pub baseline_unhealthy: bool,
    pub without_control: bool,
    pub events: Vec<EventReport>,
    /// All routes first, then each in order of appearance.
    pub routes: Vec<RouteReport>,
}

impl Judge {
    #[must_use]
    pub(crate) fn report(&self) -> Report {
        let mut routes = vec![row(&self.all)];
        routes.extend(self.routes.iter().flatten().map(row).map(|mut row| {
            // Latency of paths without a route of their own is never judged.
            row.too_few_for_latency &= self.policy.max_routes == 0 || row.route.as_deref() != Some(OTHER);
            row
        }));
        Report {
            worse: shown(self.ln_harm()),
            worse_limit: self.policy.limit(),
            hold: shown(self.ln_hold()),
            suspect_limit: self.policy.suspect_at,
            cpu: shown(self.cpu.ln_evidence()),
            pass: shown(self.pass.ln_evidence()),
            pass_limit: 1.0 / self.policy.pass_beta,
            veto: self.veto,
            needs: self.needs,
            stable_worse: self.mirror.ln_evidence() >= self.policy.ln_limit(),
            split_off: self.split.off(),
            few_networks: None,
            misses_files: false,
            baseline_unhealthy: self.unhealthy,
            without_control: self.without_control,
            events: self.told.report(),
            routes,
        }
    }
}

fn row(scope: &Scope) -> RouteReport {
    let evidence = |class, ln: f64| Evidence { class, odds: shown(ln) };
    RouteReport {
        route: scope.route.clone(),
        assigned: scope.assigned,
        counts: Arms {
            stable: shown_counts(scope.totals.stable, scope.seen.stable),
            candidate: shown_counts(scope.totals.candidate, scope.seen.candidate),
        },
        quantiles: scope.quantiles,
        too_few_for_errors: scope.seen.candidate.completed < ENOUGH_FOR_ERRORS,
        too_few_for_latency: scope.timed < LOOKED_AT,
        evidence: [
            evidence(Class::Error, scope.errors.ln_suspicion),
            evidence(scope.slow.class(), scope.slow.ln_evidence),
            evidence(Class::ClientError, scope.ln_client_errors()),
            evidence(Class::Abort, scope.aborts.ln_evidence),
        ],
    }
}

fn shown_counts(totals: Counts, Seen { completed, failed }: Seen) -> Counts {
    Counts { completed, failed, ..totals }
}

fn shown(ln_evidence: f64) -> f64 {
    ln_evidence.exp().min(1e18)
}
