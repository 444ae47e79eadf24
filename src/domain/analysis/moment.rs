//! The second in which a request was assigned. Failures of one second on one side often have one cause: a pause of one
//! process, a broken connection. So a second multiplies a bet at most by a bounded factor, however many requests it
//! has ([`Gains`]).
//!
//! The bound costs no validity: under the hypothesis the mean factor of a second is at most 1, and a cap only lowers
//! it.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds whose requests may still have outcomes to come.
const OPEN: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    second: u64,
    ln_most: f64,
}

impl Moment {
    #[must_use]
    pub(crate) fn new(second: u64, most: f64) -> Moment {
        Moment { second, ln_most: most.ln() }
    }

    pub(super) fn second(self) -> u64 {
        self.second
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moments {
    ticks: VecDeque<(u64, Duration)>,
}

impl Moments {
    pub(super) fn begin(&mut self, tick: u64, at: Duration) -> Duration {
        let last = self.ticks.back().map_or(at, |(_, last)| *last);
        self.ticks.push_back((tick, at));
        while self.ticks.len() > 10 * OPEN {
            self.ticks.pop_front();
        }
        last
    }

    /// Outcomes of older requests share the second in which they became known.
    pub(super) fn of(&self, tick: u64, most: f64) -> Moment {
        let known = self.ticks.iter().find(|(number, _)| *number == tick);
        let now = self.ticks.back().map_or(0, |(_, at)| at.as_secs());
        Moment::new(known.map_or(!now, |(_, at)| at.as_secs()), most)
    }
}

/// The unbounded log gain of each bet in each second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gains {
    open: VecDeque<(u64, Vec<f64>)>,
}

impl Gains {
    pub(super) fn of(&mut self, second: u64, bets: usize) -> &mut [f64] {
        let place = self.open.iter().position(|(known, _)| *known == second).unwrap_or_else(|| {
            if self.open.len() == OPEN {
                self.open.pop_front();
            }
            self.open.push_back((second, vec![0.0; bets]));
            self.open.len() - 1
        });
        &mut self.open[place].1
    }
}

/// Adds a gain to a bet; `before`: the gain of its second so far.
pub(super) fn bounded(whole: &mut f64, gain: f64, moment: Moment) -> f64 {
    let before = whole.min(moment.ln_most);
    *whole += gain;
    whole.min(moment.ln_most) - before
}
