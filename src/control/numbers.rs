//! Numbers for people and metrics: tallies, rates, and the timeline of the page.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::control::timeline::{Point, Timeline};
use crate::domain::color::{Color, PerColor};
use crate::telemetry::meter::Reading;
use crate::telemetry::metrics::Tallies;

#[derive(Debug, Default)]
pub(super) struct Numbers {
    tallies: Tallies,
    rates: Rates,
    timeline: Timeline,
}

impl Numbers {
    /// Called once a second.
    pub(super) fn sample(&mut self, readings: &[(Color, Arc<str>, Reading)]) -> Option<Point> {
        self.rates.sample(readings);
        self.timeline.sample(Instant::now(), SystemTime::now(), readings)
    }

    pub(super) fn rates(&self, color: Color) -> (f64, f64) {
        self.rates.of(color)
    }

    pub(super) fn points(&self) -> Vec<Point> {
        self.timeline.points()
    }

    pub(super) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    pub(super) fn tallies_mut(&mut self) -> &mut Tallies {
        &mut self.tallies
    }
}

/// In seconds.
const WINDOW: usize = 10;

#[derive(Debug, Default)]
struct Rates(VecDeque<(Instant, PerColor<(u64, u64)>)>);

impl Rates {
    fn sample(&mut self, readings: &[(Color, Arc<str>, Reading)]) {
        let sums = PerColor::from_fn(|color| {
            let of_color = readings.iter().filter(|(of, _, _)| *of == color).map(|(_, _, reading)| reading);
            of_color.fold((0, 0), |(all, errors), reading| (all + reading.requests(), errors + reading.codes[5]))
        });
        self.0.push_back((Instant::now(), sums));
        while self.0.len() > WINDOW + 1 {
            self.0.pop_front();
        }
    }

    fn of(&self, color: Color) -> (f64, f64) {
        let (Some((first, before)), Some((last, after))) = (self.0.front(), self.0.back()) else { return (0.0, 0.0) };
        let seconds = (*last - *first).as_secs_f64();
        if seconds < 0.5 {
            return (0.0, 0.0);
        }
        let rate = |before: u64, after: u64| (after.saturating_sub(before)) as f64 / seconds;
        (rate(before[color].0, after[color].0), rate(before[color].1, after[color].1))
    }
}
