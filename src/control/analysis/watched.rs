//! One deployment under the eyes of its judge: from what was counted in a tick to what the judge is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::domain::analysis::{
    Arms, Batch, Counts as Told, CpuUse, Histogram, Judge, Policy, RouteTick, Thresholds, Tick,
};
use crate::domain::color::Color;
use crate::domain::deployment::{Deployment, DeploymentId, Stage};
use crate::domain::split::Weight;
use crate::domain::verdict::{Class, Judgement};
use crate::ledger::ticks::{Entry, Recorded, TickLog};
use crate::telemetry::routes::{Counts, Moment, RouteId, RouteSample, Routes, Sample, Sampler};

/// Latencies of the stable release are taken from the last one to two of these.
const BASELINE: Duration = Duration::from_secs(300);
/// Below this many answers a quantile says nothing.
const SHOWN_FROM: u64 = 20;

/// What latencies were some minutes ago, so that what is slow is told from what was usual of late.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    turned: Option<Instant>,
    older: BTreeMap<(RouteId, Color), Histogram>,
    newer: BTreeMap<(RouteId, Color), Histogram>,
}

impl Baselines {
    pub(super) fn turn(&mut self, now: Instant, sampler: &Sampler) {
        if self.turned.is_some_and(|turned| now.saturating_duration_since(turned) < BASELINE) {
            return;
        }
        self.turned = Some(now);
        self.older = std::mem::take(&mut self.newer);
        for (id, _) in sampler.routes().iter() {
            for color in Color::ALL {
                self.newer.insert((id, color), sampler.routes().latencies(id, color));
            }
        }
    }

    fn recent(&self, routes: &Routes, id: RouteId, color: Color) -> Histogram {
        let all = routes.latencies(id, color);
        self.older.get(&(id, color)).map_or_else(|| all.clone(), |older| all.since(older))
    }
}

/// One route of the deployment.
#[derive(Debug, Default)]
struct Known {
    slot: usize,
    thresholds: Option<Thresholds>,
    /// What was given to each side, by the tick in which it was; and before those that are told apart.
    assigned: VecDeque<(u64, Arms<u64>)>,
    earlier: Arms<u64>,
    /// Latencies when the step began.
    at_step: Option<Arms<Histogram>>,
}

/// A deployment that is judged.
#[derive(Debug)]
pub(super) struct Watched {
    id: DeploymentId,
    candidate: Color,
    stage: Option<Stage>,
    keyed: bool,
    pub(super) judge: Judge,
    policy: Policy,
    /// The judge's number of the first tick of this process, and the sampler's.
    first: (u64, u64),
    began: Instant,
    /// How long it was watched before this process.
    before: Duration,
    slots: BTreeMap<String, usize>,
    routes: BTreeMap<RouteId, Known>,
    weights: VecDeque<(u64, Weight)>,
    /// By name, from the record.
    recorded_thresholds: BTreeMap<String, Thresholds>,
}

impl Watched {
    pub(super) fn begin(deployment: &Deployment, keyed: bool, tick: u64, policy: Policy) -> Watched {
        Watched {
            id: deployment.id,
            candidate: deployment.candidate,
            stage: None,
            keyed,
            judge: Judge::new(policy.clone()),
            policy,
            first: (0, tick),
            began: Instant::now(),
            before: Duration::ZERO,
            slots: BTreeMap::new(),
            routes: BTreeMap::new(),
            weights: VecDeque::new(),
            recorded_thresholds: BTreeMap::new(),
        }
    }

    /// Goes on where a process before this one was. The step goes on as well: what it has shown counts.
    pub(super) fn resume(
        deployment: &Deployment,
        keyed: bool,
        tick: u64,
        recorded: &Recorded,
        routes: &Routes,
    ) -> Watched {
        let mut watched = Watched::begin(deployment, keyed, tick, recorded.policy.clone());
        (watched.judge, _) = recorded.judge();
        if let Some(last) = recorded.last_tick() {
            watched.first.0 = last.number + 1;
            watched.before = last.at;
            watched.stage = Some(deployment.stage);
        }
        for entry in &recorded.entries {
            let Entry::Tick(tick) = entry else { continue };
            for route in &tick.routes {
                watched.slots.insert(route.name.clone(), route.slot);
                if let Some(thresholds) = route.thresholds {
                    watched.recorded_thresholds.insert(route.name.clone(), thresholds);
                }
            }
        }
        for (id, route) in routes.iter() {
            if let Some(thresholds) = watched.recorded_thresholds.get(&*route.name) {
                set(routes, id, watched.candidate, thresholds);
            }
        }
        watched
    }

    pub(super) fn id(&self) -> DeploymentId {
        self.id
    }

    fn number(&self, tick: u64) -> u64 {
        self.first.0 + tick.saturating_sub(self.first.1)
    }

    /// A step begins where the stage is another one than before: what is slow is told anew from what has been usual.
    pub(super) fn stands_at(
        &mut self,
        deployment: &Deployment,
        tick: u64,
        baselines: &Baselines,
        routes: &Routes,
        log: &TickLog,
    ) {
        if self.stage == Some(deployment.stage) {
            return;
        }
        self.stage = Some(deployment.stage);
        // The tick that has just ended belongs to the stage before.
        let first = self.number(tick) + 1;
        self.judge.begin_step(first);
        log.append(self.id, Entry::Step(first));
        let stable = deployment.stable_color();
        for (id, known) in &mut self.routes {
            known.at_step = Some(latencies(routes, *id, self.candidate));
            if let Some(thresholds) = Thresholds::freeze(&baselines.recent(routes, *id, stable), &self.policy) {
                known.thresholds = Some(thresholds);
                set(routes, *id, self.candidate, &thresholds);
            }
        }
    }

    /// Tells the judge what was counted, and records it.
    pub(super) fn tick(
        &mut self,
        sample: &Sample,
        deployment: &Deployment,
        cpu: Option<Arms<CpuUse>>,
        baselines: &Baselines,
        routes: &Routes,
        log: &TickLog,
    ) -> Judgement {
        self.weights.push_back((sample.tick, deployment.weight));
        while self.weights.len() > 16 {
            self.weights.pop_front();
        }
        let number = self.number(sample.tick);
        let mut assigned = Arms::default();
        let mut seen = Vec::new();
        for route in sample.routes.iter().filter(|route| !route.batches.is_empty()) {
            let on_route = self.on_route(route, sample.tick, baselines, routes, &mut assigned);
            seen.extend(on_route);
        }
        let tick = Tick {
            number,
            at: self.before + self.began.elapsed(),
            weight: deployment.weight,
            keyed: self.keyed,
            assigned,
            routes: seen,
            cpu,
        };
        let judgement = self.judge.tick(&tick);
        log.append(self.id, Entry::Tick(Box::new(tick)));
        judgement
    }

    fn on_route(
        &mut self,
        route: &RouteSample,
        tick: u64,
        baselines: &Baselines,
        routes: &Routes,
        all: &mut Arms<u64>,
    ) -> Option<RouteTick> {
        let (candidate, stable) = (self.candidate, self.candidate.other());
        let next = self.slots.len();
        let slot = *self.slots.entry(route.name.to_string()).or_insert(next);
        let remembered = self.recorded_thresholds.get(&*route.name).copied();
        let known = self.routes.entry(route.route).or_insert_with(|| Known {
            slot,
            thresholds: remembered,
            at_step: Some(latencies(routes, route.route, candidate)),
            ..Known::default()
        });
        if known.thresholds.is_none() {
            // Known only by what came before: what is judged by it comes after.
            known.thresholds = Thresholds::freeze(&baselines.recent(routes, route.route, stable), &self.policy);
            if let Some(thresholds) = &known.thresholds {
                set(routes, route.route, candidate, thresholds);
            }
        }
        let mut batches = Vec::new();
        for batch in &route.batches {
            let counts = Arms { stable: batch.counts[stable], candidate: batch.counts[candidate] };
            let new = Arms { stable: counts.stable.assigned, candidate: counts.candidate.assigned };
            let (of, assigned) = match batch.moment {
                // What was given before this process, or before this deployment, is nothing to compare.
                Moment::Tick(of) if of < self.first.1 => continue,
                Moment::Tick(of) => (of, known.assigned_in(of, new)),
                Moment::Earlier => (self.first.1, known.earlier),
            };
            all.stable += new.stable;
            all.candidate += new.candidate;
            let weight = self.weights.iter().rev().find(|(at, _)| *at <= of).or(self.weights.front());
            batches.push(Batch {
                tick: self.first.0 + (of - self.first.1),
                weight: weight.map_or(Weight::NONE, |(_, weight)| *weight),
                assigned,
                done: Arms { stable: told(&counts.stable, self.keyed), candidate: told(&counts.candidate, self.keyed) },
            });
        }
        known.forget_before(tick);
        if batches.is_empty() {
            return None;
        }
        let since = |now: &Histogram, at_step: &Histogram| now.since(at_step);
        let now = latencies(routes, route.route, candidate);
        let quantiles = |histogram: Histogram| (histogram.count() >= SHOWN_FROM).then(|| histogram.quantiles()).flatten();
        let at_step = known.at_step.get_or_insert_with(Arms::default);
        Some(RouteTick {
            slot: known.slot,
            name: route.name.to_string(),
            thresholds: known.thresholds,
            quantiles: Arms {
                stable: quantiles(since(&now.stable, &at_step.stable)),
                candidate: quantiles(since(&now.candidate, &at_step.candidate)),
            },
            batches,
        })
    }
}

impl Known {
    /// What was given in this tick, as far as is known now.
    fn assigned_in(&mut self, tick: u64, new: Arms<u64>) -> Arms<u64> {
        let add = |sum: &mut Arms<u64>| {
            sum.stable += new.stable;
            sum.candidate += new.candidate;
            *sum
        };
        if let Some((_, sum)) = self.assigned.iter_mut().find(|(of, _)| *of == tick) {
            return add(sum);
        }
        self.assigned.push_back((tick, new));
        new
    }

    fn forget_before(&mut self, tick: u64) {
        while let Some((of, sum)) = self.assigned.front().copied().filter(|(of, _)| of + 16 < tick) {
            debug_assert!(of < tick);
            self.earlier.stable += sum.stable;
            self.earlier.candidate += sum.candidate;
            self.assigned.pop_front();
        }
    }
}

fn latencies(routes: &Routes, id: RouteId, candidate: Color) -> Arms<Histogram> {
    Arms { stable: routes.latencies(id, candidate.other()), candidate: routes.latencies(id, candidate) }
}

fn set(routes: &Routes, id: RouteId, candidate: Color, thresholds: &Thresholds) {
    routes.set_thresholds(id, candidate.other(), thresholds.stable);
    routes.set_thresholds(id, candidate, thresholds.candidate);
}

fn told(counts: &Counts, keyed: bool) -> Told {
    let of = if keyed { &counts.first } else { &counts.bad };
    Told {
        completed: counts.completed,
        failed: counts.bad[Class::Error as usize],
        errors: of[Class::Error as usize],
        client_errors: of[Class::ClientError as usize],
        aborts: of[Class::Abort as usize],
        slow: [Class::SlowP50, Class::SlowP90, Class::SlowP99].map(|class| of[class as usize]),
    }
}

#[cfg(test)]
mod tests;
