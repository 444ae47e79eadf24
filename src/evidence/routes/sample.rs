//! The judge's input of one tick: the counts since the last look, summed over workers.

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

/// News since the last look about the requests that were given in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The tick in which they were given. Requests older than all ticks that are kept apart come under the tick before
    /// those.
    pub tick: u64,
    pub weight: Weight,
    /// Requests given in the tick; for older ones, in all ticks before it with its weight.
    pub assigned: PerColor<u64>,
    pub done: PerColor<Counts>,
}

impl Batch {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Requests,
    /// Events that count on a route, where users stay on a color.
    OnRoute,
    /// Events that count among all routes together, where users stay on a color.
    Overall,
}

#[derive(Clone, Debug)]
pub struct RouteSample {
    pub route: RouteId,
    pub name: Arc<str>,
    pub batches: Vec<Batch>,
    pub totals: PerColor<Counts>,
    pub causes: PerColor<[u64; Cause::ALL.len()]>,
    pub missing: PerColor<u64>,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub tick: u64,
    pub weight: Weight,
    /// Requests given since the last look, on all routes.
    pub assigned: PerColor<u64>,
    pub routes: Vec<RouteSample>,
    pub events: Vec<EventSample>,
}

/// The one reader: each look ends a tick. A look belongs right after the publish of another weight, so that a tick has
/// one weight.
#[derive(Debug)]
pub struct Sampler {
    routes: Arc<Routes>,
    /// The candidate's weight, by place in the ring; the last one is for everything older.
    weights: [Weight; RING + 1],
    before: Vec<Seen>,
    events: EventSampler,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    counts: PerColor<[Counts; RING + 1]>,
    /// Requests given in each tick of the ring, and in all before.
    assigned: [PerColor<u64>; RING + 1],
    used: Option<Instant>,
}

impl Sampler {
    #[must_use]
    pub fn new(routes: Arc<Routes>) -> Sampler {
        Sampler { routes, weights: [Weight::NONE; RING + 1], before: Vec::new(), events: EventSampler::default() }
    }

    #[must_use]
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Ends the present tick, in which the candidate had this weight. A count that a worker makes meanwhile is found by
    /// the next look, under its own tick.
    pub fn sample(&mut self, weight: Weight) -> Sample {
        self.sample_at(weight, Instant::now())
    }

    pub fn sample_at(&mut self, weight: Weight, now: Instant) -> Sample {
        let tick = self.routes.tick.fetch_add(1, Ordering::Relaxed);
        let present = place(tick);
        // The place of this tick becomes free: nothing counts under it any more.
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
