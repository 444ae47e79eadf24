//! The components of a verdict: one class of events on one route, or on all routes.

use super::answers::Answers;
use super::evidence::{Ratio, Share, Stakes, ln_add};
use super::histogram::Quantiles;
use super::policy::Policy;
use super::shown::{BatchContext, Since, finding};
use super::tick::{Arms, Batch, Counts, Seen, number};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Events {
    class: Class,
    floor: f64,
    relative: Ratio,
    absolute: Share,
    /// The comparison while the stable release is above the floor itself.
    measured: Ratio,
    /// The share of bad events while nothing is compared.
    alone: Option<Share>,
    /// Errors that only this release can cause: a shared dependency is not to blame for them.
    own: Option<Share>,
    /// Requests and bad ones of the stable release, decaying.
    recent: [f64; 2],
    above_floor: bool,
    since: Since,
    /// Evidence for a rollback, as of the last tick.
    pub(super) ln_evidence: f64,
    /// Evidence for a pause and a notice: it includes times without a comparison.
    pub(super) ln_suspicion: f64,
}

const SURELY: f64 = 3.0;

impl Events {
    pub(super) fn new(class: Class, tolerated: f64, floor: f64, staked: f64) -> Events {
        Events {
            class,
            floor,
            relative: Ratio::above(tolerated, staked),
            absolute: Share::above(floor, staked),
            measured: Ratio::above(tolerated, staked),
            alone: None,
            own: None,
            recent: [0.0; 2],
            above_floor: false,
            since: Since::default(),
            ln_evidence: 0.0,
            ln_suspicion: 0.0,
        }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.relative.stake(stake);
        self.absolute.stake(stake);
        self.measured.stake(stake);
        for share in [&mut self.alone, &mut self.own].into_iter().flatten() {
            share.stake(stake);
        }
    }

    fn bad(&self, counts: &Counts) -> u64 {
        match self.class {
            Class::ClientError => counts.client_errors,
            Class::Abort => counts.aborts,
            _ => counts.errors,
        }
    }

    pub(super) fn observe(&mut self, batch: &Batch, context: &BatchContext) {
        let Arms { stable, candidate } = &batch.done;
        let bad = Arms { stable: self.bad(stable), candidate: self.bad(candidate) };
        let requests = Arms { stable: self.of(stable, bad.stable), candidate: self.of(candidate, bad.candidate) };
        self.since.add(requests, bad);
        if batch.weight == Weight::ALL {
            if self.class == Class::Error {
                let (share, staked) = context.alone;
                let sampled = self.sampled(candidate);
                let alone = self.alone.get_or_insert_with(|| Share::above(share, staked));
                alone.observe_at(context.moment, candidate.completed, sampled);
            }
            return;
        }
        self.recent[0] += number(requests.stable);
        self.recent[1] += number(bad.stable);
        let odds = batch.odds(context.keyed);
        if self.above_floor {
            odds.into_iter().for_each(|odds| self.measured.observe_at(context.moment, odds, bad.candidate, bad.stable));
            return;
        }
        if let Some(odds) = odds {
            self.relative.observe_at(context.moment, odds, bad.candidate, bad.stable);
        }
        self.absolute.observe_at(context.moment, requests.candidate, bad.candidate);
    }

    /// The requests that `bad` events belong to. In a keyed deployment errors are counted beside the sample, so the
    /// sample's good requests stand against them.
    fn of(&self, counts: &Counts, bad: u64) -> u64 {
        if self.class == Class::Error {
            // A stream that breaks was completed when it began, so failures may exceed requests.
            counts.completed.saturating_add(bad).saturating_sub(counts.failed)
        } else {
            counts.completed
        }
    }

    fn sampled(&self, counts: &Counts) -> u64 {
        if self.class == Class::Error { counts.failed } else { self.bad(counts) }
    }

    /// `requests`: completed by the candidate in a second without a comparison; `broken`: failures that only its own
    /// endpoints can cause.
    pub(super) fn observe_own(&mut self, requests: u64, broken: u64, context: &BatchContext) {
        let (share, staked) = context.alone;
        let own = self.own.get_or_insert_with(|| Share::above(share, staked));
        own.observe_at(context.moment, requests.max(broken), broken);
    }

    /// While the stable release is below the floor, both "more than the stable release" and "above the floor" have to
    /// be proved; otherwise the first implies the second. The bets of different times are multiplied. `keeps`: the
    /// factor by which older stable requests decay.
    pub(super) fn settle(&mut self, rest: f64, keeps: f64) {
        let both = self.relative.ln_evidence(rest).min(self.absolute.ln_evidence(rest));
        let continued = |share: &Option<Share>| share.as_ref().map_or(0.0, |share| share.ln_evidence(rest));
        let compared = both + self.measured.ln_evidence(rest);
        self.ln_evidence = compared + continued(&self.own);
        self.ln_suspicion = self.ln_evidence.max(compared + continued(&self.alone));
        if self.ln_suspicion <= 0.0 {
            self.since = Since::default();
        }
        let [requests, bad] = self.recent;
        self.above_floor = bad - SURELY * bad.sqrt() > self.floor * requests;
        self.recent = [requests * keeps, bad * keeps];
    }

    pub(super) fn finding(&self, route: Option<&str>) -> Finding {
        finding(self.class, route, self.since.samples(Arms::default()), self.ln_suspicion)
    }
}

/// A class is nearly as clear as another one if it has this share of the logarithm of its evidence.
const NEARLY: f64 = 0.7;
const CLASSES: [Class; 3] = [Class::SlowP50, Class::SlowP90, Class::SlowP99];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slow {
    tests: [Ratio; 3],
    since: [Since; 3],
    evidence: [f64; 3],
    clearest: usize,
    /// The mean of the three, as of the last tick.
    pub(super) ln_evidence: f64,
}

impl Slow {
    pub(super) fn new(staked: f64) -> Slow {
        let tests = std::array::from_fn(|_| Ratio::slower(staked));
        Slow { tests, since: Default::default(), evidence: [0.0; 3], clearest: 0, ln_evidence: 0.0 }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        for test in &mut self.tests {
            test.stake(stake);
        }
    }

    pub(super) fn begin_anew(&mut self, staked: f64) {
        self.tests = std::array::from_fn(|_| Ratio::slower(staked));
    }

    pub(super) fn observe(&mut self, batch: &Batch, context: &BatchContext) {
        let Some(odds) = batch.odds(context.keyed) else { return };
        let Arms { stable, candidate } = &batch.done;
        let requests = Arms { stable: stable.completed, candidate: candidate.completed };
        for (place, (test, since)) in self.tests.iter_mut().zip(&mut self.since).enumerate() {
            let bad = Arms { stable: stable.slow[place], candidate: candidate.slow[place] };
            test.observe_at(context.moment, odds, bad.candidate, bad.stable);
            since.add(requests, bad);
        }
    }

    pub(super) fn settle(&mut self, rest: f64) {
        let evidence = self.tests.each_ref().map(|test| test.ln_evidence(rest));
        self.clearest =
            (1..evidence.len()).fold(0, |best, place| if evidence[place] > evidence[best] { place } else { best });
        self.evidence = evidence;
        // Half of the stake is kept for a new beginning.
        self.ln_evidence =
            evidence.into_iter().fold(f64::NEG_INFINITY, ln_add) - number(2 * evidence.len() as u64).ln();
        if self.ln_evidence <= 0.0 {
            self.since = Default::default();
        }
    }

    pub(super) fn class(&self) -> Class {
        CLASSES[self.clearest]
    }

    /// Among classes nearly as clear as the clearest, the one whose quantiles differ most.
    fn shown(&self, quantiles: Arms<Option<Quantiles>>) -> usize {
        let times = |place: usize| {
            let Arms { stable: Some(stable), candidate: Some(candidate) } = quantiles else { return 0.0 };
            number(candidate.0[place]) / number(stable.0[place].max(1))
        };
        let clear = |place: &usize| self.evidence[*place] >= NEARLY * self.evidence[self.clearest];
        let seen = (0..CLASSES.len()).filter(clear).max_by(|a, b| times(*a).total_cmp(&times(*b)));
        seen.filter(|place| times(*place) > times(self.clearest)).unwrap_or(self.clearest)
    }

    pub(super) fn finding(&self, route: Option<&str>, quantiles: Arms<Option<Quantiles>>) -> Finding {
        let place = self.shown(quantiles);
        let latency = |quantiles: Option<Quantiles>| quantiles.and_then(|quantiles| quantiles.latency(place));
        let latency = Arms { stable: latency(quantiles.stable), candidate: latency(quantiles.candidate) };
        finding(CLASSES[place], route, self.since[place].samples(latency), self.ln_evidence)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    /// `None`: all routes.
    pub(super) route: Option<String>,
    pub(super) errors: Events,
    pub(super) client_errors: Events,
    pub(super) aborts: Events,
    pub(super) answers: Answers,
    pub(super) slow: Slow,
    pub(super) assigned: Arms<u64>,
    /// The newest counted tick of assignment.
    pub(super) newest: Option<u64>,
    pub(super) totals: Arms<Counts>,
    pub(super) seen: Arms<Seen>,
    pub(super) timed: u64,
    pub(super) quantiles: Arms<Option<Quantiles>>,
}

impl Scope {
    pub(super) fn new(route: Option<String>, policy: &Policy, stakes: &Stakes) -> Scope {
        let (floor, staked) = (policy.error_floor, 1.0 - stakes.rest());
        Scope {
            route,
            errors: Events::new(Class::Error, policy.ratio_tolerated, floor, staked),
            client_errors: Events::new(Class::ClientError, policy.client_error_ratio, floor, staked),
            aborts: Events::new(Class::Abort, policy.ratio_tolerated, floor, staked),
            answers: Answers::new(policy.ratio_tolerated, staked),
            slow: Slow::new(staked),
            assigned: Arms::default(),
            newest: None,
            totals: Arms::default(),
            seen: Arms::default(),
            timed: 0,
            quantiles: Arms::default(),
        }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.errors.stake(stake);
        self.client_errors.stake(stake);
        self.aborts.stake(stake);
        self.answers.stake(stake);
        self.slow.stake(stake);
    }

    pub(super) fn observe(&mut self, batch: &Batch, context: &BatchContext, slow: bool) {
        self.errors.observe(batch, context);
        self.client_errors.observe(batch, context);
        self.aborts.observe(batch, context);
        self.answers.observe(batch, context);
        if slow {
            self.slow.observe(batch, context);
            self.timed = self.timed.saturating_add(batch.done.candidate.completed);
        }
        self.totals.add(&batch.done);
    }

    pub(super) fn saw(&mut self, seen: Arms<Seen>) {
        self.seen.stable.add(seen.stable);
        self.seen.candidate.add(seen.candidate);
    }

    pub(super) fn settle(&mut self, rest: f64, keeps: f64) {
        self.errors.settle(rest, keeps);
        self.client_errors.settle(rest, keeps);
        self.aborts.settle(rest, keeps);
        self.answers.settle(rest);
        self.slow.settle(rest);
    }

    /// More 4xx, or fewer good responses: the mean of both.
    pub(super) fn ln_client_errors(&self) -> f64 {
        ln_add(self.client_errors.ln_evidence, self.answers.ln_evidence) - std::f64::consts::LN_2
    }

    pub(super) fn client_errors_finding(&self) -> Finding {
        let route = self.route.as_deref();
        if self.answers.ln_evidence > self.client_errors.ln_evidence {
            self.answers.finding(route)
        } else {
            self.client_errors.finding(route)
        }
    }
}
