//! What the plain figures say, without any proof. They can only delay: while the candidate's own share of failed or
//! slow requests is visibly too high nothing goes forward, whatever the tests have come to; and while its latency
//! visibly falls from one half of its first minutes to the other, it is warming up and not slow.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::Policy;
use super::tick::{Arms, Counts, number};
use crate::domain::verdict::Veto;

/// The figures of so long are looked at,
const WINDOW: Duration = Duration::from_secs(30);
/// or of so many requests to the candidate, if those take longer,
const REQUESTS: u64 = 100;
/// and not of more ticks than this.
const MOST: usize = 3_600;
/// Fewer bad requests than this are chance.
const BAD: u64 = 3;
/// So large a share beyond the stable release's p99 is too much, as is three times its own.
const SLOW: f64 = 0.03;
/// A candidate is cold for so many times the warm-up at most.
const COLD: u32 = 6;
/// And never for longer than this.
const MOST_COLD: Duration = Duration::from_secs(6 * 3_600);
/// Latency that has fallen by this share, or may have, is falling,
const FALLS: f64 = 0.08;
/// or by half of what it has to fall from one half of the time to the other to be where it should be when the caches
/// are warm.
const ON_TIME: f64 = 0.5;
/// May have: within so many standard errors.
const SURELY: f64 = 1.0;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Raw {
    ticks: VecDeque<(Duration, Arms<Counts>)>,
    sum: Arms<Counts>,
    /// The candidate's requests, and those beyond its p90, by second since it began.
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

    /// Why nothing goes forward.
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
            // Of users who stay only the first slow request is counted, so there is no share.
            Some(Veto::Slow)
        } else {
            None
        }
    }

    /// Counts what the candidate did, so long after it began.
    pub(super) fn begins(&mut self, age: Duration, candidate: &Counts, policy: &Policy) {
        let second = usize::try_from(age.as_secs()).unwrap_or(usize::MAX);
        if age < cold_for(policy) {
            self.cold.resize(self.cold.len().max(second + 1), [0; 2]);
            let [requests, slow] = &mut self.cold[second];
            *requests = requests.saturating_add(candidate.completed);
            *slow = slow.saturating_add(candidate.slow[1].min(candidate.completed));
        }
    }

    /// The candidate may be slow because its caches are cold: it has just begun, and its latency falls, or may do so.
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

/// For so long a candidate may be cold.
pub(super) fn cold_for(policy: &Policy) -> Duration {
    policy.warmup_time.saturating_mul(COLD).min(MOST_COLD)
}
