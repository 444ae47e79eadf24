//! What a verdict is made of: a class of events on one route, or on all of them.

use super::evidence::{Ratio, Share, Stakes, ln_add};
use super::histogram::Quantiles;
use super::policy::Policy;
use super::tick::{Arms, Batch, Counts, Seen, number};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding, Sample};

/// Requests and bad ones since the evidence began to grow, to be shown: a leak that began a minute ago would be lost in the
/// figures of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Since {
    requests: Arms<u64>,
    bad: Arms<u64>,
}

impl Since {
    fn add(&mut self, requests: Arms<u64>, bad: Arms<u64>) {
        self.requests.add(requests);
        self.bad.add(bad);
    }

    fn samples(&self, latency: Arms<Option<std::time::Duration>>) -> Arms<Sample> {
        Arms {
            stable: Sample::new(self.requests.stable, self.bad.stable, latency.stable),
            candidate: Sample::new(self.requests.candidate, self.bad.candidate, latency.candidate),
        }
    }
}

fn finding(class: Class, route: Option<&str>, samples: Arms<Sample>, ln_evidence: f64) -> Finding {
    Finding {
        class,
        route: route.map(str::to_owned),
        candidate: samples.candidate,
        stable: samples.stable,
        evidence: odds(ln_evidence),
    }
}

/// Whole odds to one, up to where every program still reads the number as it is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and never negative")]
pub(super) fn odds(ln_evidence: f64) -> u64 {
    // A hair more, so that the logarithm of 1,000 is 1,000 again.
    (ln_evidence.exp().min(1e15) * (1.0 + 1e-12)) as u64
}

/// Bad events that are counted for each request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Events {
    class: Class,
    relative: Ratio,
    absolute: Share,
    alone: Option<Share>,
    since: Since,
    /// As of the end of the last tick.
    pub(super) ln_evidence: f64,
}

impl Events {
    pub(super) fn new(class: Class, tolerated: f64, floor: f64, staked: f64) -> Events {
        Events {
            class,
            relative: Ratio::above(tolerated, staked),
            absolute: Share::above(floor, staked),
            alone: None,
            since: Since::default(),
            ln_evidence: 0.0,
        }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.relative.stake(stake);
        self.absolute.stake(stake);
        if let Some(alone) = &mut self.alone {
            alone.stake(stake);
        }
    }

    fn bad(&self, counts: &Counts) -> u64 {
        match self.class {
            Class::ClientError => counts.client_errors,
            Class::Abort => counts.aborts,
            _ => counts.errors,
        }
    }

    /// `alone`: from which share of errors on the candidate is worse than what was before, where nothing is compared, and what
    /// was staked until now.
    pub(super) fn observe(&mut self, batch: &Batch, keyed: bool, alone: Option<(f64, f64)>) {
        let Arms { stable, candidate } = &batch.done;
        let bad = Arms { stable: self.bad(stable), candidate: self.bad(candidate) };
        let requests = Arms { stable: self.of(stable, bad.stable), candidate: self.of(candidate, bad.candidate) };
        self.since.add(requests, bad);
        if batch.weight == Weight::ALL {
            let sampled = self.sampled(candidate);
            if let Some((share, staked)) = alone {
                self.alone.get_or_insert_with(|| Share::above(share, staked)).observe(candidate.completed, sampled);
            }
            return;
        }
        if let Some(odds) = batch.odds(keyed) {
            self.relative.observe(odds, bad.candidate, bad.stable);
        }
        self.absolute.observe(requests.candidate, bad.candidate);
    }

    /// The requests that so many events are of. In a keyed deployment errors are counted beside the sample: the good ones of the
    /// sample stand against them.
    fn of(&self, counts: &Counts, bad: u64) -> u64 {
        if self.class == Class::Error {
            counts.completed.saturating_sub(counts.failed).saturating_add(bad)
        } else {
            counts.completed
        }
    }

    /// The bad ones among those that are `completed`.
    fn sampled(&self, counts: &Counts) -> u64 {
        if self.class == Class::Error { counts.failed } else { self.bad(counts) }
    }

    /// Both "more than the stable release" and "above the floor" have to be shown, unless the stable release is no measure. What
    /// came of being alone continues what was before, as one bet continues another.
    pub(super) fn settle(&mut self, rest: f64, floor: bool) {
        let relative = self.relative.ln_evidence(rest);
        let both = if floor { relative.min(self.absolute.ln_evidence(rest)) } else { relative };
        self.ln_evidence = both + self.alone.as_ref().map_or(0.0, |alone| alone.ln_evidence(rest));
        if self.ln_evidence <= 0.0 {
            self.since = Since::default();
        }
    }

    pub(super) fn finding(&self, route: Option<&str>) -> Finding {
        finding(self.class, route, self.since.samples(Arms::default()), self.ln_evidence)
    }
}

const CLASSES: [Class; 3] = [Class::SlowP50, Class::SlowP90, Class::SlowP99];

/// Requests beyond each of three thresholds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slow {
    tests: [Ratio; 3],
    since: [Since; 3],
    clearest: usize,
    /// The mean of the three, as of the end of the last tick.
    pub(super) ln_evidence: f64,
}

impl Slow {
    pub(super) fn new(staked: f64) -> Slow {
        let tests = std::array::from_fn(|_| Ratio::slower(staked));
        Slow { tests, since: Default::default(), clearest: 0, ln_evidence: 0.0 }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        for test in &mut self.tests {
            test.stake(stake);
        }
    }

    pub(super) fn observe(&mut self, batch: &Batch, keyed: bool) {
        let Some(odds) = batch.odds(keyed) else { return };
        let Arms { stable, candidate } = &batch.done;
        let requests = Arms { stable: stable.completed, candidate: candidate.completed };
        for (place, (test, since)) in self.tests.iter_mut().zip(&mut self.since).enumerate() {
            let bad = Arms { stable: stable.slow[place], candidate: candidate.slow[place] };
            test.observe(odds, bad.candidate, bad.stable);
            since.add(requests, bad);
        }
    }

    pub(super) fn settle(&mut self, rest: f64) {
        let evidence = self.tests.each_ref().map(|test| test.ln_evidence(rest));
        self.clearest =
            (1..evidence.len()).fold(0, |best, place| if evidence[place] > evidence[best] { place } else { best });
        self.ln_evidence = evidence.into_iter().fold(f64::NEG_INFINITY, ln_add) - number(evidence.len() as u64).ln();
        if self.ln_evidence <= 0.0 {
            self.since = Default::default();
        }
    }

    /// The class that is clearest.
    pub(super) fn class(&self) -> Class {
        CLASSES[self.clearest]
    }

    pub(super) fn finding(&self, route: Option<&str>, quantiles: Arms<Option<Quantiles>>) -> Finding {
        let latency = |quantiles: Option<Quantiles>| quantiles.and_then(|quantiles| quantiles.latency(self.clearest));
        let latency = Arms { stable: latency(quantiles.stable), candidate: latency(quantiles.candidate) };
        finding(self.class(), route, self.since[self.clearest].samples(latency), self.ln_evidence)
    }
}

/// All that is judged of one route, or of all of them together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    /// `None`: all of them.
    pub(super) route: Option<String>,
    pub(super) errors: Events,
    pub(super) client_errors: Events,
    pub(super) aborts: Events,
    pub(super) slow: Slow,
    pub(super) assigned: Arms<u64>,
    /// The newest tick of assignment that was counted.
    pub(super) newest: Option<u64>,
    pub(super) totals: Arms<Counts>,
    pub(super) seen: Arms<Seen>,
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
            slow: Slow::new(staked),
            assigned: Arms::default(),
            newest: None,
            totals: Arms::default(),
            seen: Arms::default(),
            quantiles: Arms::default(),
        }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.errors.stake(stake);
        self.client_errors.stake(stake);
        self.aborts.stake(stake);
        self.slow.stake(stake);
    }

    /// `slow`: whether latency is judged for these requests.
    pub(super) fn observe(&mut self, batch: &Batch, keyed: bool, alone: (f64, f64), slow: bool) {
        self.errors.observe(batch, keyed, Some(alone));
        self.client_errors.observe(batch, keyed, None);
        self.aborts.observe(batch, keyed, None);
        if slow {
            self.slow.observe(batch, keyed);
        }
        self.totals.add(&batch.done);
    }

    pub(super) fn saw(&mut self, seen: Arms<Seen>) {
        self.seen.stable.add(seen.stable);
        self.seen.candidate.add(seen.candidate);
    }

    pub(super) fn settle(&mut self, rest: f64, floor: bool) {
        self.errors.settle(rest, floor);
        self.client_errors.settle(rest, floor);
        self.aborts.settle(rest, floor);
        self.slow.settle(rest);
    }
}
