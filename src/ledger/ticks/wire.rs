//! The lines of a record. Their names are short, because there is one line per second.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Entry, Recorded};
use crate::domain::analysis::{
    Arms, Bad, Batch, Before, Counts, CpuUse, EventRule, EventTick, Minute, Policy, Quantiles, RouteTick,
    Seen as OfAll, Thresholds, Tick,
};
use crate::domain::deployment::DeploymentId;
use crate::domain::split::Weight;

/// The written version, and the newest readable one.
const VERSION: u32 = 1;

pub(super) enum Line {
    Head(Box<Head>),
    Entry(Entry),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Head(Box<Head>),
    Step(u64),
    Tick(Seen),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    v: u32,
    release: String,
    stable: String,
    policy: Rules,
}

/// A [`Policy`]; times in microseconds.
#[derive(Serialize, Deserialize)]
struct Rules {
    alpha: f64,
    suspect_at: f64,
    ratio_tolerated: f64,
    error_floor: f64,
    latency_margin: f64,
    latency_min_delta: u64,
    latency_samples: u64,
    warmup_requests: u64,
    warmup_time: u64,
    pass_error_below: f64,
    pass_ratio: f64,
    pass_beta: f64,
    client_error_ratio: f64,
    baseline_unhealthy: f64,
    baseline_window: u64,
    cpu_margin: f64,
    cpu_rolls_back: bool,
    #[serde(default = "cpu_windows")]
    cpu_windows: u64,
    #[serde(default = "second_gain")]
    second_gain: f64,
    max_routes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    horizon: Option<u64>,
    lost: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<Told>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<[u64; 2]>,
}

/// An [`EventRule`].
#[derive(Serialize, Deserialize)]
struct Told {
    name: String,
    bad: String,
    tolerated: f64,
    share: f64,
    per_request: u32,
}

/// A [`Tick`]. Pairs are stable and candidate.
#[derive(Serialize, Deserialize)]
struct Seen {
    n: u64,
    at: u64,
    w: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keyed: bool,
    a: [u64; 2],
    #[serde(default, skip_serializing_if = "none_of_both")]
    q: [Option<[u64; 3]>; 2],
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    r: Vec<OnRoute>,
    /// Failures that only endpoints can cause.
    #[serde(default, skip_serializing_if = "is_zero")]
    e: u64,
    /// Busy microseconds and requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<[[u64; 2]; 2]>,
    /// Weight, moments, and pairs of users: active, and bad in three degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<(u16, u64, [[u64; 2]; 4])>,
    /// Index, tick, weight, and pair of each event of the application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ev: Vec<(usize, u64, u16, [u64; 2])>,
}

#[derive(Serialize, Deserialize)]
struct OnRoute {
    s: usize,
    n: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<[[u64; 3]; 2]>,
    #[serde(default, skip_serializing_if = "none_of_both")]
    q: [Option<[u64; 3]>; 2],
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    b: Vec<Of>,
    /// The part that counts among all routes, if users are sticky.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<Vec<Of>>,
    /// Finished and failed requests, if `b` has a sample only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<[[u64; 2]; 2]>,
}

/// A [`Batch`].
#[derive(Serialize, Deserialize)]
struct Of {
    t: u64,
    w: u16,
    a: [u64; 2],
    /// Completed, failed, errors, client errors, aborts, and slow in three ways.
    d: [[u64; 8]; 2],
    /// Good responses and 4xx, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    g: Option<[[u64; 2]; 2]>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// For records without it.
fn cpu_windows() -> u64 {
    Policy::default().cpu_windows
}

fn second_gain() -> f64 {
    Policy::default().second_gain
}

fn none_of_both(both: &[Option<[u64; 3]>; 2]) -> bool {
    both.iter().all(Option::is_none)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn line(written: &Written) -> Vec<u8> {
    let mut line = serde_json::to_vec(written).expect("it has string keys only");
    line.push(b'\n');
    line
}

/// The first line of a record.
pub(super) fn head(recorded: &Recorded) -> Vec<u8> {
    line(&Written::Head(Box::new(Head {
        v: VERSION,
        release: recorded.release.clone(),
        stable: recorded.stable.clone(),
        policy: Rules::from(&recorded.policy),
    })))
}

/// A further line.
pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    line(&match entry {
        Entry::Step(first) => Written::Step(*first),
        Entry::Tick(tick) => Written::Tick(Seen::from(tick)),
    })
}

pub(super) fn read(line: &[u8]) -> Result<Line, String> {
    let written: Written = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(match written {
        Written::Head(head) if head.v > VERSION => {
            return Err(format!(
                "it was written by a newer cutover (format {}, this one reads up to {VERSION})",
                head.v
            ));
        }
        Written::Head(head) => Line::Head(head),
        Written::Step(first) => Line::Entry(Entry::Step(first)),
        Written::Tick(seen) => Line::Entry(Entry::Tick(Box::new(seen.into_tick()?))),
    })
}

impl Head {
    pub(super) fn into_recorded(self: Box<Head>, id: DeploymentId) -> Recorded {
        let Head { release, stable, policy, .. } = *self;
        Recorded { id, release, stable, policy: policy.into_policy(), entries: Vec::new() }
    }
}

impl Rules {
    fn from(policy: &Policy) -> Rules {
        Rules {
            alpha: policy.alpha,
            suspect_at: policy.suspect_at,
            ratio_tolerated: policy.ratio_tolerated,
            error_floor: policy.error_floor,
            latency_margin: policy.latency_margin,
            latency_min_delta: micros(policy.latency_min_delta),
            latency_samples: policy.latency_samples,
            warmup_requests: policy.warmup_requests,
            warmup_time: micros(policy.warmup_time),
            pass_error_below: policy.pass_error_below,
            pass_ratio: policy.pass_ratio,
            pass_beta: policy.pass_beta,
            client_error_ratio: policy.client_error_ratio,
            baseline_unhealthy: policy.baseline_unhealthy,
            baseline_window: micros(policy.baseline_window),
            cpu_margin: policy.cpu_margin,
            cpu_rolls_back: policy.cpu_rolls_back,
            cpu_windows: policy.cpu_windows,
            second_gain: policy.second_gain,
            max_routes: policy.max_routes,
            horizon: policy.horizon,
            lost: policy.lost,
            events: policy.events.iter().map(Told::from).collect(),
            before: policy.before.map(|before| [before.requests, before.errors]),
        }
    }

    fn into_policy(self) -> Policy {
        Policy {
            alpha: self.alpha,
            suspect_at: self.suspect_at,
            ratio_tolerated: self.ratio_tolerated,
            error_floor: self.error_floor,
            latency_margin: self.latency_margin,
            latency_min_delta: Duration::from_micros(self.latency_min_delta),
            latency_samples: self.latency_samples,
            warmup_requests: self.warmup_requests,
            warmup_time: Duration::from_micros(self.warmup_time),
            pass_error_below: self.pass_error_below,
            pass_ratio: self.pass_ratio,
            pass_beta: self.pass_beta,
            client_error_ratio: self.client_error_ratio,
            baseline_unhealthy: self.baseline_unhealthy,
            baseline_window: Duration::from_micros(self.baseline_window),
            cpu_margin: self.cpu_margin,
            cpu_rolls_back: self.cpu_rolls_back,
            cpu_windows: self.cpu_windows,
            second_gain: self.second_gain,
            max_routes: self.max_routes,
            horizon: self.horizon,
            lost: self.lost,
            events: self.events.into_iter().filter_map(Told::into_rule).collect(),
            before: self.before.map(|[requests, errors]| Before { requests, errors }),
        }
    }
}

impl Told {
    fn from(rule: &EventRule) -> Told {
        let EventRule { name, bad, tolerated, share, per_request } = rule.clone();
        Told { name, bad: bad.name().to_owned(), tolerated, share, per_request }
    }

    fn into_rule(self) -> Option<EventRule> {
        let Told { name, bad, tolerated, share, per_request } = self;
        Some(EventRule { name, bad: Bad::named(&bad)?, tolerated, share, per_request })
    }
}

fn pair<T, U>(arms: Arms<T>, of: impl Fn(T) -> U) -> [U; 2] {
    [of(arms.stable), of(arms.candidate)]
}

fn arms<T, U>([stable, candidate]: [T; 2], of: impl Fn(T) -> U) -> Arms<U> {
    Arms { stable: of(stable), candidate: of(candidate) }
}

fn quantiles(of: Arms<Option<Quantiles>>) -> [Option<[u64; 3]>; 2] {
    pair(of, |quantiles| quantiles.map(|Quantiles(micros)| micros))
}

fn weight(basis_points: u16) -> Result<Weight, String> {
    Weight::new(basis_points).ok_or_else(|| format!("{basis_points} is no weight"))
}

fn minute((of, moments, users): (u16, u64, [[u64; 2]; 4])) -> Result<Minute, String> {
    let [active, some, tenth, half] = users.map(|users| arms(users, |n| n));
    Ok(Minute { weight: weight(of)?, active, bad: [some, tenth, half], moments })
}

fn told(of: &EventTick) -> (usize, u64, u16, [u64; 2]) {
    (of.event, of.tick, of.weight.basis_points(), pair(of.told, |n| n))
}

fn event((event, tick, of, told): (usize, u64, u16, [u64; 2])) -> Result<EventTick, String> {
    Ok(EventTick { event, tick, weight: weight(of)?, told: arms(told, |n| n) })
}

impl Seen {
    fn from(tick: &Tick) -> Seen {
        Seen {
            n: tick.number,
            at: micros(tick.at),
            w: tick.weight.basis_points(),
            keyed: tick.keyed,
            a: pair(tick.assigned, |n| n),
            q: quantiles(tick.quantiles),
            r: tick.routes.iter().map(OnRoute::from).collect(),
            e: tick.broken,
            cpu: tick.cpu.map(|cpu| pair(cpu, |CpuUse { busy, requests }| [micros(busy), requests])),
            m: tick.minute.map(|minute| {
                let [some, tenth, half] = minute.bad;
                let users = [minute.active, some, tenth, half].map(|users| pair(users, |n| n));
                (minute.weight.basis_points(), minute.moments, users)
            }),
            ev: tick.events.iter().map(told).collect(),
        }
    }

    fn into_tick(self) -> Result<Tick, String> {
        Ok(Tick {
            number: self.n,
            at: Duration::from_micros(self.at),
            weight: weight(self.w)?,
            keyed: self.keyed,
            assigned: arms(self.a, |n| n),
            quantiles: arms(self.q, |micros| micros.map(Quantiles)),
            routes: self.r.into_iter().map(OnRoute::into_route).collect::<Result<_, _>>()?,
            broken: self.e,
            cpu: self
                .cpu
                .map(|cpu| arms(cpu, |[busy, requests]| CpuUse { busy: Duration::from_micros(busy), requests })),
            minute: self.m.map(minute).transpose()?,
            events: self.ev.into_iter().map(event).collect::<Result<_, _>>()?,
        })
    }
}

impl OnRoute {
    fn from(route: &RouteTick) -> OnRoute {
        OnRoute {
            s: route.slot,
            n: route.name.clone(),
            t: route.thresholds.map(|thresholds| [thresholds.stable, thresholds.candidate]),
            q: quantiles(route.quantiles),
            b: route.batches.iter().map(Of::from).collect(),
            all: route.overall.as_ref().map(|batches| batches.iter().map(Of::from).collect()),
            f: route.seen.map(|seen| pair(seen, |OfAll { completed, failed }| [completed, failed])),
        }
    }

    fn into_route(self) -> Result<RouteTick, String> {
        Ok(RouteTick {
            slot: self.s,
            name: self.n,
            thresholds: self.t.map(|[stable, candidate]| Thresholds { stable, candidate }),
            quantiles: arms(self.q, |micros| micros.map(Quantiles)),
            batches: self.b.into_iter().map(Of::into_batch).collect::<Result<_, _>>()?,
            overall: self.all.map(|all| all.into_iter().map(Of::into_batch).collect::<Result<_, _>>()).transpose()?,
            seen: self.f.map(|seen| arms(seen, |[completed, failed]| OfAll { completed, failed })),
        })
    }
}

impl Of {
    fn from(batch: &Batch) -> Of {
        let counts = |counts: Counts| {
            let [p50, p90, p99] = counts.slow;
            let Counts { completed, failed, errors, client_errors, aborts, .. } = counts;
            [completed, failed, errors, client_errors, aborts, p50, p90, p99]
        };
        Of {
            t: batch.tick,
            w: batch.weight.basis_points(),
            a: pair(batch.assigned, |n| n),
            d: pair(batch.done, counts),
            g: Some(pair(batch.done, |counts| [counts.good, counts.refused])),
        }
    }

    fn into_batch(self) -> Result<Batch, String> {
        let counts = |[completed, failed, errors, client_errors, aborts, p50, p90, p99]: [u64; 8]| Counts {
            completed,
            failed,
            errors,
            client_errors,
            aborts,
            slow: [p50, p90, p99],
            // As without sticky users.
            good: completed.saturating_sub(failed).saturating_sub(client_errors).saturating_sub(aborts),
            refused: client_errors,
        };
        let mut done = arms(self.d, counts);
        if let Some([stable, candidate]) = self.g {
            [done.stable.good, done.stable.refused] = stable;
            [done.candidate.good, done.candidate.refused] = candidate;
        }
        Ok(Batch { tick: self.t, weight: weight(self.w)?, assigned: arms(self.a, |n| n), done })
    }
}
