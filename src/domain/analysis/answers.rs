//! Good responses that became 4xx. Where some 4xx are normal (a login, an expired token), "three times as many" is
//! hard to prove or impossible; a drop of good responses from 60 % to none is not.
//!
//! Only good responses and 4xx are compared: errors and clients that left have tests of their own.

use super::evidence::Ratio;
use super::shown::{BatchContext, Since, finding};
use super::tick::{Arms, Batch, FEW, number};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Finding};

const EXPECTED: f64 = 4.0;
/// Answers of this many ticks are compared with each other at most: the share of good ones may change.
const WINDOW: u64 = 60;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answers {
    tolerated: f64,
    /// The stable release has more than the tolerated ratio of good responses: the sides are swapped.
    fewer: Ratio,
    since: Since,
    /// This step: good responses and 4xx together, and good responses.
    step: [Arms<u64>; 2],
    /// The same, too few to be compared yet, and the tick of the first. Their expected split is no help here: errors
    /// would be missing from it.
    waiting: [Arms<u64>; 2],
    waiting_since: u64,
    pub(super) ln_evidence: f64,
}

impl Answers {
    pub(super) fn new(tolerated: f64, staked: f64) -> Answers {
        Answers {
            tolerated,
            fewer: Ratio::above(tolerated, staked),
            since: Since::default(),
            step: [Arms::default(); 2],
            waiting: [Arms::default(); 2],
            waiting_since: 0,
            ln_evidence: 0.0,
        }
    }

    pub(super) fn stake(&mut self, stake: f64) {
        self.fewer.stake(stake);
    }

    pub(super) fn begin_step(&mut self) {
        (self.step, self.waiting) = ([Arms::default(); 2], [Arms::default(); 2]);
    }

    pub(super) fn observe(&mut self, batch: &Batch, context: &BatchContext) {
        let Arms { stable, candidate } = &batch.done;
        let good = Arms { stable: stable.good, candidate: candidate.good };
        let answered = Arms { stable: stable.answered(), candidate: candidate.answered() };
        self.step[0].add(answered);
        self.step[1].add(good);
        // All responses of a user share one coin.
        if batch.weight == Weight::ALL || context.keyed {
            self.waiting = [Arms::default(); 2];
            return;
        }
        if self.waiting == <[Arms<u64>; 2]>::default() || batch.tick > self.waiting_since + WINDOW {
            (self.waiting, self.waiting_since) = ([Arms::default(); 2], batch.tick);
        }
        self.waiting[0].add(answered);
        self.waiting[1].add(good);
        let [answered, good] = self.waiting;
        // Numbers of answers alone decide when they are compared, so the test stays valid.
        let few = answered.stable.saturating_add(answered.candidate) < FEW;
        if !few && answered.stable > 0 && answered.candidate > 0 {
            let odds = number(answered.stable) / number(answered.candidate);
            self.fewer.observe_at(context.moment, odds, good.stable, good.candidate);
            let refused =
                Arms { stable: answered.stable - good.stable, candidate: answered.candidate - good.candidate };
            self.since.add(answered, refused);
            self.waiting = [Arms::default(); 2];
        }
    }

    pub(super) fn settle(&mut self, rest: f64) {
        self.ln_evidence = self.fewer.ln_evidence(rest);
        if self.ln_evidence <= 0.0 {
            self.since = Since::default();
        }
    }

    /// The candidate's share of good responses in this step is visibly below the tolerated one: no proof, but not
    /// healthy.
    pub(super) fn have_fallen(&self) -> bool {
        let [answered, good] = self.step;
        if answered.stable == 0 {
            return false;
        }
        let usual = number(good.stable) / number(answered.stable);
        let expected = usual * number(answered.candidate);
        expected >= EXPECTED && number(good.candidate) * self.tolerated < expected
    }

    pub(super) fn finding(&self, route: Option<&str>) -> Finding {
        finding(Class::ClientError, route, self.since.samples(Arms::default()), self.ln_evidence)
    }
}
