//! What was counted since the last look, all workers together: what the judge is told of a tick.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::arm::{Cause, Counts};
use super::told::{EventSample, EventSampler};
use super::{IDLE, RouteId, Routes};
use super::{RECENT, RING};
use crate::domain::analysis::{self, Arms};
use crate::domain::color::{Color, PerColor};
use crate::domain::split::Weight;
use crate::domain::verdict::Class;

/// What became known since the last look of the requests that were assigned in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In which tick they were assigned. What is older than the ticks that are told apart is under the last one before
    /// them.
    pub tick: u64,
    /// The candidate's weight then.
    pub weight: Weight,
    /// How many were assigned in that tick; of what is older, in all ticks before it with its weight.
    pub assigned: PerColor<u64>,
    /// What became known since the last look.
    pub done: PerColor<Counts>,
}

impl Batch {
    /// As the judge takes it.
    #[must_use]
    pub fn judged(&self, candidate: Color, of: Judged) -> analysis::Batch {
        let counts = |color: Color| {
            let counts = &self.done[color];
            let (events, completed, failed) = match of {
                Judged::Requests => (&counts.bad, counts.completed, counts.bad[Class::Error as usize]),
                Judged::OnRoute => (&counts.on_route, counts.sampled, counts.sampled_failed),
                Judged::Overall => (&counts.overall, counts.sampled, counts.sampled_failed),
            };
            analysis::Counts {
                completed,
                failed,
                errors: events[Class::Error as usize],
                client_errors: events[Class::ClientError as usize],
                aborts: events[Class::Abort as usize],
                slow: [Class::SlowP50, Class::SlowP90, Class::SlowP99].map(|class| events[class as usize]),
                good: [Class::Error, Class::ClientError, Class::Abort]
                    .iter()
                    .fold(counts.completed, |good, class| good.saturating_sub(counts.bad[*class as usize])),
                refused: counts.bad[Class::ClientError as usize],
            }
        };
        let stable = candidate.other();
        analysis::Batch {
            tick: self.tick,
            weight: self.weight,
            assigned: Arms { stable: self.assigned[stable], candidate: self.assigned[candidate] },
            done: Arms { stable: counts(stable), candidate: counts(candidate) },
        }
    }
}

/// What the judge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Every request.
    Requests,
    /// Where users stay on a color: what counts on a route,
    OnRoute,
    /// and what counts among all routes together.
    Overall,
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
    /// Files that were not there, from the start of the process on.
    pub missing: PerColor<u64>,
}

/// One look.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The tick that has ended by it.
    pub tick: u64,
    /// The candidate's weight in it.
    pub weight: Weight,
    /// Requests that were assigned since the last look, on all routes.
    pub assigned: PerColor<u64>,
    /// By number, also those of which nothing is new.
    pub routes: Vec<RouteSample>,
    /// Events that the application told.
    pub events: Vec<EventSample>,
}

/// Looks, again and again. There is one: each look ends a tick. Where the weight changes a look belongs right after the
/// publish, so that a tick has one weight.
#[derive(Debug)]
pub struct Sampler {
    routes: Arc<Routes>,
    /// The candidate's weight, by place in the ring; behind them, in what is older.
    weights: [Weight; RING + 1],
    /// By route.
    before: Vec<Seen>,
    events: EventSampler,
}

/// What was seen of a route.
#[derive(Clone, Debug, Default)]
struct Seen {
    counts: PerColor<[Counts; RING + 1]>,
    /// What was assigned in the tick that has a place in the ring, and in those before them.
    assigned: [PerColor<u64>; RING + 1],
    /// The last look that found a request; `None`: there was no look yet.
    used: Option<Instant>,
}

impl Sampler {
    /// For these.
    #[must_use]
    pub fn new(routes: Arc<Routes>) -> Sampler {
        Sampler { routes, weights: [Weight::NONE; RING + 1], before: Vec::new(), events: EventSampler::default() }
    }

    /// What is looked at.
    #[must_use]
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Ends the present tick, in which the candidate had this weight, and looks. What a worker counts meanwhile is
    /// found by the next look, under its own tick.
    pub fn sample(&mut self, weight: Weight) -> Sample {
        self.sample_at(weight, Instant::now())
    }

    /// The same at this time.
    pub fn sample_at(&mut self, weight: Weight, now: Instant) -> Sample {
        let tick = self.routes.tick.fetch_add(1, Ordering::Relaxed);
        let present = place(tick);
        // The tick whose place in the ring is free from now on: nothing is counted under it any more.
        let leaving = place(tick + 1);
        let continues = self.weights[RING] == self.weights[leaving];
        self.weights[present] = weight;
        let mut routes = Vec::new();
        let mut idle = Vec::new();
        let mut assigned: PerColor<u64> = PerColor::default();
        let shared = Arc::clone(&self.routes);
        for (route, of) in shared.iter() {
            if self.before.len() <= route.index() {
                self.before.resize_with(route.index() + 1, Seen::default);
            }
            let seen = &mut self.before[route.index()];
            let mut counts: PerColor<[Counts; RING + 1]> = PerColor::default();
            let mut causes: PerColor<[u64; Cause::ALL.len()]> = PerColor::default();
            let mut missing: PerColor<u64> = PerColor::default();
            for arms in &of.arms {
                for color in Color::ALL {
                    arms[color].add_counts(&mut counts[color]);
                    arms[color].add_causes(&mut causes[color]);
                    missing[color] += arms[color].missing();
                }
            }
            let before = std::mem::replace(&mut seen.counts, counts);
            let new = |place: usize| PerColor::from_fn(|color| counts[color][place].since(&before[color][place]));
            for color in Color::ALL {
                for place in 0..RING {
                    let more = new(place)[color].assigned;
                    seen.assigned[place][color] += more;
                    assigned[color] += more;
                }
            }
            let is_used = Color::ALL.into_iter().any(|color| counts[color] != before[color]);
            let used = seen.used.get_or_insert(now);
            if is_used {
                *used = now;
            } else if now.saturating_duration_since(*used) >= IDLE {
                idle.push(route);
            }
            let batch = |place: usize, tick: u64| {
                let done = new(place);
                let is_new = Color::ALL.into_iter().any(|color| done[color] != Counts::default());
                is_new.then(|| Batch { tick, weight: self.weights[place], assigned: seen.assigned[place], done })
            };
            let oldest = tick.saturating_sub(RECENT);
            let older = batch(RING, oldest.saturating_sub(1));
            let recent = (oldest..=tick).filter_map(|tick| batch(place(tick), tick));
            let batches = older.into_iter().chain(recent).collect();
            let totals = PerColor::from_fn(|color| {
                let mut total = Counts::default();
                counts[color].iter().for_each(|counts| total.add(counts));
                total
            });
            for color in Color::ALL {
                let left = std::mem::take(&mut seen.assigned[leaving][color]);
                let older = &mut seen.assigned[RING][color];
                *older = if continues { *older + left } else { left };
            }
            routes.push(RouteSample { route, name: of.name(), batches, totals, causes, missing });
        }
        if !idle.is_empty() {
            shared.retire(&idle);
        }
        let events = self.events.sample(shared.told(), tick, &self.weights);
        self.weights[RING] = self.weights[leaving];
        Sample { tick, weight, assigned, routes, events }
    }
}

fn place(tick: u64) -> usize {
    usize::try_from(tick % RING as u64).unwrap_or(RING)
}
