//! Checks beside the verdict: is the stable release a measure, is it worse itself, is the split right, and how much
//! CPU does a request take?

use std::collections::VecDeque;
use std::time::Duration;

use super::component::Events;
use super::evidence::{Ratio, Sign};
use super::policy::Policy;
use super::shown::{BatchContext, odds};
use super::tick::{Arms, Batch, Counts, CpuUse, Tick, number};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding, Sample};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Recent {
    ticks: VecDeque<(Duration, Arms<u64>, Arms<Counts>)>,
}

const FEW: u64 = 20;

impl Recent {
    pub(super) fn push(&mut self, tick: &Tick, done: Arms<Counts>, window: Duration) {
        self.ticks.push_back((tick.at, tick.assigned, done));
        while self.ticks.front().is_some_and(|(at, ..)| *at + window < tick.at) {
            self.ticks.pop_front();
        }
    }

    pub(super) fn unhealthy(&self, share: f64) -> bool {
        let mut stable = Counts::default();
        self.ticks.iter().for_each(|(.., done)| stable.add(&done.stable));
        stable.completed >= FEW && number(stable.failed) > share * number(stable.completed)
    }

    /// The time that `requests` to the candidate take at this weight; `None`: none arrive. The rate of both sides
    /// together tells more than the candidate's few, or its requests at another weight.
    pub(super) fn time_for(&self, requests: u64, weight: Weight) -> Option<Duration> {
        let (first, last) = (self.ticks.front()?.0, self.ticks.back()?.0);
        // The first tick's requests came before it.
        let came = self.ticks.iter().skip(1).fold(0_u64, |sum, (_, assigned, _)| {
            sum.saturating_add(assigned.candidate).saturating_add(assigned.stable)
        });
        let of_candidate = number(came) * weight.share();
        let seconds = number(requests) * last.saturating_sub(first).as_secs_f64() / of_candidate;
        // A hundred years are as good as never.
        (of_candidate > 0.0 && seconds < 3e9).then(|| Duration::from_secs_f64(seconds.ceil()))
    }

    pub(super) fn has_a_rate(&self) -> bool {
        self.ticks.len() > 1
    }
}

/// The test with the sides swapped: "the stable release is worse" is a hint without consequence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mirror(Events);

impl Mirror {
    pub(super) fn new(policy: &Policy) -> Mirror {
        Mirror(Events::new(Class::Error, policy.ratio_tolerated, policy.error_floor, 0.0))
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.0.stake(stake);
    }

    pub(super) fn observe(&mut self, batch: &Batch, context: &BatchContext) {
        if batch.weight == Weight::ALL {
            return;
        }
        let mirrored = Batch {
            weight: batch.weight.rest(),
            assigned: Arms { stable: batch.assigned.candidate, candidate: batch.assigned.stable },
            done: Arms { stable: batch.done.candidate, candidate: batch.done.stable },
            ..*batch
        };
        self.0.observe(&mirrored, context);
    }

    pub(super) fn settle(&mut self, rest: f64, keeps: f64) {
        self.0.settle(rest, keeps);
    }

    pub(super) fn ln_evidence(&self) -> f64 {
        self.0.ln_evidence
    }
}

/// Is the split as the weight says? This tests the proxy itself; the judge counts requests and does not rely on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SplitCheck {
    test: Ratio,
    weight: Option<Weight>,
}

impl Default for SplitCheck {
    fn default() -> SplitCheck {
        SplitCheck { test: Ratio::other(), weight: None }
    }
}

impl SplitCheck {
    pub(super) fn observe(&mut self, tick: &Tick) {
        // When the weight changes within a tick, requests were split in two ways. And sticky users send what they
        // like.
        let same = self.weight.replace(tick.weight) == Some(tick.weight);
        let (share, rest) = (tick.weight.share(), tick.weight.rest().share());
        if same && !tick.keyed && share > 0.0 && rest > 0.0 {
            self.test.observe(share / rest, tick.assigned.candidate, tick.assigned.stable);
        }
    }

    pub(super) fn off(&self) -> bool {
        self.test.ln_evidence(0.0) >= 1000_f64.ln()
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    test: Sign,
    windows: u64,
    above: u64,
}

impl Cpu {
    pub(super) fn observe(&mut self, used: &Arms<CpuUse>, margin: f64) {
        // The choice of windows must not depend on the candidate's CPU time.
        if used.stable.requests < FEW || used.candidate.requests < FEW || used.stable.busy.is_zero() {
            return;
        }
        let each = |used: &CpuUse| used.busy.as_secs_f64() / number(used.requests);
        let above = each(&used.candidate) > each(&used.stable) * margin;
        self.test.observe(above);
        self.windows += 1;
        self.above += u64::from(above);
    }

    pub(super) fn ln_evidence(&self) -> f64 {
        self.test.ln_evidence()
    }

    pub(super) fn windows(&self) -> u64 {
        self.windows
    }

    pub(super) fn finding(&self) -> Finding {
        Finding {
            class: Class::Cpu,
            route: None,
            event: None,
            candidate: Sample::new(self.windows, self.above, None),
            stable: Sample::default(),
            evidence: odds(self.ln_evidence()),
        }
    }
}
