//! The worlds as a table: what must hold, and what came of how many runs.

use std::time::Duration;

use super::{faults, quiet};
use crate::control::site::{Answer, Ask, Balance, Played, Until, Users, World};
use crate::domain::analysis::Policy;
use crate::domain::deployment::{OnInsufficient, Plan};
use crate::domain::split::Weight;
use crate::random::{Random, quantile, runs};

/// Which worlds are played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All, a few runs each.
    Quick,
    /// All, as often as a bound needs.
    Full,
    /// Those that have this in their names, as often as a bound needs, or so often.
    Named(String, Option<usize>),
}

/// How they are played.
#[derive(Clone, Debug, PartialEq)]
pub struct How {
    pub which: Which,
    /// A bet gains this factor from a second at most, if not as shipped.
    pub second_gain: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Must {
    /// It is never rolled back.
    NeverBack,
    /// The promise says nothing of it, for this reason.
    Outside(&'static str),
    /// It is rolled back, within so many seconds in half of the runs and in 95 of 100.
    Back {
        median: f64,
        p95: f64,
    },
    /// The same, counted from a moment.
    BackAfter(f64, f64),
    BackAfterTraffic(f64),
    /// It is rolled back or withdrawn within so many seconds in 95 of 100.
    Ends(f64),
    /// It never goes beyond its first step.
    Kept,
    /// It goes beyond its first step in at most this share of the runs.
    WrongPass(f64),
    Shown,
}

pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) must: Must,
    pub(super) runs: (usize, usize),
    pub(super) world: Box<dyn Fn() -> World>,
    pub(super) until: Until,
}

pub(super) fn scene(
    name: &'static str,
    what: &'static str,
    must: Must,
    runs: (usize, usize),
    world: impl Fn() -> World + 'static,
) -> Scene {
    Scene { name, what, must, runs, world: Box::new(world), until: Until::Back }
}

pub(super) fn plan(steps: &[u16], dwell: u64) -> Plan {
    Plan {
        steps: steps.iter().map(|step| Weight::new(*step).expect("a share")).collect(),
        dwell: Duration::from_secs(dwell),
        max_step: Duration::from_secs(dwell.max(1_800)),
        on_insufficient: OnInsufficient::Hold,
        holdback: Weight::new(200).expect("a share"),
        bake: Duration::from_secs(900),
    }
}

/// The default steps.
pub(super) fn steps(dwell: u64) -> Plan {
    plan(&[500, 2_500, 5_000], dwell)
}

pub(super) fn world(
    rate: f64,
    serve: impl Fn(&mut Random, &Ask) -> Answer + Send + Sync + 'static,
    plan: Plan,
) -> World {
    World {
        rate: Box::new(move |_| rate),
        routes: vec![("/", 1.0)],
        pools: [1, 1],
        balance: Balance::RoundRobin,
        users: Users::New,
        pauses: None,
        clumps: None,
        wanders: None,
        serve: Box::new(serve),
        plan,
        switch: None,
        policy: Policy::default(),
        orders: None,
        seconds: 200.0,
        until: Until::Back,
    }
}

/// With this median.
pub(super) fn lognormal(random: &mut Random, median: f64, sigma: f64) -> f64 {
    median * (sigma * random.normal()).exp()
}

/// The interval of Clopper and Pearson for a share, at 95 %.
pub(super) fn interval(hits: usize, of: usize) -> (f64, f64) {
    let ln_choose = |k: usize| -> f64 { (1..=k).map(|i| ((of - k + i) as f64 / i as f64).ln()).sum() };
    let tail = |share: f64, from: usize, to: usize| -> f64 {
        (from..=to).map(|k| (ln_choose(k) + k as f64 * share.ln() + (of - k) as f64 * (-share).ln_1p()).exp()).sum()
    };
    let solve = |above: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (1e-12, 1.0 - 1e-12);
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            if above(middle) { high = middle } else { low = middle }
        }
        low
    };
    let low = if hits == 0 { 0.0 } else { solve(&|share| tail(share, hits, of) > 0.025) };
    let high = if hits == of { 1.0 } else { solve(&|share| tail(share, 0, hits) < 0.025) };
    (low, high)
}

fn percent(played: &[Played], is: impl Fn(&Played) -> bool) -> String {
    let hits = played.iter().filter(|played| is(played)).count();
    let (low, high) = interval(hits, played.len());
    format!("{:.1} % [{:.2}..{:.2}]", 100.0 * hits as f64 / played.len() as f64, 100.0 * low, 100.0 * high)
}

fn seconds(played: &[Played], when: impl Fn(&Played) -> Option<f64>) -> (f64, f64) {
    let all: Vec<_> = played.iter().map(|played| when(played).map(|at| (at.max(0.0) * 10.0) as u64)).collect();
    let of = |share| {
        let at = quantile(&all, share);
        if at == u64::MAX { f64::INFINITY } else { at as f64 / 10.0 }
    };
    (of(0.5), of(0.95))
}

fn ends(played: &Played) -> Option<f64> {
    let back = played.rolled_back.as_ref().map(|(at, _)| *at);
    [back, played.withdrawn].into_iter().flatten().reduce(f64::min)
}

impl Scene {
    /// What it comes to in so many runs, and whether that is as it must be. One run of a thousand may be wrong by the promise
    /// itself, so in few runs none and in many no more than its upper bound.
    fn judge(&self, played: &[Played]) -> (String, String, bool) {
        let back = |played: &Played| played.rolled_back.is_some();
        let count = |is: &dyn Fn(&Played) -> bool| played.iter().filter(|played| is(played)).count();
        let allowed = |share: f64| {
            let mean = share * played.len() as f64;
            (mean + 3.0 * mean.sqrt()).floor() as usize
        };
        let often = format!(
            "back {}, suspect {}, all traffic {}",
            percent(played, back),
            percent(played, |played| played.suspected.is_some()),
            percent(played, |played| played.traffic.is_some())
        );
        let at = |(median, p95): (f64, f64)| format!("{median:.0} s (p95 {p95:.0} s)");
        let found = |from: f64| seconds(played, |played| played.rolled_back.as_ref().map(|(at, _)| at - from));
        match self.must {
            Must::NeverBack => ("<= 0.1 %".to_owned(), often, count(&back) <= allowed(0.001)),
            Must::Outside(why) => (format!("outside: {why}"), often, true),
            Must::Back { median, p95 } => {
                let times = found(0.0);
                let requests: Vec<_> = played.iter().map(|played| back(played).then_some(played.requests)).collect();
                let shown =
                    format!("{}, {} requests (p95 {})", at(times), quantile(&requests, 0.5), quantile(&requests, 0.95));
                (format!("<= {median} s (p95 {p95} s)"), shown, times.0 <= median && times.1 <= p95)
            }
            Must::BackAfter(from, within) => {
                let times = found(from);
                let early = count(&|played| played.rolled_back.as_ref().is_some_and(|(at, _)| *at < from));
                let shown = format!("{}, before {early}", at(times));
                (format!("p95 <= {within} s"), shown, times.1 <= within && early == 0)
            }
            Must::BackAfterTraffic(within) => {
                let times = seconds(played, |played| Some(played.rolled_back.as_ref()?.0 - played.traffic?));
                (format!("p95 <= {within} s"), at(times), times.1 <= within)
            }
            Must::Ends(within) => {
                let times = seconds(played, ends);
                let quarantined = percent(played, back);
                (format!("p95 <= {within} s"), format!("{}, quarantined {quarantined}", at(times)), times.1 <= within)
            }
            Must::Kept => {
                let on = |played: &Played| played.second_step.is_some();
                let when = seconds(played, ends);
                (
                    "never beyond".to_owned(),
                    format!("beyond {}, ends {}", percent(played, on), at(when)),
                    count(&on) <= allowed(0.01),
                )
            }
            Must::WrongPass(share) => {
                let on = |played: &Played| played.second_step.is_some();
                (format!("<= {share}"), format!("beyond {}", percent(played, on)), count(&on) <= allowed(share))
            }
            Must::Shown => ("shown".to_owned(), often, true),
        }
    }
}

/// Plays worlds, shows each when it is played; whether all of them hold, and how many there were.
pub fn all(How { which, second_gain }: &How, show: &mut dyn FnMut(&str)) -> (usize, usize) {
    let (mut held, mut broken) = (0, 0);
    for (place, scene) in quiet::scenes().into_iter().chain(faults::scenes()).enumerate() {
        let count = match which {
            Which::Quick => scene.runs.0,
            Which::Full => scene.runs.1,
            Which::Named(name, count) if format!("{} {}", scene.name, scene.what).contains(name.as_str()) => {
                count.unwrap_or(scene.runs.1)
            }
            Which::Named(..) => continue,
        };
        if count == 0 {
            continue;
        }
        let mut world = World { until: scene.until, ..(scene.world)() };
        world.policy.second_gain = second_gain.unwrap_or(world.policy.second_gain);
        let began = std::time::Instant::now();
        let played = runs(count, 7_000 + place as u64, |random| world.play(random));
        let (must, came, holds) = scene.judge(&played);
        *(if holds { &mut held } else { &mut broken }) += 1;
        let ok = if holds { "ok" } else { "BROKEN" };
        let took = began.elapsed().as_secs_f64();
        show(&format!("{:<4} {ok:<6} {}: {must}: {came}; n {count} ({took:.1} s)", scene.name, scene.what));
        if matches!(which, Which::Named(..)) {
            played
                .iter()
                .filter(|played| !played.words.is_empty())
                .take(2)
                .for_each(|played| show(&format!("            {}", played.words)));
        }
    }
    (held, broken)
}
