//! The judge: takes one tick after the other and returns the state of the evidence.
//!
//! The promise "one good release in a thousand is rolled back" is one budget for all tests: each component has a fixed
//! share, and the weighted mean of their evidence counts. Components that only pause a deployment have a budget of
//! their own.

mod budget;

use std::collections::BTreeMap;
use std::time::Duration;

use self::budget::{Component, ComponentKind, WITHDRAWAL, attributed, ranked, total};
use super::component::Scope;
use super::event::EventTests;
use super::evidence::{Moment, Stakes};
use super::minutes::Minutes;
use super::moment::Moments;
use super::pass::Pass;
use super::policy::Policy;
use super::raw::{Raw, cold_for};
use super::shown::{BatchContext, odds};
use super::tick::{Arms, Batch, Counts, RouteTick, Seen, Tick, number};
use super::watch::{Cpu, Mirror, Recent, SplitCheck};
use crate::domain::split::Weight;
use crate::domain::verdict::{Finding, Judgement, Needs, Verdict, Veto};

/// The name of all routes beyond [`Policy::max_routes`].
pub(super) const OTHER: &str = "~other";
/// Evidence below these odds ends a suspicion.
const CALM: f64 = 5.0;
/// Decay time of the measure whether the stable release is above the floor: an outage has to be seen in its first
/// second, and its end soon after.
const MEMORY: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judge {
    pub(super) policy: Policy,
    pub(super) stakes: Stakes,
    pub(super) all: Scope,
    pub(super) routes: Vec<Option<Scope>>,
    pub(super) mirror: Mirror,
    pub(super) split: SplitCheck,
    pub(super) cpu: Cpu,
    minutes: Minutes,
    pub(super) told: EventTests,
    /// Users stay on a color.
    keyed: bool,
    pub(super) pass: Pass,
    recent: Recent,
    raw: Raw,
    moments: Moments,
    began: Option<Duration>,
    warm: Option<u64>,
    /// Caches may be cold: latency only pauses.
    cold: bool,
    /// Caches were cold when there was evidence.
    was_cold: bool,
    suspect: bool,
    weight: Weight,
    pub(super) exposed: u64,
    pub(super) unhealthy: bool,
    pub(super) without_control: bool,
    pub(super) needs: Option<Needs>,
    pub(super) veto: Option<Veto>,
}

impl Judge {
    #[must_use]
    pub(crate) fn new(policy: Policy) -> Judge {
        let policy = policy.bounded();
        let stakes = Stakes::new(policy.horizon);
        Judge {
            all: Scope::new(None, &policy, &stakes),
            routes: Vec::new(),
            mirror: Mirror::new(&policy),
            split: SplitCheck::default(),
            cpu: Cpu::default(),
            minutes: Minutes::new(&policy),
            told: EventTests::new(&policy.events, 1.0 - stakes.rest()),
            keyed: false,
            pass: Pass::new(&policy, 0),
            recent: Recent::default(),
            raw: Raw::default(),
            moments: Moments::default(),
            began: None,
            warm: None,
            cold: false,
            was_cold: false,
            suspect: false,
            weight: Weight::default(),
            exposed: 0,
            unhealthy: false,
            without_control: false,
            needs: None,
            veto: None,
            stakes,
            policy,
        }
    }

    /// `first_tick`: the first one whose requests belong to the step. The proof to advance starts anew; the evidence
    /// for a rollback is kept.
    pub(crate) fn begin_step(&mut self, first_tick: u64) {
        self.pass = Pass::new(&self.policy, first_tick);
        self.stakes.begin_step();
        self.all.answers.begin_step();
        self.told.begin_step(first_tick);
        self.routes.iter_mut().flatten().for_each(|route| route.answers.begin_step());
    }

    pub(crate) fn tick(&mut self, tick: &Tick) -> Judgement {
        let stake = self.stakes.advance();
        self.all.stake(stake);
        self.routes.iter_mut().flatten().for_each(|route| route.stake(stake));
        self.mirror.stake(stake);
        self.told.stake(stake);

        let last = self.moments.begin(tick.number, tick.at);
        self.observe(tick);
        self.split.observe(tick);
        if let Some(used) = &tick.cpu {
            self.cpu.observe(used, self.policy.cpu_margin);
        }
        self.keyed = tick.keyed;
        if let Some(minute) = &tick.minute {
            self.minutes.observe(minute);
        }
        self.exposed = self.exposed.saturating_add(tick.assigned.candidate);
        self.all.assigned.add(tick.assigned);
        self.all.quantiles = tick.quantiles;
        self.weight = tick.weight;
        self.without_control = tick.weight == Weight::ALL;
        // A release without requests is no measure, healthy or not.
        self.unhealthy = !self.without_control && self.recent.unhealthy(self.policy.baseline_unhealthy);
        self.warm_up(tick);

        self.warm_caches(tick);
        let rest = self.stakes.rest();
        let keeps = (-tick.at.saturating_sub(last).as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.all.settle(rest, keeps);
        self.routes.iter_mut().flatten().for_each(|route| route.settle(rest, keeps));
        self.mirror.settle(rest, keeps);
        self.told.settle(rest);
        self.judge(tick.keyed)
    }

    fn observe(&mut self, tick: &Tick) {
        let staked = 1.0 - self.stakes.rest();
        // Sticky users and networks count once, so there is nothing to bound, and nothing cut off would come again.
        let gain = if tick.keyed { f64::INFINITY } else { self.policy.second_gain };
        self.told.observe(tick, gain);
        let alone_on_all = self.tolerated_alone();
        let (mut pooled, mut pooled_slow) = (Pooled::new(), Pooled::new());
        let mut timed = false;
        for seen in &tick.routes {
            // Clients choose the paths that have no route of their own, and so their latency and their 4xx.
            let mixed = seen.name == OTHER && self.policy.max_routes > 0;
            let (warm, max_routes) = (self.warm, self.policy.max_routes);
            timed |= !mixed && seen.thresholds.is_some();
            let judged = |batch: &Batch| if mixed { batch.without_client_errors() } else { *batch };
            let is_slow =
                |batch: &Batch| !mixed && seen.thresholds.is_some() && warm.is_some_and(|warm| batch.tick >= warm);
            // Routes judged together are judged by requests that count once among them.
            let own = if seen.slot < max_routes { &*seen.batches } else { seen.among_all() };
            let moments: Vec<Moment> = own.iter().map(|batch| self.moments.of(batch.tick, gain)).collect();
            let scope = self.scope(seen);
            let alone = tolerated(scope.totals.stable.completed, scope.totals.stable.failed).unwrap_or(alone_on_all);
            scope.saw(seen.seen());
            for (batch, moment) in own.iter().zip(moments) {
                let (slow, batch) = (is_slow(batch), &judged(batch));
                scope.observe(batch, &BatchContext { keyed: tick.keyed, moment, alone: (alone, staked) }, slow);
                if scope.newest.is_none_or(|newest| batch.tick > newest) {
                    scope.newest = Some(batch.tick);
                    scope.assigned.add(batch.assigned);
                }
            }
            for batch in seen.among_all() {
                let (slow, batch) = (is_slow(batch), &judged(batch));
                pool(&mut pooled, batch);
                if slow {
                    pool(&mut pooled_slow, batch);
                }
            }
            self.all.saw(seen.seen());
        }
        let context = |judge: &Judge, batch: &Batch| BatchContext {
            keyed: tick.keyed,
            moment: judge.moments.of(batch.tick, gain),
            alone: (alone_on_all, staked),
        };
        let (mut done, mut seen): (Arms<Counts>, Arms<Seen>) = Default::default();
        for of in tick.routes.iter().map(RouteTick::seen) {
            seen.stable.add(of.stable);
            seen.candidate.add(of.candidate);
        }
        let mut alone = None;
        for batch in pooled.values() {
            let context = context(self, batch);
            self.all.observe(batch, &context, false);
            self.mirror.observe(batch, &context);
            self.pass.observe(batch, tick.keyed);
            done.add(&batch.done);
            if batch.weight == Weight::ALL {
                let (requests, _) = alone.unwrap_or((0, context));
                alone = Some((batch.done.candidate.completed.saturating_add(requests), context));
            }
        }
        if let Some((requests, context)) = alone {
            self.all.errors.observe_own(requests, tick.broken, &context);
        }
        for batch in pooled_slow.values() {
            let context = context(self, batch);
            self.all.slow.observe(batch, &context);
            self.pass.observe_latency(batch, tick.at);
        }
        self.pass.time(tick.at, timed);
        // Every request counts here, evidence or not.
        let raw = |seen: &Seen, done: &Counts| Counts { completed: seen.completed, failed: seen.failed, ..*done };
        let stable = raw(&seen.stable, &done.stable);
        self.raw.push(tick.at, Arms { stable, candidate: raw(&seen.candidate, &done.candidate) });
        if let Some(began) = self.began {
            self.raw.begins(tick.at.saturating_sub(began), &done.candidate, &self.policy);
        }
        self.recent.push(tick, done, self.policy.baseline_window);
    }

    fn scope(&mut self, seen: &RouteTick) -> &mut Scope {
        let other = seen.slot >= self.policy.max_routes;
        let slot = seen.slot.min(self.policy.max_routes);
        if self.routes.len() <= slot {
            self.routes.resize(slot + 1, None);
        }
        let name = if other { OTHER } else { &seen.name };
        let (policy, stakes) = (&self.policy, &self.stakes);
        let scope = self.routes[slot].get_or_insert_with(|| Scope::new(Some(name.to_owned()), policy, stakes));
        if !other {
            scope.quantiles = seen.quantiles;
        }
        scope
    }

    /// The share of errors from which the candidate is worse than the stable release before it, when nothing is
    /// compared.
    fn tolerated_alone(&self) -> f64 {
        let before = self.policy.before.unwrap_or_default();
        let stable = &self.all.totals.stable;
        tolerated(stable.completed.saturating_add(before.requests), stable.failed.saturating_add(before.errors))
            .unwrap_or(ALONE_LEAST)
    }

    fn warm_up(&mut self, tick: &Tick) {
        if tick.assigned.candidate > 0 && self.began.is_none() {
            self.began = Some(tick.at);
        }
        if let Some(began) = self.began
            && self.warm.is_none()
            && self.exposed >= self.policy.warmup_requests
            && tick.at.saturating_sub(began) >= self.policy.warmup_time
        {
            self.warm = Some(tick.number.saturating_add(1));
        }
    }

    /// While caches may be cold, latency only pauses. Afterwards its evidence starts anew.
    fn warm_caches(&mut self, tick: &Tick) {
        let age = self.began.map(|began| tick.at.saturating_sub(began));
        self.cold = age.is_some_and(|age| self.raw.is_warming_up(age, &self.policy));
        if std::mem::take(&mut self.was_cold) && age.is_some_and(|age| age >= cold_for(&self.policy)) {
            let staked = 1.0 - self.stakes.rest();
            self.all.slow.begin_anew(staked);
            self.routes.iter_mut().flatten().for_each(|route| route.slow.begin_anew(staked));
        }
    }

    fn judge(&mut self, keyed: bool) -> Judgement {
        let (harm, hold) = (self.suspicion(), self.hold());
        let (ln_harm, ln_hold, ln_proved) = (total(&harm), total(&hold), total(&self.harm()));
        self.was_cold |= self.cold && ln_harm > ln_proved;
        let ln_limit = self.policy.ln_limit();
        let cpu_alone = self.policy.cpu_rolls_back && self.cpu.ln_evidence() >= ln_limit.max(1000_f64.ln());
        let above = |odds: f64| ln_harm >= odds.ln() || ln_hold >= odds.ln();
        self.suspect = above(self.policy.suspect_at) || self.suspect && above(CALM.min(self.policy.suspect_at));

        let proved = self.pass.ln_evidence() >= -self.policy.pass_beta.ln();
        let veto = self.veto(keyed);
        let passed = proved && veto.is_none();
        self.needs = if proved { None } else { self.needs() };
        self.veto = veto;
        let withdraws = ((1.0 - self.told.shared()) * WITHDRAWAL).ln() + self.ln_client_errors() >= ln_limit;
        let (verdict, mut components) = if ln_proved >= ln_limit {
            (Verdict::Fail, attributed(&self.harm(), ln_proved))
        } else if cpu_alone {
            (Verdict::Fail, ranked(hold.iter().filter(|component| component.kind == ComponentKind::Cpu)))
        } else if self.suspect {
            let calm = CALM.min(self.policy.suspect_at).ln();
            let of =
                |components: &[Component], ln: f64| if ln >= calm { attributed(components, ln) } else { Vec::new() };
            (Verdict::Suspect, [of(&harm, ln_harm), of(&hold, ln_hold)].concat())
        } else if passed && !self.unhealthy {
            (Verdict::Pass, Vec::new())
        } else {
            (Verdict::Insufficient, Vec::new())
        };
        components.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Judgement {
            verdict,
            evidence: odds(ln_harm.max(ln_proved)),
            limit: odds(ln_limit),
            hold: odds(ln_hold),
            withdraws,
            veto,
            findings: components.iter().filter_map(|(_, component)| self.finding(component)).collect(),
            needs: self.needs,
            baseline_unhealthy: self.unhealthy,
            without_control: self.without_control,
            exposed: self.exposed,
            harmed: self.all.seen.candidate.failed,
            misses_files: false,
        }
    }

    #[must_use]
    pub(crate) fn is_warm(&self) -> bool {
        self.warm.is_some()
    }

    pub(super) fn ln_harm(&self) -> f64 {
        total(&self.suspicion())
    }

    pub(super) fn ln_hold(&self) -> f64 {
        total(&self.hold())
    }

    fn veto(&self, keyed: bool) -> Option<Veto> {
        let fallen =
            || self.all.answers.have_fallen() || self.routes.iter().flatten().any(|of| of.answers.have_fallen());
        let windows = self.cpu.windows();
        let raw = self.raw.veto(&self.policy, keyed);
        raw.or_else(|| fallen().then_some(Veto::ClientErrors))
            .or_else(|| self.told.are_worse().then_some(Veto::Events))
            .or_else(|| (!self.pass.knows_latency(&self.policy, self.warm.is_some())).then_some(Veto::Latency))
            .or_else(|| ((1..self.policy.cpu_windows).contains(&windows)).then_some(Veto::Cpu))
    }

    fn finding(&self, component: &Component) -> Option<Finding> {
        let scope = match component.route {
            None => &self.all,
            Some(slot) => self.routes.get(slot)?.as_ref()?,
        };
        let route = scope.route.as_deref();
        Some(match component.kind {
            ComponentKind::Errors => scope.errors.finding(route),
            ComponentKind::Slow => scope.slow.finding(route, scope.quantiles),
            ComponentKind::ClientErrors => scope.client_errors_finding(),
            ComponentKind::Aborts => scope.aborts.finding(route),
            ComponentKind::Cpu => self.cpu.finding(),
            ComponentKind::Users => self.minutes.finding(),
            ComponentKind::Event(place) => self.told.finding(place)?,
        })
    }

    fn needs(&self) -> Option<Needs> {
        let requests = self.pass.requests_needed(&self.policy).filter(|_| self.recent.has_a_rate())?;
        Some(Needs { requests, time: self.recent.time_for(requests, self.weight) })
    }
}

/// Batches of all routes, by tick and weight: workers do not change the weight at the same instant.
type Pooled = BTreeMap<(u64, Weight), Batch>;

fn pool(pooled: &mut Pooled, batch: &Batch) {
    let Batch { tick, weight, .. } = *batch;
    let sum = pooled.entry((tick, weight)).or_insert(Batch { tick, weight, ..Batch::default() });
    sum.assigned.add(batch.assigned);
    sum.done.add(&batch.done);
}

/// Bounds of [`tolerated`]: below the first nothing is said without a comparison, above the second the baseline is
/// unknown.
const ALONE_LEAST: f64 = 0.01;
const ALONE_MOST: f64 = 0.3;

/// Three times the upper bound of the stable release's share of errors; `None`: it had no requests.
fn tolerated(requests: u64, errors: u64) -> Option<f64> {
    const Z: f64 = 3.0;
    let (requests, errors) = (number(requests), number(errors));
    // Upper end of the score interval of a Poisson rate, at three standard deviations.
    let most = errors + Z * Z / 2.0 + Z * (errors + Z * Z / 4.0).sqrt();
    (requests > 0.0).then(|| (3.0 * most / requests).clamp(ALONE_LEAST, ALONE_MOST))
}
