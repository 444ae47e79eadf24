//! Where a judge stands, in full: for the status and its table of routes.

use super::component::Scope;
use super::event::EventReport;
use super::histogram::Quantiles;
use super::judge::{Judge, OTHER};
use super::pass::LOOKED_AT;
use super::tick::{Arms, Counts, Seen};
use crate::domain::verdict::{Class, Needs, Veto};

/// With fewer requests a route that always fails would not be found everywhere.
const ENOUGH_FOR_ERRORS: u64 = 20;

/// Evidence of one class, as odds to one; below 1 it speaks for the candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// Which.
    pub class: Class,
    /// At most 1e18.
    pub odds: f64,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteReport {
    /// `None`: all routes together.
    pub route: Option<String>,
    /// Requests given to each side.
    pub assigned: Arms<u64>,
    /// What came of them: all that are over and failed, and the events that count.
    pub counts: Arms<Counts>,
    /// Latencies at present, where there are enough.
    pub quantiles: Arms<Option<Quantiles>>,
    /// The candidate had too few requests here for its errors to be judged.
    pub too_few_for_errors: bool,
    /// Too few of them could be compared for its latency to be judged, or the stable release had too few.
    pub too_few_for_latency: bool,
    /// That the candidate is worse here: errors, latency (as the class that is clearest), 4xx, clients that left.
    pub evidence: [Evidence; 4],
}

/// Where a judge stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    /// That the candidate is worse, of all that a rollback is decided by, as odds to one.
    pub worse: f64,
    /// A rollback needs so much.
    pub worse_limit: f64,
    /// The same of what only holds a deployment.
    pub hold: f64,
    /// From here on it is held, by either.
    pub suspect_limit: f64,
    /// That CPU time for a request is above what is tolerated.
    pub cpu: f64,
    /// That the candidate is not bad, in this step.
    pub pass: f64,
    /// To go on needs so much.
    pub pass_limit: f64,
    /// Why it does not go on all the same.
    pub veto: Option<Veto>,
    /// What that still takes.
    pub needs: Option<Needs>,
    /// The stable release is proved to be the worse one. A hint, nothing follows from it.
    pub stable_worse: bool,
    /// Requests are not shared as the weight says. Verdicts hold all the same.
    pub split_off: bool,
    /// Users stay on a color, and come from so few networks that they are little evidence: how many. Whoever counts
    /// them tells.
    pub few_networks: Option<u64>,
    /// There are more 4xx, and most are of files that are not there, while each request draws its color. Whoever counts
    /// them tells.
    pub misses_files: bool,
    /// See [`Judgement`](crate::domain::verdict::Judgement).
    pub baseline_unhealthy: bool,
    /// See [`Judgement`](crate::domain::verdict::Judgement).
    pub without_control: bool,
    /// Events of the application.
    pub events: Vec<EventReport>,
    /// All routes first, then each as it appeared.
    pub routes: Vec<RouteReport>,
}

impl Judge {
    /// Where it stands.
    #[must_use]
    pub(crate) fn report(&self) -> Report {
        let mut routes = vec![row(&self.all)];
        routes.extend(self.routes.iter().flatten().map(row).map(|mut row| {
            // Latency of paths without a route of their own is judged nowhere.
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
