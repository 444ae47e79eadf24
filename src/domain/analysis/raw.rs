//! Plain figures, without proof. They can only delay: nothing advances while the candidate's share of failed or slow
//! requests is visibly too high; and while its latency visibly falls, it is warming up and not slow.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::Policy;
use super::tick::{Arms, Counts, number};
use crate::domain::verdict::Veto;

/// The figures cover this time,
const WINDOW: Duration = Duration::from_secs(30);
/// or this many requests to the candidate if they take longer,
const REQUESTS: u64 = 100;
/// and at most this many ticks.
const MOST: usize = 3_600;
const BAD: u64 = 3;
/// A share beyond the stable release's p99 that is too large, as is three times its own.
const SLOW: f64 = 0.03;
/// Longest cold phase, in warm-up times,
const COLD: u32 = 6;
/// and at most this.
const MOST_COLD: Duration = Duration::from_secs(6 * 3_600);
/// Latency falls if it drops by this share,
const FALLS: f64 = 0.08;
/// or by this part of the drop that would make it normal when the caches are warm.
const ON_TIME: f64 = 0.5;
/// Standard errors of tolerance for a drop.
const SURELY: f64 = 1.0;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Raw {
    ticks: VecDeque<(Duration, Arms<Counts>)>,
    sum: Arms<Counts>,
    /// The candidate's requests, and those beyond its p90, by second since its first request.
    cold: Vec<[u64; 2]>,
}

impl Raw {
    pub(super) fn push(&mut self, at: Duration, done: Arms<Counts>) {
        self.sum.add(&done);
        self.ticks.push_back((at, done));
        while let Some((oldest, first)) = self.ticks.front() {
            let rest = self.sum.candidate.completed.saturating_sub(first.candidate.completed);
            let old = *oldest + WINDOW < at && rest >= REQUESTS;
            if !old && self.ticks.len() <= MOST {
                break;
            }
            self.sum.subtract(first);
            self.ticks.pop_front();
        }
    }

    pub(super) fn veto(&self, policy: &Policy, keyed: bool) -> Option<Veto> {
        let Arms { stable, candidate } = &self.sum;
        let share = |bad: u64, of: u64| number(bad) / number(of.max(bad).max(1));
        let above = |bad: Arms<u64>, least: f64| {
            let most = least.max(3.0 * share(bad.stable, stable.completed));
            bad.candidate >= BAD && share(bad.candidate, candidate.completed) > most
        };
        let failed = Arms { stable: stable.failed, candidate: candidate.failed };
        let slow = Arms { stable: stable.slow[2], candidate: candidate.slow[2] };
        if above(failed, policy.pass_error_below) {
            Some(Veto::Errors)
        } else if !keyed && above(slow, SLOW) {
            // Only the first slow request of a sticky user is counted, so there is no share.
            Some(Veto::Slow)
        } else {
            None
        }
    }

    /// `age`: time since the candidate's first request.
    pub(super) fn begins(&mut self, age: Duration, candidate: &Counts, policy: &Policy) {
        let second = usize::try_from(age.as_secs()).unwrap_or(usize::MAX);
        if age < cold_for(policy) {
            self.cold.resize(self.cold.len().max(second + 1), [0; 2]);
            let [requests, slow] = &mut self.cold[second];
            *requests = requests.saturating_add(candidate.completed);
            *slow = slow.saturating_add(candidate.slow[1].min(candidate.completed));
        }
    }

    pub(super) fn is_warming_up(&self, age: Duration, policy: &Policy) -> bool {
        if age >= cold_for(policy) {
            return false;
        }
        let half = (self.cold.len() / 2).min(60);
        let sum = |part: &[[u64; 2]]| {
            part.iter().fold([0_u64; 2], |sum, of| [sum[0].saturating_add(of[0]), sum[1].saturating_add(of[1])])
        };
        let (before, late) = self.cold.split_at(self.cold.len() - half);
        let (early, late) = (sum(&before[before.len() - half..]), sum(late));
        if early[0] == 0 || late[0] == 0 {
            return true;
        }
        let share = |[of, slow]: [u64; 2]| number(slow) / number(of);
        let variance = |[of, slow]: [u64; 2]| {
            // One of each more, so that few requests are no certainty.
            let share = (number(slow) + 1.0) / (number(of) + 2.0);
            share * (1.0 - share) / number(of)
        };
        let fallen = share(early) - share(late);
        let due = number(half as u64) / cold_for(policy).as_secs_f64().max(1.0);
        fallen + SURELY * (variance(early) + variance(late)).sqrt() > FALLS.max(ON_TIME * due) * share(early)
    }
}

pub(super) fn cold_for(policy: &Policy) -> Duration {
    policy.warmup_time.saturating_mul(COLD).min(MOST_COLD)
}
