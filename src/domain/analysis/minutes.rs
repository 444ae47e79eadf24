//! Sticky users, minute by minute: users with any errors, with errors in one of ten requests, in one of two.
//!
//! A user has the same color in each minute, so minutes are no independent bets and are not multiplied. But in *each*
//! of them the mean return of a fair gambler is at most 1, and so is that of a weighted mean of minutes, whatever they
//! have in common. The sum only grows, so it may be looked at any time (docs/analysis.md, "Minutes").

use super::evidence::{Ratio, Share, ln_add};
use super::policy::Policy;
use super::shown::odds;
use super::tick::{Arms, Minute};
use crate::domain::verdict::{Class, Finding, Sample};

/// The weight of the planned minutes, evenly spread.
const PLANNED: f64 = 0.8;
const AFTER: f64 = 0.2;
const UNPLANNED: f64 = 60.0;
/// Greatest factor of a minute per moment with failures: a pause of one process fails everybody who waits, and is one
/// event.
const MOST_AT_ONCE: f64 = 30.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Minutes {
    tolerated: f64,
    floor: f64,
    planned: f64,
    number: f64,
    pub(super) ln_evidence: f64,
    /// Users and bad users of the clearest minute and degree.
    clearest: (f64, Arms<Sample>),
}

impl Minutes {
    pub(super) fn new(policy: &Policy) -> Minutes {
        let horizon = policy.horizon.map(super::tick::number);
        Minutes {
            tolerated: policy.ratio_tolerated,
            floor: policy.error_floor,
            planned: horizon.map_or(UNPLANNED, |ticks| (ticks / 60.0).ceil().max(1.0)),
            number: 0.0,
            ln_evidence: f64::NEG_INFINITY,
            clearest: (f64::NEG_INFINITY, Arms::default()),
        }
    }

    /// The weight of the next minute. All weights together are at most 1.
    fn weight(&mut self) -> f64 {
        self.number += 1.0;
        if self.number <= self.planned {
            PLANNED / self.planned
        } else {
            // The sum of 1/(j(j+1)) from H+1 on is 1/(H+1).
            AFTER * (self.planned + 1.0) / (self.number * (self.number + 1.0))
        }
    }

    pub(super) fn observe(&mut self, minute: &Minute) {
        let weight = self.weight();
        let (share, rest) = (minute.weight.share(), minute.weight.rest().share());
        if share <= 0.0 || rest <= 0.0 {
            return;
        }
        let of_degree = |bad: &Arms<u64>| {
            let mut relative = Ratio::above(self.tolerated, 1.0);
            relative.observe(share / rest, bad.candidate, bad.stable);
            let mut absolute = Share::above(self.floor, 1.0);
            absolute.observe(minute.active.candidate, bad.candidate);
            relative.ln_evidence(0.0).min(absolute.ln_evidence(0.0))
        };
        let evidence = minute.bad.each_ref().map(of_degree);
        let best = (0..evidence.len()).fold(0, |best, of| if evidence[of] > evidence[best] { of } else { best });
        let mean =
            evidence.into_iter().fold(f64::NEG_INFINITY, ln_add) - super::tick::number(evidence.len() as u64).ln();
        let bounded = mean.min(super::tick::number(minute.moments) * MOST_AT_ONCE.ln());
        self.ln_evidence = ln_add(self.ln_evidence, bounded + weight.ln());
        if bounded >= self.clearest.0 {
            let sample = |of: fn(&Arms<u64>) -> u64| Sample::new(of(&minute.active), of(&minute.bad[best]), None);
            self.clearest =
                (bounded, Arms { stable: sample(|arms| arms.stable), candidate: sample(|arms| arms.candidate) });
        }
    }

    pub(super) fn finding(&self) -> Finding {
        let Arms { stable, candidate } = self.clearest.1;
        Finding { class: Class::Error, route: None, event: None, candidate, stable, evidence: odds(self.ln_evidence) }
    }
}
