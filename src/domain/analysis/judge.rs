//! The judge: takes what was seen in a second, and says where the evidence stands.
//!
//! The promise "a good release is rolled back in one deployment of a thousand" is one budget for everything that is tested: each
//! component has a fixed share of it, and what counts is the weighted mean of their evidence. What only holds a deployment
//! has a budget of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::component::{Scope, odds};
use super::evidence::{Stakes, ln_add};
use super::minutes::Minutes;
use super::pass::Pass;
use super::policy::Policy;
use super::tick::{Arms, Batch, Counts, RouteTick, Tick, number};
use super::watch::{Cpu, Mirror, Recent, SplitCheck};
use crate::domain::split::Weight;
use crate::domain::verdict::{Finding, Judgement, Needs, Verdict};

/// The name of all routes beyond [`Policy::max_routes`].
const OTHER: &str = "~other";
/// Evidence below these odds ends a suspicion.
const CALM: f64 = 5.0;
/// A component belongs to a verdict if it has such a share of the evidence.
const ATTRIBUTED: f64 = 0.1;
/// A route stands out with such a share of the logarithm of all evidence, if the others have no more than that of its own.
const OUTSPOKEN: f64 = 0.4;

/// What a component is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Errors,
    Slow,
    ClientErrors,
    Aborts,
    Cpu,
    Users,
}

/// Shares of the budget that a rollback is decided by: of all routes together, and of each route, all of them together.
const HARM: [(Kind, f64, f64); 2] = [(Kind::Errors, 0.30, 0.25), (Kind::Slow, 0.15, 0.30)];
/// And of the one that a deployment is held by. CPU has the rest.
const HOLD: [(Kind, f64, f64); 2] = [(Kind::ClientErrors, 0.30, 0.20), (Kind::Aborts, 0.25, 0.15)];
const HOLD_CPU: f64 = 0.10;
/// Of the errors' share on all routes, where users stay: of users, minute by minute.
const HARM_USERS: f64 = 0.10;

/// The evidence of a component, and its share of the budget.
#[derive(Clone, Copy, Debug)]
struct Component {
    kind: Kind,
    /// `None`: all routes.
    route: Option<usize>,
    weight: f64,
    ln_evidence: f64,
}

impl Component {
    fn weighted(&self) -> f64 {
        self.weight.ln() + self.ln_evidence
    }
}

/// See the [module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct Judge {
    pub(super) policy: Policy,
    pub(super) stakes: Stakes,
    pub(super) all: Scope,
    /// By slot.
    pub(super) routes: Vec<Option<Scope>>,
    pub(super) mirror: Mirror,
    pub(super) split: SplitCheck,
    pub(super) cpu: Cpu,
    minutes: Minutes,
    /// Users stay on a color.
    keyed: bool,
    pub(super) pass: Pass,
    recent: Recent,
    /// When the candidate got its first request.
    began: Option<Duration>,
    /// From which tick on latency is judged.
    warm: Option<u64>,
    suspect: bool,
    /// As of the last tick.
    weight: Weight,
    pub(super) exposed: u64,
    pub(super) unhealthy: bool,
    pub(super) without_control: bool,
    pub(super) needs: Option<Needs>,
}

impl Judge {
    /// For a deployment that begins.
    #[must_use]
    pub fn new(policy: Policy) -> Judge {
        let policy = policy.bounded();
        let stakes = Stakes::new(policy.horizon);
        Judge {
            all: Scope::new(None, &policy, &stakes),
            routes: Vec::new(),
            mirror: Mirror::new(&policy),
            split: SplitCheck::default(),
            cpu: Cpu::default(),
            minutes: Minutes::new(&policy),
            keyed: false,
            pass: Pass::new(&policy, 0),
            recent: Recent::default(),
            began: None,
            warm: None,
            suspect: false,
            weight: Weight::default(),
            exposed: 0,
            unhealthy: false,
            without_control: false,
            needs: None,
            stakes,
            policy,
        }
    }

    /// A step begins, with requests that are assigned in this tick or later. What is to be proved to go on is proved anew; the
    /// evidence to go back goes on.
    pub fn begin_step(&mut self, first_tick: u64) {
        self.pass = Pass::new(&self.policy, first_tick);
        self.stakes.begin_step();
    }

    /// What was seen in a second.
    pub fn tick(&mut self, tick: &Tick) -> Judgement {
        let stake = self.stakes.advance();
        self.all.stake(stake);
        self.routes.iter_mut().flatten().for_each(|route| route.stake(stake));
        self.mirror.stake(stake);

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
        // What has no requests any more is no measure, well or not.
        self.unhealthy = !self.without_control && self.recent.unhealthy(self.policy.baseline_unhealthy);
        self.warm_up(tick);

        let (rest, floor) = (self.stakes.rest(), !self.unhealthy);
        self.all.settle(rest, floor);
        self.routes.iter_mut().flatten().for_each(|route| route.settle(rest, floor));
        self.mirror.settle(rest);
        self.judge()
    }

    fn observe(&mut self, tick: &Tick) {
        let staked = 1.0 - self.stakes.rest();
        let alone_on_all = self.tolerated_alone();
        let (mut pooled, mut pooled_slow) = (Pooled::new(), Pooled::new());
        for seen in &tick.routes {
            // Clients choose what paths without a route of their own are asked for, and so their latency and their 4xx.
            let mixed = seen.name == OTHER && self.policy.max_routes > 0;
            let (warm, max_routes) = (self.warm, self.policy.max_routes);
            let scope = self.scope(seen);
            let alone = tolerated(scope.totals.stable.completed, scope.totals.stable.failed).unwrap_or(alone_on_all);
            scope.saw(seen.seen());
            let judged = |batch: &Batch| if mixed { batch.without_client_errors() } else { *batch };
            let is_slow =
                |batch: &Batch| !mixed && seen.thresholds.is_some() && warm.is_some_and(|warm| batch.tick >= warm);
            // Several routes together are judged by what counts once among them.
            let own = if seen.slot < max_routes { &*seen.batches } else { seen.among_all() };
            for batch in own {
                let (slow, batch) = (is_slow(batch), &judged(batch));
                scope.observe(batch, tick.keyed, (alone, staked), slow);
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
        let mut done: Arms<Counts> = Arms::default();
        for batch in pooled.values() {
            self.all.observe(batch, tick.keyed, (alone_on_all, staked), false);
            self.mirror.observe(batch, tick.keyed);
            self.pass.observe(batch, tick.keyed);
            done.add(&batch.done);
        }
        for batch in pooled_slow.values() {
            self.all.slow.observe(batch, tick.keyed);
        }
        self.recent.push(tick, done, self.policy.baseline_window);
    }

    /// What is judged of a route.
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

    /// From which share of errors on the candidate is worse than what was before it, where nothing is left to compare with.
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

    fn judge(&mut self) -> Judgement {
        let (harm, hold) = (self.harm(), self.hold());
        let (ln_harm, ln_hold) = (total(&harm), total(&hold));
        let ln_limit = self.policy.ln_limit();
        let cpu_alone = self.policy.cpu_rolls_back && self.cpu.ln_evidence() >= ln_limit.max(1000_f64.ln());
        let above = |odds: f64| ln_harm >= odds.ln() || ln_hold >= odds.ln();
        self.suspect = above(self.policy.suspect_at) || self.suspect && above(CALM.min(self.policy.suspect_at));

        let passed = self.pass.ln_evidence() >= -self.policy.pass_beta.ln();
        self.needs = if passed { None } else { self.needs() };
        let (verdict, mut components) = if ln_harm >= ln_limit {
            (Verdict::Fail, attributed(&harm, ln_harm))
        } else if cpu_alone {
            (Verdict::Fail, hold.iter().filter(|component| component.kind == Kind::Cpu).copied().collect())
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
        components.sort_by(|a, b| b.weighted().total_cmp(&a.weighted()));
        Judgement {
            verdict,
            evidence: odds(ln_harm),
            limit: odds(ln_limit),
            findings: components.iter().filter_map(|component| self.finding(component)).collect(),
            needs: self.needs,
            baseline_unhealthy: self.unhealthy,
            without_control: self.without_control,
            exposed: self.exposed,
            harmed: self.all.seen.candidate.failed,
        }
    }

    /// Whether the latency of requests that begin now is judged.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.warm.is_some()
    }

    pub(super) fn ln_harm(&self) -> f64 {
        total(&self.harm())
    }

    pub(super) fn ln_hold(&self) -> f64 {
        total(&self.hold())
    }

    fn harm(&self) -> Vec<Component> {
        let mut harm = self.components(HARM);
        if self.keyed {
            // The errors on all routes together are the first.
            harm[0].weight -= HARM_USERS;
            let ln_evidence = self.minutes.ln_evidence;
            harm.push(Component { kind: Kind::Users, route: None, weight: HARM_USERS, ln_evidence });
        }
        harm
    }

    fn hold(&self) -> Vec<Component> {
        let cpu = Component { kind: Kind::Cpu, route: None, weight: HOLD_CPU, ln_evidence: self.cpu.ln_evidence() };
        let mut hold = self.components(HOLD);
        hold.push(cpu);
        hold
    }

    fn components(&self, kinds: [(Kind, f64, f64); 2]) -> Vec<Component> {
        let mut components = Vec::with_capacity(2 * (1 + self.routes.len()));
        for (kind, on_all, on_routes) in kinds {
            let ln_evidence = self.ln_evidence(&self.all, kind);
            components.push(Component { kind, route: None, weight: on_all, ln_evidence });
            // Fixed for each slot before it is taken, and one for all other routes.
            let weight = on_routes / number(self.policy.max_routes as u64 + 1);
            for (slot, scope) in self.routes.iter().enumerate() {
                if let Some(scope) = scope {
                    let ln_evidence = self.ln_evidence(scope, kind);
                    components.push(Component { kind, route: Some(slot), weight, ln_evidence });
                }
            }
        }
        components
    }

    fn ln_evidence(&self, scope: &Scope, kind: Kind) -> f64 {
        match kind {
            Kind::Errors => scope.errors.ln_evidence,
            Kind::Slow => scope.slow.ln_evidence,
            Kind::ClientErrors => scope.client_errors.ln_evidence,
            Kind::Aborts => scope.aborts.ln_evidence,
            Kind::Cpu => self.cpu.ln_evidence(),
            Kind::Users => self.minutes.ln_evidence,
        }
    }

    fn finding(&self, component: &Component) -> Option<Finding> {
        let scope = match component.route {
            None => &self.all,
            Some(slot) => self.routes.get(slot)?.as_ref()?,
        };
        let route = scope.route.as_deref();
        Some(match component.kind {
            Kind::Errors => scope.errors.finding(route),
            Kind::Slow => scope.slow.finding(route, scope.quantiles),
            Kind::ClientErrors => scope.client_errors.finding(route),
            Kind::Aborts => scope.aborts.finding(route),
            Kind::Cpu => self.cpu.finding(),
            Kind::Users => self.minutes.finding(),
        })
    }

    fn needs(&self) -> Option<Needs> {
        let requests = self.pass.requests_needed(&self.policy).filter(|_| self.recent.has_a_rate())?;
        Some(Needs { requests, time: self.recent.time_for(requests, self.weight) })
    }
}

/// The mean of the evidence by weight. Shares that nobody has taken are evidence of 1.
fn total(components: &[Component]) -> f64 {
    let free = components.iter().fold(1.0, |free, component| free - component.weight).max(0.0);
    components.iter().fold(free.ln(), |sum, component| ln_add(sum, component.weighted()))
}

/// The components that a verdict rests on; at least the heaviest.
fn attributed(components: &[Component], ln_total: f64) -> Vec<Component> {
    let share = ln_total + ATTRIBUTED.ln();
    let found: Vec<Component> = components.iter().filter(|component| component.weighted() >= share).copied().collect();
    if found.is_empty() {
        return components.iter().max_by(|a, b| a.weighted().total_cmp(&b.weighted())).copied().into_iter().collect();
    }
    let led = outspoken(components, &found);
    [found, led].concat()
}

/// Where only all routes together were found, the route that stands out from the others: it has so little of the budget that it
/// may come too late for the verdict, but it is what people have to look for.
fn outspoken(components: &[Component], found: &[Component]) -> Vec<Component> {
    let named = |kind: Kind| found.iter().any(|component| component.kind == kind && component.route.is_some());
    let loudest = |all: &Component| {
        let of_kind = components.iter().filter(|component| component.kind == all.kind && component.route.is_some());
        let mut routes: Vec<Component> = of_kind.copied().collect();
        routes.sort_by(|a, b| b.ln_evidence.total_cmp(&a.ln_evidence));
        // The only one is no other than all together.
        let [first, second, ..] = routes[..] else { return None };
        let stands_out =
            first.ln_evidence >= OUTSPOKEN * all.ln_evidence && second.ln_evidence <= OUTSPOKEN * first.ln_evidence;
        stands_out.then_some(first)
    };
    let alone = found.iter().filter(|component| component.route.is_none() && !named(component.kind));
    alone.filter_map(loudest).collect()
}

/// Batches of all routes, by tick and weight: workers do not change the weight at the same instant.
type Pooled = BTreeMap<(u64, Weight), Batch>;

fn pool(pooled: &mut Pooled, batch: &Batch) {
    let Batch { tick, weight, .. } = *batch;
    let sum = pooled.entry((tick, weight)).or_insert(Batch { tick, weight, ..Batch::default() });
    sum.assigned.add(batch.assigned);
    sum.done.add(&batch.done);
}

/// Below this share of errors nothing is said without a comparison, and above the other nothing is known of the baseline.
const ALONE_LEAST: f64 = 0.01;
const ALONE_MOST: f64 = 0.3;

/// Three times what the stable release may have had at most, going by what it had; `None`: it had no requests.
fn tolerated(requests: u64, errors: u64) -> Option<f64> {
    const Z: f64 = 3.0;
    let (requests, errors) = (number(requests), number(errors));
    // The upper end of the score interval of a Poisson rate, at three standard deviations.
    let most = errors + Z * Z / 2.0 + Z * (errors + Z * Z / 4.0).sqrt();
    (requests > 0.0).then(|| (3.0 * most / requests).clamp(ALONE_LEAST, ALONE_MOST))
}
