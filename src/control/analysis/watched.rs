//! One deployment and its judge: from the counters of a tick to the judge's input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::analysis::{
    Arms, Batch, CpuUse, EventRule, EventTick, Histogram, Judge, Minute, Policy, Quantiles, RouteTick, Seen,
    Thresholds, Tick,
};
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{Deployment, DeploymentId, Stage};
use crate::domain::verdict::{Class, Judgement};
use crate::evidence::routes::{
    Batch as Sampled, Cause, EventSample, Judged, MinuteCounts, OTHER, RouteId, RouteSample, Routes, Sample,
};
use crate::ledger::ticks::{Entry, Recorded, TickLog};

/// Latencies of the stable release come from the last one to two of these.
const BASELINE: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);
const MISSING: u64 = 5;
const SHOWN_FROM: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Baselines {
    turned: Option<Instant>,
    older: BTreeMap<(RouteId, Color), Histogram>,
    newer: BTreeMap<(RouteId, Color), Histogram>,
}

impl Baselines {
    pub(super) fn turn(&mut self, now: Instant, routes: &Routes) {
        if self.turned.is_some_and(|turned| now.saturating_duration_since(turned) < BASELINE) {
            return;
        }
        self.turned = Some(now);
        self.older = std::mem::take(&mut self.newer);
        for (id, _) in routes.iter() {
            for color in Color::ALL {
                self.newer.insert((id, color), routes.latencies(id, color));
            }
        }
    }

    fn recent(&self, routes: &Routes, id: RouteId, color: Color) -> Histogram {
        let all = routes.latencies(id, color);
        self.older.get(&(id, color)).map_or_else(|| all.clone(), |older| all.since(older))
    }
}

pub(super) struct Surroundings<'a> {
    pub(super) baselines: &'a Baselines,
    pub(super) routes: &'a Routes,
    pub(super) log: &'a TickLog,
    pub(super) now: Instant,
}

#[derive(Debug)]
struct Known {
    /// A route's number may get another name.
    name: Arc<str>,
    slot: usize,
    thresholds: Option<Thresholds>,
    /// Latencies when the step began.
    at_step: Arms<Histogram>,
}

#[derive(Debug)]
pub(super) struct Watched {
    id: DeploymentId,
    candidate: Color,
    stage: Option<Stage>,
    keyed: bool,
    pub(super) judge: Judge,
    policy: Policy,
    /// The first tick of this process in the deployment, and the judge's number for it.
    first: u64,
    number_of_first: u64,
    began: Instant,
    before: Duration,
    /// By name, because route numbers differ between processes.
    slots: BTreeMap<String, usize>,
    recorded: BTreeMap<String, Thresholds>,
    routes: BTreeMap<RouteId, Known>,
    /// Begin of the current minute, and its ticks with a failed request to the candidate.
    minute: (Option<Instant>, u64),
    /// Failures that only the candidate's endpoints can cause, since the process started.
    broken_before: Option<u64>,
    /// Missing files of the candidate, since the process started and in this deployment; and all of its 4xx.
    missing_before: Option<u64>,
    missing: u64,
    client_errors: u64,
    at_step: Option<Arms<Histogram>>,
}

impl Watched {
    pub(super) fn begin(deployment: &Deployment, keyed: bool, first: u64, policy: Policy, now: Instant) -> Watched {
        Watched {
            id: deployment.id,
            candidate: deployment.candidate,
            stage: None,
            keyed,
            judge: Judge::new(policy.clone()),
            policy,
            first,
            number_of_first: 0,
            began: now,
            before: Duration::ZERO,
            slots: BTreeMap::new(),
            recorded: BTreeMap::new(),
            routes: BTreeMap::new(),
            minute: (None, 0),
            broken_before: None,
            missing_before: None,
            missing: 0,
            client_errors: 0,
            at_step: None,
        }
    }

    /// Continues after an earlier process, in the same step: its evidence counts. A step that began since the last
    /// tick has none yet.
    pub(super) fn resume(
        deployment: &Deployment,
        keyed: bool,
        first: u64,
        recorded: &Recorded,
        now: Instant,
    ) -> Watched {
        let mut watched = Watched::begin(deployment, keyed, first, recorded.policy.clone(), now);
        (watched.judge, _) = recorded.judge();
        if let Some(last) = recorded.last_tick() {
            watched.number_of_first = last.number + 1;
            watched.before = last.at;
            watched.stage = Some(deployment.stage).filter(|_| last.weight == deployment.weight);
        }
        for entry in &recorded.entries {
            let Entry::Tick(tick) = entry else { continue };
            for route in &tick.routes {
                if route.name != OTHER {
                    watched.slots.insert(route.name.clone(), route.slot);
                }
                watched.recorded.extend(route.thresholds.map(|thresholds| (route.name.clone(), thresholds)));
            }
        }
        watched
    }

    pub(super) fn id(&self) -> DeploymentId {
        self.id
    }

    pub(super) fn candidate(&self) -> Color {
        self.candidate
    }

    /// The judge's number of a tick; `None`: before this deployment or this process.
    fn number(&self, tick: u64) -> Option<u64> {
        Some(self.number_of_first + tick.checked_sub(self.first)?)
    }

    pub(super) fn stage(&self) -> Option<Stage> {
        self.stage
    }

    pub(super) fn tick(
        &mut self,
        sample: &Sample,
        stage: Stage,
        cpu: Option<Arms<CpuUse>>,
        around: &Surroundings<'_>,
    ) -> Option<Judgement> {
        let number = self.number(sample.tick)?;
        if self.stage != Some(stage) {
            self.stage = Some(stage);
            self.begin_step(number, around);
        }
        let routes = sample.routes.iter().filter(|route| !route.batches.is_empty());
        let routes = routes.filter_map(|route| self.on_route(route, around)).collect();
        let all = all_latencies(around.routes, self.candidate);
        let quantiles = quantiles_since(&all, self.at_step.get_or_insert(all.clone()));
        let (stable, candidate) = (sample.assigned[self.candidate.other()], sample.assigned[self.candidate]);
        let tick = Tick {
            number,
            at: self.before + around.now.saturating_duration_since(self.began),
            weight: sample.weight,
            keyed: self.keyed,
            assigned: Arms { stable, candidate },
            quantiles,
            routes,
            broken: self.broken(sample),
            cpu,
            minute: self.minute(sample, around),
            events: self.events(sample),
        };
        let mut judgement = self.judge.tick(&tick);
        self.count_missing(sample);
        judgement.misses_files = self.misses_files();
        around.routes.judge_latency(self.judge.is_warm());
        around.log.append(self.id, Entry::Tick(Box::new(tick)));
        Some(judgement)
    }

    fn count_missing(&mut self, sample: &Sample) {
        let now = sample.routes.iter().map(|route| route.missing[self.candidate]).sum();
        self.missing += self.missing_before.replace(now).map_or(0, |before| now.saturating_sub(before));
        let done = sample.routes.iter().flat_map(|route| &route.batches).map(|batch| &batch.done[self.candidate]);
        self.client_errors += done.map(|counts| counts.bad[Class::ClientError as usize]).sum::<u64>();
    }

    pub(super) fn misses_files(&self) -> bool {
        !self.keyed && self.missing >= MISSING && 2 * self.missing >= self.client_errors
    }

    fn minute(&mut self, sample: &Sample, around: &Surroundings<'_>) -> Option<Minute> {
        let users = around.routes.users();
        let users = users.as_ref().filter(|_| self.keyed)?;
        let mut done = sample.routes.iter().flat_map(|route| &route.batches).map(|batch| &batch.done[self.candidate]);
        self.minute.1 += u64::from(done.any(|counts| counts.bad[Class::Error as usize] > 0));
        let began = *self.minute.0.get_or_insert(around.now);
        if around.now.saturating_duration_since(began) < MINUTE {
            return None;
        }
        let (_, moments) = std::mem::replace(&mut self.minute, (Some(around.now), 0));
        let counts = users.end_minute();
        let arms = |of: &dyn Fn(&MinuteCounts) -> u64| Arms {
            stable: of(&counts[self.candidate.other()]),
            candidate: of(&counts[self.candidate]),
        };
        let bad = std::array::from_fn(|degree| arms(&|counts| counts.bad[degree]));
        Some(Minute { weight: sample.weight, active: arms(&|counts| counts.active), bad, moments })
    }

    /// Events of the application. Events configured otherwise when the deployment began are left out.
    fn events(&self, sample: &Sample) -> Vec<EventTick> {
        let told = |of: &EventSample| {
            let kind = &of.event.kind;
            let is = |rule: &EventRule| {
                rule.name == kind.name && rule.bad == kind.bad && rule.per_request == kind.per_request
            };
            let counts = if self.keyed { of.of_users } else { of.told };
            let told = Arms { stable: counts[self.candidate.other()], candidate: counts[self.candidate] };
            let event = self.policy.events.iter().position(is)?;
            Some(EventTick { event, tick: self.number(of.tick)?, weight: of.weight, told })
        };
        sample.events.iter().filter_map(told).collect()
    }

    fn broken(&mut self, sample: &Sample) -> u64 {
        let of = |cause: Cause| -> u64 {
            sample.routes.iter().map(|route| route.causes[self.candidate][cause as usize]).sum()
        };
        let now = [Cause::Connect, Cause::Broken, Cause::Cut].into_iter().map(of).sum();
        self.broken_before.replace(now).map_or(0, |before| now.saturating_sub(before))
    }

    /// Renews the proof to advance, and the thresholds.
    fn begin_step(&mut self, number: u64, around: &Surroundings<'_>) {
        self.judge.begin_step(number);
        around.log.append(self.id, Entry::Step(number));
        self.recorded.clear();
        self.at_step = Some(all_latencies(around.routes, self.candidate));
        for (id, known) in &mut self.routes {
            known.at_step = latencies(around.routes, *id, self.candidate);
            let usual = around.baselines.recent(around.routes, *id, self.candidate.other());
            known.thresholds = Thresholds::freeze(&usual, &self.policy).or(known.thresholds);
            around.routes.set_thresholds(*id, self.candidate, known.thresholds);
        }
    }

    fn on_route(&mut self, route: &RouteSample, around: &Surroundings<'_>) -> Option<RouteTick> {
        let (id, name, candidate) = (route.route, &*route.name, self.candidate);
        let known = || route.batches.iter().filter_map(|batch| Some((self.number(batch.tick)?, batch)));
        let judged = |of: Judged| {
            let batches = known().map(|(tick, batch)| Batch { tick, ..batch.judged(candidate, of) });
            batches.collect::<Vec<Batch>>()
        };
        let batches = judged(if self.keyed { Judged::OnRoute } else { Judged::Requests });
        let overall = self.keyed.then(|| judged(Judged::Overall));
        let seen = self.keyed.then(|| seen(known().map(|(_, batch)| batch), candidate));
        if batches.is_empty() {
            return None;
        }
        let next = self.slots.len();
        // Paths without a route of their own are judged together.
        let slot = if name == OTHER { usize::MAX } else { *self.slots.entry(name.to_owned()).or_insert(next) };
        let Self { routes, recorded, policy, .. } = self;
        if routes.get(&id).is_some_and(|known| known.name != route.name) {
            routes.remove(&id);
        }
        let known = routes.entry(id).or_insert_with(|| {
            let thresholds = recorded.remove(name);
            around.routes.set_thresholds(id, candidate, thresholds);
            Known { name: Arc::clone(&route.name), slot, thresholds, at_step: latencies(around.routes, id, candidate) }
        });
        if known.thresholds.is_none() {
            // Thresholds come from earlier requests, and judge later ones.
            let usual = around.baselines.recent(around.routes, id, candidate.other());
            known.thresholds = Thresholds::freeze(&usual, policy);
            around.routes.set_thresholds(id, candidate, known.thresholds);
        }
        Some(RouteTick {
            slot: known.slot,
            name: name.to_owned(),
            thresholds: known.thresholds,
            quantiles: quantiles_since(&latencies(around.routes, id, candidate), &known.at_step),
            batches,
            overall,
            seen,
        })
    }
}

/// All finished requests of a route, evidence or not.
fn seen<'a>(batches: impl Iterator<Item = &'a Sampled>, candidate: Color) -> Arms<Seen> {
    let mut of: PerColor<Seen> = PerColor::default();
    for batch in batches {
        for color in Color::ALL {
            of[color].completed += batch.done[color].completed;
            of[color].failed += batch.done[color].bad[Class::Error as usize];
        }
    }
    Arms { stable: of[candidate.other()], candidate: of[candidate] }
}

fn latencies(routes: &Routes, id: RouteId, candidate: Color) -> Arms<Histogram> {
    Arms { stable: routes.latencies(id, candidate.other()), candidate: routes.latencies(id, candidate) }
}

fn all_latencies(routes: &Routes, candidate: Color) -> Arms<Histogram> {
    let mut all: Arms<Histogram> = Arms::default();
    for (id, _) in routes.iter() {
        let of = latencies(routes, id, candidate);
        all.stable.merge(&of.stable);
        all.candidate.merge(&of.candidate);
    }
    all
}

fn quantiles_since(now: &Arms<Histogram>, then: &Arms<Histogram>) -> Arms<Option<Quantiles>> {
    let of = |now: &Histogram, then: &Histogram| {
        let since = now.since(then);
        if since.count() < SHOWN_FROM { None } else { since.quantiles() }
    };
    Arms { stable: of(&now.stable, &then.stable), candidate: of(&now.candidate, &then.candidate) }
}

#[cfg(test)]
mod tests;
