//! Events reported by the application (`Cutover-Event`): orders, sign-ups, failed payments. A release may lose a fifth
//! of its orders with perfect status codes and latency.
//!
//! Each event has the test that errors have, with the sides swapped if fewer are bad. It waits until the responses of
//! a second are nearly complete: a slightly slower release responds later, not less.

use std::collections::VecDeque;
use std::time::Duration;

use super::evidence::{Moment, Ratio};
use super::rule::{Bad, EventRule};
use super::shown::odds;
use super::tick::{Arms, Batch, Tick, number};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding, Sample};

const WAIT: Duration = Duration::from_secs(10);
const FEW: f64 = 4.0;

#[derive(Clone, Debug, PartialEq)]
struct Open {
    tick: u64,
    at: Duration,
    weight: Weight,
    assigned: Arms<u64>,
    told: Vec<Arms<u64>>,
}

#[derive(Clone, Debug, PartialEq)]
struct One {
    rule: EventRule,
    test: Ratio,
    /// Requests and events since the evidence began to grow.
    since: [Arms<u64>; 2],
    totals: Arms<u64>,
    /// This step: events on the candidate, their expected number at equal frequency, and its variance.
    step: (f64, f64, f64),
    ln_evidence: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct EventTests {
    open: VecDeque<Open>,
    each: Vec<One>,
    first_of_step: u64,
    assigned: Arms<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventReport {
    pub rule: EventRule,
    /// Requests of the compared seconds.
    pub requests: Arms<u64>,
    pub told: Arms<u64>,
    pub odds: f64,
}

impl EventTests {
    pub(super) fn new(rules: &[EventRule], staked: f64) -> EventTests {
        let one = |rule: &EventRule| One {
            rule: rule.clone(),
            test: Ratio::beyond(rule.ratio(), staked),
            since: Default::default(),
            totals: Arms::default(),
            step: (0.0, 0.0, 0.0),
            ln_evidence: 0.0,
        };
        let each = rules.iter().map(one).collect();
        EventTests { open: VecDeque::new(), each, first_of_step: 0, assigned: Arms::default() }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.each.iter_mut().for_each(|one| one.test.stake(stake));
    }

    pub(super) fn begin_step(&mut self, first: u64) {
        self.first_of_step = first;
        self.each.iter_mut().for_each(|one| one.step = (0.0, 0.0, 0.0));
    }

    /// `most`: the greatest factor that a second may give to a bet.
    pub(super) fn observe(&mut self, tick: &Tick, most: f64) {
        if self.each.is_empty() {
            return;
        }
        self.open.push_back(Open {
            tick: tick.number,
            at: tick.at,
            weight: tick.weight,
            assigned: tick.assigned,
            told: vec![Arms::default(); self.each.len()],
        });
        for told in &tick.events {
            let open = self.open.iter_mut().find(|open| open.tick == told.tick && open.weight == told.weight);
            // A response after the end of its second's wait is left out, on either side.
            if let Some(sum) = open.and_then(|open| open.told.get_mut(told.event)) {
                sum.add(told.told);
            }
        }
        let is_over = |open: &Open| tick.at.saturating_sub(open.at) >= WAIT;
        while self.open.front().is_some_and(is_over)
            && let Some(open) = self.open.pop_front()
        {
            self.compare(&open, tick.keyed, most);
        }
    }

    fn compare(&mut self, open: &Open, keyed: bool, most: f64) {
        let Open { tick, weight, assigned, .. } = *open;
        self.assigned.add(assigned);
        let Some(odds) = (Batch { tick, weight, assigned, ..Batch::default() }).odds(keyed) else { return };
        let moment = Moment::new(open.at.as_secs(), most);
        let is_of_step = tick >= self.first_of_step;
        for (one, told) in self.each.iter_mut().zip(&open.told) {
            one.compare(assigned, *told, odds, moment, is_of_step);
        }
    }

    pub(super) fn settle(&mut self, rest: f64) {
        for one in &mut self.each {
            one.ln_evidence = one.test.ln_evidence(rest);
            if one.ln_evidence <= 0.0 {
                one.since = Default::default();
            }
        }
    }

    pub(super) fn evidence(&self) -> impl Iterator<Item = (f64, f64)> {
        self.each.iter().map(|one| (one.rule.share, one.ln_evidence))
    }

    pub(super) fn shared(&self) -> f64 {
        self.each.iter().map(|one| one.rule.share).sum()
    }

    /// One event is visibly worse in this step: no proof, but not healthy.
    pub(super) fn are_worse(&self) -> bool {
        self.each.iter().any(One::is_worse)
    }

    pub(super) fn finding(&self, event: usize) -> Option<Finding> {
        let one = self.each.get(event)?;
        let [requests, told] = one.since;
        let per_request = u64::from(one.rule.per_request);
        let sample = |of: fn(&Arms<u64>) -> u64| Sample::new(of(&requests), of(&told).div_ceil(per_request), None);
        Some(Finding {
            class: if one.rule.bad == Bad::More { Class::MoreEvents } else { Class::FewerEvents },
            route: None,
            event: Some(one.rule.name.clone()),
            candidate: sample(|arms| arms.candidate),
            stable: sample(|arms| arms.stable),
            evidence: odds(one.ln_evidence),
        })
    }

    pub(super) fn report(&self) -> Vec<EventReport> {
        let report = |one: &One| EventReport {
            rule: one.rule.clone(),
            requests: self.assigned,
            told: one.totals,
            odds: one.ln_evidence.exp().min(1e18),
        };
        self.each.iter().map(report).collect()
    }
}

impl One {
    fn compare(&mut self, assigned: Arms<u64>, told: Arms<u64>, odds: f64, moment: Moment, is_of_step: bool) {
        self.totals.add(told);
        self.since[0].add(assigned);
        self.since[1].add(told);
        // One response counts at most 1: the mean factor of a fraction of an event is below that fraction of the mean
        // factor.
        let part = |count: u64| number(count) / f64::from(self.rule.per_request);
        let (candidate, stable) = (part(told.candidate), part(told.stable));
        match self.rule.bad {
            Bad::More => self.test.observe_parts(moment, odds, candidate, stable),
            Bad::Fewer => self.test.observe_parts(moment, 1.0 / odds, stable, candidate),
        }
        if is_of_step {
            let (seen, expected, variance) = &mut self.step;
            *seen += candidate;
            *expected += stable * odds;
            *variance += stable * odds * odds;
        }
    }

    /// By more than the tolerance and one standard error.
    fn is_worse(&self) -> bool {
        let (seen, expected, variance) = self.step;
        let times = match self.rule.bad {
            Bad::More => 1.0 + self.rule.tolerated,
            Bad::Fewer => 1.0 - self.rule.tolerated,
        };
        let tolerated = expected * times;
        let error = (tolerated + variance * times * times).sqrt();
        match self.rule.bad {
            Bad::More => seen >= FEW && seen > tolerated + error,
            Bad::Fewer => expected >= FEW && seen < tolerated - error,
        }
    }
}

#[cfg(test)]
mod tests;
