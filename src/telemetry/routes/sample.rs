//! What was counted since the last look, all workers together: what the judge is told of a tick.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::arm::{Cause, Counts, RECENT, RING};
use super::{RouteId, Routes};
use crate::domain::color::{Color, PerColor};

/// When requests were given to their colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the ticks that are told apart.
    Earlier,
    /// In this one.
    Tick(u64),
}

/// What came of the requests of one tick since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// When they were given to their colors.
    pub moment: Moment,
    /// By color.
    pub counts: PerColor<Counts>,
}

/// What is new of one route.
#[derive(Clone, Debug)]
pub struct RouteSample {
    /// Which.
    pub route: RouteId,
    /// Its name.
    pub name: Arc<str>,
    /// The oldest first; only those of which there is something new.
    pub batches: Vec<Batch>,
    /// Everything from the start of the process on.
    pub totals: PerColor<Counts>,
    /// Errors from the start of the process on, by [`Cause`].
    pub causes: PerColor<[u64; Cause::ALL.len()]>,
}

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The tick that has ended by it.
    pub tick: u64,
    /// By number.
    pub routes: Vec<RouteSample>,
}

/// Looks, again and again. There is one: each look begins a tick.
#[derive(Debug)]
pub struct Sampler {
    routes: Arc<Routes>,
    /// By route.
    before: Vec<PerColor<[Counts; RING + 1]>>,
}

impl Sampler {
    /// For these.
    #[must_use]
    pub fn new(routes: Arc<Routes>) -> Sampler {
        Sampler { routes, before: Vec::new() }
    }

    /// What is looked at.
    #[must_use]
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Ends the present tick and looks. What a worker counts meanwhile is found by the next look, under its own tick.
    pub fn sample(&mut self) -> Sample {
        let tick = self.routes.tick.fetch_add(1, Ordering::Relaxed);
        let mut samples = Vec::new();
        for (route, of) in self.routes.iter() {
            let mut now: PerColor<[Counts; RING + 1]> = PerColor::default();
            let mut causes: PerColor<[u64; Cause::ALL.len()]> = PerColor::default();
            for arms in &of.arms {
                for color in Color::ALL {
                    arms[color].add_counts(&mut now[color]);
                    arms[color].add_causes(&mut causes[color]);
                }
            }
            if self.before.len() <= route.index() {
                self.before.resize_with(route.index() + 1, PerColor::default);
            }
            let before = std::mem::replace(&mut self.before[route.index()], now.clone());
            let batch = |place: usize, moment: Moment| {
                let counts = PerColor::from_fn(|color| now[color][place].since(&before[color][place]));
                let new = Color::ALL.into_iter().any(|color| counts[color] != Counts::default());
                new.then_some(Batch { moment, counts })
            };
            let oldest = (tick + 1).saturating_sub(RECENT + 1);
            let recent = (oldest..=tick).filter_map(|of| batch(of as usize % RING, Moment::Tick(of)));
            let batches = batch(RING, Moment::Earlier).into_iter().chain(recent).collect();
            let totals = PerColor::from_fn(|color| {
                let mut total = Counts::default();
                now[color].iter().for_each(|counts| total.add(counts));
                total
            });
            samples.push(RouteSample { route, name: Arc::clone(&of.name), batches, totals, causes });
        }
        Sample { tick, routes: samples }
    }
}
