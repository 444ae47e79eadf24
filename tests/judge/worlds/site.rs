//! A site: users, endpoints, a proxy that counts, and a controller that looks once a second.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::watched::{Baselines, Surroundings, Watched};
use crate::domain::analysis::{Before, EventRule, Policy};
use crate::domain::clock::Now;
use crate::domain::color::{Color, PerColor};
use crate::domain::deployment::{self, Deployment, DeploymentId, Mode, Plan, Wishes};
use crate::domain::force::Force;
use crate::domain::gate::{GatePolicy, Probed};
use crate::domain::release::Release;
use crate::domain::rollout::{Command, CommandId, Configured, Effect, Event, Fitness, Overlap, Rollout, Target, Terms};
use crate::domain::split::{Split, Weight, draw};
use crate::domain::transition::{Decision, FileOrder, Kind, Origin, Transition, Trigger};
use crate::domain::verdict::{Class, Verdict};
use crate::evidence::trial::{Counted, Trial, Trials, Outcome};
use crate::evidence::routes::{AppEvent, Cause, EventKind, RouteId, Routes, Sampler, User as TelemetryUser};
use crate::ledger::ticks::TickLog;
use crate::random::Random;

/// So long the stable release serves alone before.
const BEFORE: f64 = 60.0;
/// What was under way is looked at so often.
const SWEEP: f64 = 0.1;

/// What an application makes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub(crate) seconds: f64,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Good,
    Failed,
    /// The endpoint did not take it.
    Refused,
    ClientError,
    /// An answer that begins now, and lasts for so long.
    Stream(f64),
    /// The same, and breaks then.
    Breaks(f64),
}

/// One request, as the application has it.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Seconds since the canary began; before it, negative.
    pub(crate) at: f64,
    /// Seconds since the candidate had all requests.
    pub(crate) alone: Option<f64>,
    pub(crate) candidate: bool,
    pub(crate) route: usize,
    pub(crate) endpoint: usize,
    pub(crate) user: u64,
}

/// What a balancer goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Balance {
    RoundRobin,
    LeastRequests,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Users {
    /// Everybody once, and colors by chance.
    New,
    /// So many who come again and stay with their color.
    Stay(u64),
}

type Serve = Box<dyn Fn(&mut Random, &Ask) -> Answer + Send + Sync>;
type Rate = Box<dyn Fn(f64) -> f64 + Send + Sync>;

/// Times at which each endpoint stands still: how long, and how long between them, at least and at most. With `fails`, its
/// requests fail at once instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    pub(crate) lasts: f64,
    pub(crate) between: (f64, f64),
    pub(crate) fails: bool,
}

/// All of it.
pub struct World {
    pub(crate) rate: Rate,
    pub(crate) routes: Vec<(&'static str, f64)>,
    /// Endpoints of the stable release and of the candidate.
    pub(crate) pools: [usize; 2],
    pub(crate) balance: Balance,
    pub(crate) users: Users,
    pub(crate) pauses: Option<Pauses>,
    /// So many of the requests fail in clumps of this size, on each color.
    pub(crate) clumps: Option<(f64, u32)>,
    /// The latency level of each color is AR(1): standard deviation of its logarithm, correlated over 20 s.
    pub(crate) wanders: Option<f64>,
    pub(crate) serve: Serve,
    pub(crate) plan: Plan,
    /// A plain switch instead of a canary.
    pub(crate) switch: Option<Mode>,
    pub(crate) policy: Policy,
    /// So many of the good answers are orders, on the stable release and on the candidate.
    pub(crate) orders: Option<[f64; 2]>,
    pub(crate) seconds: f64,
    /// Ends with the first of these.
    pub(crate) until: Until,
}

/// When a run has shown what it is to show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    /// It was taken back, or the time is over.
    Back,
    /// Also when it got more than at first.
    SecondStep,
    /// Also when it was suspected.
    Suspect,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// When it was rolled back by itself, and the class of the first finding.
    pub(crate) rolled_back: Option<(f64, Option<Class>)>,
    /// When it was taken back without a quarantine.
    pub(crate) withdrawn: Option<f64>,
    pub(crate) suspected: Option<f64>,
    /// When it went beyond its first step, and when it had the traffic.
    pub(crate) second_step: Option<f64>,
    pub(crate) traffic: Option<f64>,
    /// When it was known good.
    pub(crate) known_good: Option<f64>,
    pub(crate) first_pass: Option<f64>,
    /// Requests that the candidate was given until the end.
    pub(crate) requests: u64,
    pub(crate) words: String,
}

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    end: f64,
    first_byte: Option<f64>,
    what: End,
    candidate: bool,
    endpoint: usize,
    is_order: bool,
}

struct Endpoint {
    pauses: Vec<(f64, f64)>,
    /// The next that is not over.
    next: usize,
    under_way: usize,
}

impl Endpoint {
    fn new(random: &mut Random, pauses: Option<Pauses>, seconds: f64) -> Endpoint {
        let mut all = Vec::new();
        if let Some(Pauses { lasts, between: (least, most), .. }) = pauses {
            let mut at = -BEFORE + random.uniform() * most;
            while at < seconds {
                all.push((at, at + lasts));
                at += lasts + least + random.uniform() * (most - least);
            }
        }
        Endpoint { pauses: all, next: 0, under_way: 0 }
    }

    /// How much longer it takes than it would.
    fn delay(&mut self, at: f64, seconds: f64) -> f64 {
        while self.pauses.get(self.next).is_some_and(|(_, end)| *end <= at) {
            self.next += 1;
        }
        match self.pauses.get(self.next) {
            Some((start, end)) if *start < at + seconds => end - start.max(at),
            _ => 0.0,
        }
    }

    fn is_paused(&mut self, at: f64) -> bool {
        self.delay(at, 0.0);
        self.pauses.get(self.next).is_some_and(|(start, end)| *start <= at && at < *end)
    }
}

struct Run<'a> {
    world: &'a World,
    start: Instant,
    trials: Trials,
    /// Requests that wait for their response.
    pending: RefCell<Vec<(Trial, Pending)>>,
    sampler: Sampler,
    baselines: Baselines,
    log: TickLog,
    watched: Option<Watched>,
    rollout: Rollout,
    split: Option<Split>,
    active: Color,
    numbers: Vec<RouteId>,
    order: Option<Arc<AppEvent>>,
    pools: [Vec<Endpoint>; 2],
    turn: [usize; 2],
    clump: [u32; 2],
    level: [f64; 2],
    played: Played,
    over: bool,
}

fn release(color: Color) -> Release {
    Release::new(if color == Color::Blue { "1" } else { "2" })
}

fn origin() -> Origin {
    Origin { trigger: Trigger::Api, actor: "world".to_owned(), source: String::new(), reason: None, key: None }
}

fn first_decision() -> Decision {
    Decision {
        known_good: Some(SystemTime::UNIX_EPOCH),
        ..Decision::first(Color::Blue, release(Color::Blue), SystemTime::UNIX_EPOCH)
    }
}

impl World {
    /// One run of it.
    pub fn play(&self, random: &mut Random) -> Played {
        let start = Instant::now();
        let routes = Routes::new(1);
        let kind =
            |rule: &EventRule| EventKind { name: rule.name.clone(), bad: rule.bad, per_request: rule.per_request };
        let kinds: Vec<EventKind> = self.policy.events.iter().map(kind).collect();
        let order = routes.tell(&kinds).first().cloned();
        let numbers = self.routes.iter().map(|(name, _)| routes.configured(name)).collect();
        let configured = Configured {
            order: FileOrder { active: Color::Blue, release: release(Color::Blue) },
            deployed: PerColor::from_fn(release),
            schema: PerColor::default(),
            probed: PerColor::default(),
            gate: GatePolicy { quorum_percent: 100, passes: 1, timeout: Duration::from_secs(5) },
            drain_timeout: Duration::from_secs(30),
            policy: deployment::Policy {
                plan: self.plan.clone(),
                canary: Mode::Enforce,
                bake: self.switch.unwrap_or(Mode::Observe),
                ..deployment_policy(&self.plan)
            },
            hold_timeout: Duration::from_secs(10),
            targets: PerColor::default(),
            file_orders: false,
            order_window: Duration::from_secs(3_600),
            write_back: false,
            checks: Default::default(),
            secret: random.bits(),
            path: String::new(),
        };
        let now = Now { mono: start, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) };
        let mut effects = Vec::new();
        let mut decision = first_decision();
        // Users are shared out otherwise in each run.
        decision.since += Duration::from_nanos(random.bits() >> 20);
        let rollout = Rollout::new(now, decision, true, configured, &mut effects);
        let pool = |size: usize, random: &mut Random| {
            (0..size).map(|_| Endpoint::new(random, self.pauses, self.seconds)).collect::<Vec<_>>()
        };
        let pools = [pool(self.pools[0], random), pool(self.pools[1], random)];
        let mut run = Run {
            world: self,
            start,
            trials: Trials::new(0, Arc::clone(&routes), start),
            pending: RefCell::default(),
            sampler: Sampler::new(routes),
            baselines: Baselines::default(),
            log: TickLog::default(),
            watched: None,
            rollout,
            split: None,
            active: Color::Blue,
            order,
            numbers,
            pools,
            turn: [0; 2],
            clump: [0; 2],
            level: [0.0; 2],
            played: Played::default(),
            over: false,
        };
        run.play(random);
        run.played
    }
}

fn deployment_policy(plan: &Plan) -> deployment::Policy {
    deployment::Policy {
        plan: plan.clone(),
        canary: Mode::Enforce,
        bake: Mode::Observe,
        cooldown: Duration::ZERO,
        on_unsafe: deployment::OnUnsafe::Hold,
        on_client_errors: deployment::OnClientErrors::Back,
        sticky: String::new(),
        switch_holdback: Weight::NONE,
    }
}

impl Run<'_> {
    fn instant(&self, at: f64) -> Instant {
        self.start + Duration::from_secs_f64(at + BEFORE)
    }

    fn now(&self, at: f64) -> Now {
        // Users are drawn by the salt, which the time goes into.
        Now { mono: self.instant(at), wall: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(2e6 + at) }
    }

    fn play(&mut self, random: &mut Random) {
        let mut second = -BEFORE as i64;
        while (second as f64) < self.world.seconds && !self.over {
            if second == 0 {
                self.begin(random);
            }
            self.second(random, second as f64);
            second += 1;
            let at = second as f64;
            self.look(at);
            self.handle(at, Event::Tick);
        }
    }

    fn begin(&mut self, random: &mut Random) {
        for color in Color::ALL {
            self.handle(0.0, Event::Fitness(color, Fitness::Fit));
        }
        let command = match self.world.switch {
            None => Command::CanaryStart {
                wishes: Wishes::default(),
                if_generation: None,
                force: Force::default(),
                terms: Terms::default(),
                origin: origin(),
            },
            Some(_) => Command::Switch {
                to: Target::Other,
                if_generation: None,
                force: Force::default(),
                dry_run: false,
                overlap: Overlap::Allow,
                terms: Terms::default(),
                origin: origin(),
            },
        };
        // The salt goes by the time.
        let fraction = random.uniform() * 0.9;
        self.handle(fraction * 1e-3, Event::Command(CommandId(1), command));
    }

    fn handle(&mut self, at: f64, event: Event) {
        let mut effects = Vec::new();
        self.rollout.handle(self.now(at), event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Probe { round, color, .. } => {
                    let probed = Probed {
                        upstream: "site".to_owned(),
                        endpoint: format!("{color}"),
                        passed: true,
                        detail: String::new(),
                        at: SystemTime::UNIX_EPOCH,
                        took: Duration::ZERO,
                    };
                    self.handle(at, Event::Probed(round, vec![probed]));
                }
                Effect::Commit(id, transition) => {
                    self.note(at, &transition);
                    self.handle(at, Event::Committed(id));
                }
                Effect::Publish(decision) => {
                    // A tick has one weight.
                    self.sample(at, true);
                    self.split = decision.deployment.as_ref().map(Deployment::split);
                    let stay = matches!(self.world.users, Users::Stay(_));
                    let of = self.split.filter(|_| stay);
                    self.sampler.routes().keep_users(of, 1, false);
                    self.active = decision.active;
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, at: f64, line: &Transition) {
        let played = &mut self.played;
        match line.kind {
            Kind::Rollback if line.origin.trigger == Trigger::Automatic => {
                let class = line.judgement.as_ref().and_then(|judgement| judgement.findings.first()).map(|of| of.class);
                played.rolled_back.get_or_insert((at, class));
                played.words = line.origin.reason.clone().unwrap_or_default();
                self.over = true;
            }
            Kind::Abort => {
                played.withdrawn.get_or_insert(at);
                played.words = line.origin.reason.clone().unwrap_or_default();
                self.over = true;
            }
            Kind::Suspect => {
                played.suspected.get_or_insert(at);
                if played.words.is_empty() {
                    played.words = line.judgement.as_ref().map(ToString::to_string).unwrap_or_default();
                }
                self.over |= self.world.until == Until::Suspect;
            }
            Kind::Advance => {
                played.second_step.get_or_insert(at);
                self.over |= self.world.until == Until::SecondStep;
            }
            Kind::Switch => {
                played.traffic.get_or_insert(at);
                played.second_step.get_or_insert(at);
                self.over |= self.world.until == Until::SecondStep;
            }
            Kind::KnownGood => {
                played.known_good.get_or_insert(at);
                self.over = true;
            }
            _ => {}
        }
    }

    /// A second of traffic.
    fn second(&mut self, random: &mut Random, from: f64) {
        if let Some(deviation) = self.world.wanders {
            let keep = (-1.0_f64 / 20.0).exp();
            for level in &mut self.level {
                *level = keep * *level + (1.0 - keep * keep).sqrt() * deviation * random.normal();
            }
        }
        let requests = random.poisson((self.world.rate)(from));
        let mut times: Vec<f64> = (0..requests).map(|_| from + random.uniform()).collect();
        times.sort_by(f64::total_cmp);
        let mut times = times.into_iter().peekable();
        let mut sweep = from;
        for _ in 0..(1.0 / SWEEP) as usize {
            sweep += SWEEP;
            while let Some(at) = times.next_if(|at| *at < sweep) {
                self.ask(random, at);
            }
            self.finish(sweep);
            if self.trials.has_thresholds() {
                for (trial, _) in self.pending.borrow_mut().iter_mut() {
                    self.trials.count_slow(trial, self.instant(sweep));
                }
            }
        }
    }

    fn ask(&mut self, random: &mut Random, at: f64) {
        let world = self.world;
        let user = match world.users {
            Users::New => random.bits(),
            Users::Stay(count) => random.bits() % count,
        };
        let mut share = random.uniform();
        let route = world.routes.iter().position(|(_, of)| {
            share -= of;
            share < 0.0
        });
        let route = route.unwrap_or(0);
        let sticky = matches!(world.users, Users::Stay(_));
        // Each user has a network of its own.
        let of = |key| TelemetryUser { key, network: user, drawn: false };
        let (color, key) = match &self.split {
            None => (self.active, None),
            Some(split) if sticky => {
                let value = draw(&user.to_le_bytes(), split.salt);
                (split.color(value), Some(of(value)))
            }
            Some(split) => (split.color(random.bits()), None),
        };
        let candidate = color == Color::Green;
        let pool = &mut self.pools[usize::from(candidate)];
        let turn = &mut self.turn[usize::from(candidate)];
        *turn = (*turn + 1) % pool.len();
        let endpoint = match world.balance {
            Balance::RoundRobin => *turn,
            Balance::LeastRequests => {
                let order = (0..pool.len()).map(|place| (*turn + place) % pool.len());
                order.min_by_key(|place| pool[*place].under_way).unwrap_or(0)
            }
        };
        if candidate {
            self.played.requests += 1;
        }
        let alone = self.played.traffic.map(|since| at - since);
        let mut answer = (world.serve)(random, &Ask { at, alone, candidate, route, endpoint, user });
        answer.seconds *= self.level[usize::from(candidate)].exp();
        if let Some((share, size)) = world.clumps {
            let left = &mut self.clump[usize::from(candidate)];
            if *left == 0 && random.chance(share / f64::from(size)) {
                *left = size;
            }
            if *left > 0 {
                *left -= 1;
                answer.end = End::Failed;
            }
        }
        if let Some(pauses) = world.pauses {
            if pauses.fails {
                if pool[endpoint].is_paused(at) {
                    answer = Answer { seconds: 0.002, end: End::Failed };
                }
            } else {
                answer.seconds += pool[endpoint].delay(at, answer.seconds);
            }
        }
        pool[endpoint].under_way += 1;
        self.trials.tick(self.instant(at));
        let trial = self.trials.begin(Counted::Route(self.numbers[route]), b"/", color, key);
        let lasts = if let End::Stream(lasts) | End::Breaks(lasts) = answer.end { Some(lasts) } else { None };
        let first_byte = lasts.map(|_| at + answer.seconds);
        let end = at + answer.seconds + lasts.unwrap_or(0.0);
        let is_order =
            answer.end == End::Good && world.orders.is_some_and(|shares| random.chance(shares[usize::from(candidate)]));
        let pending = Pending { end, first_byte, what: answer.end, candidate, endpoint, is_order };
        self.pending.borrow_mut().push((trial, pending));
    }

    fn finish(&mut self, until: f64) {
        let mut all = std::mem::take(&mut *self.pending.borrow_mut());
        all.retain_mut(|(trial, pending)| {
            if let Some(at) = pending.first_byte.take_if(|at| *at <= until) {
                self.trials.tick(self.instant(at));
                trial.first_byte(&self.trials);
                self.trials.answered(trial, b"/");
            }
            if pending.end > until {
                return true;
            }
            self.trials.tick(self.instant(pending.end));
            self.pools[usize::from(pending.candidate)][pending.endpoint].under_way -= 1;
            if let Some(order) = self.order.as_ref().filter(|_| pending.is_order) {
                self.trials.told(trial, order, 1);
            }
            self.trials.end(*trial, outcome(pending.what), b"/");
            false
        });
        *self.pending.borrow_mut() = all;
    }

    /// What the controller does once a tick.
    fn look(&mut self, at: f64) {
        self.sample(at, false);
    }

    fn sample(&mut self, at: f64, cut: bool) {
        let now = self.instant(at);
        let weight = self.split.as_ref().map(|split| split.of(Color::Green)).unwrap_or_default();
        let weight = if self.split.is_none() && self.active == Color::Green { Weight::ALL } else { weight };
        let sample = self.sampler.sample_at(weight, now);
        if !cut {
            self.baselines.turn(now, self.sampler.routes());
        }
        let deployment = self.rollout.view().decision.deployment;
        let Some(deployment) = deployment else { return };
        if cut {
            // Nothing was watched before, or it goes on under what was in force.
            let Some(watched) = &mut self.watched else { return };
            let Some(stage) = watched.stage() else { return };
            let around =
                Surroundings { baselines: &self.baselines, routes: self.sampler.routes(), log: &self.log, now };
            let _ = watched.tick(&sample, stage, None, &around);
            return;
        }
        let keyed = matches!(self.world.users, Users::Stay(_));
        let watched = self.watched.get_or_insert_with(|| {
            let planned = deployment.plan.bake + deployment.plan.max_step * deployment.plan.steps.len() as u32;
            let mut before = Before::default();
            for route in &sample.routes {
                before.requests += route.totals[Color::Blue].completed;
                before.errors += route.totals[Color::Blue].bad[Class::Error as usize];
            }
            let policy = Policy {
                horizon: Some(planned.as_secs().max(1)),
                before: Some(before),
                warmup_requests: self.world.policy.warmup_requests * self.world.pools[1] as u64,
                ..self.world.policy.clone()
            };
            Watched::begin(&deployment, keyed, sample.tick, policy, now)
        });
        let around = Surroundings { baselines: &self.baselines, routes: self.sampler.routes(), log: &self.log, now };
        let id: DeploymentId = deployment.id;
        let judgement = watched.tick(&sample, deployment.stage, None, &around);
        if let Some(judgement) = judgement {
            if judgement.verdict == Verdict::Pass {
                self.played.first_pass.get_or_insert(at);
            }
            self.handle(at, Event::Judged(id, Box::new(judgement)));
        }
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        End::Good | End::Stream(_) => Outcome::Good,
        End::Failed => Outcome::Bad(Cause::Status),
        End::Breaks(_) => Outcome::Bad(Cause::Cut),
        End::Refused => Outcome::Bad(Cause::Connect),
        End::ClientError => Outcome::ClientError,
    }
}
