//! Which second a request was assigned in. What goes wrong in one second on one side is often one thing: a pause of one
//! process slows all its requests, a connection that breaks fails all that are on it. So a bet gains no more from a
//! second of assignment than a bounded factor, however many requests it has ([`Gains`]).
//!
//! The bound costs no validity. Under the hypothesis the product of the factors of one second is at most 1 in the mean,
//! and cut at the top it is less.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds whose requests may still have outcomes to come.
const OPEN: usize = 12;

/// What one second of assignment may make of a bet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment {
    /// Which second.
    second: u64,
    /// The logarithm of the greatest factor.
    ln_most: f64,
}

impl Moment {
    /// This second, and the greatest factor of it.
    #[must_use]
    pub(crate) fn new(second: u64, most: f64) -> Moment {
        Moment { second, ln_most: most.ln() }
    }

    pub(super) fn second(self) -> u64 {
        self.second
    }
}

/// The seconds of the last ticks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Moments {
    /// The number of a tick, and when it was.
    ticks: VecDeque<(u64, Duration)>,
}

impl Moments {
    /// A tick begins; when the last one was.
    pub(super) fn begin(&mut self, tick: u64, at: Duration) -> Duration {
        let last = self.ticks.back().map_or(at, |(_, last)| *last);
        self.ticks.push_back((tick, at));
        while self.ticks.len() > 10 * OPEN {
            self.ticks.pop_front();
        }
        last
    }

    /// The second of a tick. Outcomes of requests that are older share the second in which they became known.
    pub(super) fn of(&self, tick: u64, most: f64) -> Moment {
        let known = self.ticks.iter().find(|(number, _)| *number == tick);
        let now = self.ticks.back().map_or(0, |(_, at)| at.as_secs());
        Moment::new(known.map_or(!now, |(_, at)| at.as_secs()), most)
    }
}

/// What each second of assignment has made of each bet so far, as logarithms and without the bound.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gains {
    open: VecDeque<(u64, Vec<f64>)>,
}

impl Gains {
    /// The same of one second.
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

/// How a bet changes with a further gain in a second that has made `before` of it.
pub(super) fn bounded(whole: &mut f64, gain: f64, moment: Moment) -> f64 {
    let before = whole.min(moment.ln_most);
    *whole += gain;
    whole.min(moment.ln_most) - before
}
