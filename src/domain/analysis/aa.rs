//! The A/A test: how often would this service, with its traffic and noise, have had a good release rolled back?
//!
//! The stable release's part of a recorded deployment is split by chance between two sides, again and again, with the
//! recorded weights, and judged. Both sides are the same release, so each alarm is false.
//!
//! There are two placebos. In the first, requests are split one by one, which hides clumps: a pause of one process, or
//! a broken connection with many requests. The second ([`apart`]) is a process of its own, which repeats the stable
//! release's seconds some seconds later, clumps included.

mod apart;

use std::collections::BTreeMap;

use super::evidence::ln_add;
use super::judge::Judge;
use super::policy::Policy;
use super::tick::{Arms, Batch, Counts, EventTick, Minute, RouteTick, Tick, number};
use crate::domain::split::Weight;
use crate::domain::verdict::Verdict;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct AaReport {
    pub runs: u32,
    pub alarms: u32,
    /// Deployments that were suspected at some tick.
    pub suspicions: u32,
    /// Deployments that advanced at some tick.
    pub passes: u32,
    /// The same for as many deployments of the second placebo.
    pub apart_alarms: u32,
    pub apart_suspicions: u32,
    pub ticks: u64,
    pub requests: u64,
    /// Variance of errors and of the slowest requests from tick to tick, as a ratio to that of independent ones; the
    /// larger of both. Far above 1, the first placebo shows too few alarms.
    pub clumps: f64,
}

impl AaReport {
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.alarms) / f64::from(self.runs.max(1))
    }

    #[must_use]
    pub(crate) fn apart_rate(&self) -> f64 {
        f64::from(self.apart_alarms) / f64::from(self.runs.max(1))
    }

    /// The upper end of the 95 % confidence interval.
    #[must_use]
    pub(crate) fn at_most(&self) -> f64 {
        self.below(self.alarms)
    }

    #[must_use]
    pub(crate) fn apart_at_most(&self) -> f64 {
        self.below(self.apart_alarms)
    }

    /// Clopper and Pearson, 1934; with no alarm the "rule of three".
    fn below(&self, alarms: u32) -> f64 {
        if alarms >= self.runs && self.runs > 0 {
            return 1.0;
        }
        let runs = f64::from(self.runs.max(1));
        // The chance of so few alarms falls as the rate grows, so bisect. In logarithms: the first terms of a large
        // rate underflow.
        let few = |rate: f64| {
            let mut term = runs * (-rate).ln_1p();
            let mut sum = term;
            for k in 1..=alarms {
                let k = f64::from(k);
                term += ((runs - k + 1.0) / k).ln() + rate.ln() - (-rate).ln_1p();
                sum = ln_add(sum, term);
            }
            sum
        };
        let (mut low, mut high) = (0.0, 1.0 - 1e-9);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if few(middle) > 0.05_f64.ln() { low = middle } else { high = middle }
        }
        high
    }
}

/// `steps`: first ticks of steps; `seed`: the same seed gives the same report.
#[must_use]
pub(crate) fn false_alarms(policy: &Policy, steps: &[u64], ticks: &[Tick], runs: u32, seed: u64) -> AaReport {
    let requests = ticks.iter().map(|tick| tick.assigned.stable).sum();
    let clumps = clumps(ticks, |counts| counts.errors).max(clumps(ticks, |counts| counts.slow[2]));
    let mut report = AaReport { runs, ticks: ticks.len() as u64, requests, clumps, ..AaReport::default() };
    let lives = apart::Lives::new(ticks);
    for run in 0..runs {
        let mut chance = Chance(seed ^ u64::from(run).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut shares = Shares::new();
        let dealt = play(policy, steps, ticks.iter().map(|tick| shared(tick, &mut chance, &mut shares)));
        report.alarms += u32::from(dealt.alarm);
        report.suspicions += u32::from(dealt.suspected);
        report.passes += u32::from(dealt.passed);
        let later = apart::later(&mut chance);
        let apart = play(policy, steps, (later..ticks.len()).map(|place| lives.tick(place, later, &mut chance)));
        report.apart_alarms += u32::from(apart.alarm);
        report.apart_suspicions += u32::from(apart.suspected);
    }
    report
}

#[derive(Default)]
struct Played {
    alarm: bool,
    suspected: bool,
    passed: bool,
}

fn play(policy: &Policy, steps: &[u64], ticks: impl Iterator<Item = Tick>) -> Played {
    let (mut judge, mut played) = (Judge::new(policy.clone()), Played::default());
    let mut steps = steps.iter().peekable();
    for tick in ticks {
        while let Some(first) = steps.next_if(|first| **first <= tick.number) {
            judge.begin_step(*first);
        }
        match judge.tick(&tick).verdict {
            Verdict::Fail => return Played { alarm: true, suspected: true, ..played },
            Verdict::Suspect => played.suspected = true,
            Verdict::Pass => played.passed = true,
            Verdict::Insufficient => {}
        }
    }
    played
}

/// Variance from tick to tick, relative to independent events.
fn clumps(ticks: &[Tick], of: impl Fn(&Counts) -> u64) -> f64 {
    let each: Vec<(f64, f64)> = ticks
        .iter()
        .map(|tick| {
            let done = tick.routes.iter().flat_map(|route| &route.batches).map(|batch| batch.done.stable);
            done.fold((0.0, 0.0), |(all, bad), counts| (all + number(counts.completed), bad + number(of(&counts))))
        })
        .collect();
    let (all, bad) = each.iter().fold((0.0, 0.0), |(all, bad), one| (all + one.0, bad + one.1));
    if bad == 0.0 || all == 0.0 {
        return 1.0;
    }
    let expected = |completed: f64| completed * bad / all;
    let apart = each.iter().map(|(completed, bad)| (bad - expected(*completed)).powi(2)).sum::<f64>();
    apart / bad
}

type Shares = BTreeMap<u64, f64>;

/// Requests of older ticks share one entry.
const TOLD_APART: usize = 200;

fn shared(tick: &Tick, chance: &mut Chance, shares: &mut Shares) -> Tick {
    let routes: Vec<RouteTick> = tick.routes.iter().map(|route| on_route(route, tick.keyed, chance)).collect();
    let mut assigned: Arms<u64> = Arms::default();
    for batch in routes.iter().flat_map(|route| &route.batches).filter(|batch| batch.tick == tick.number) {
        assigned.add(batch.assigned);
    }
    shares.insert(tick.number, number(assigned.candidate) / number((assigned.candidate + assigned.stable).max(1)));
    while shares.len() > TOLD_APART {
        shares.pop_first();
    }
    let event = |told: &EventTick| {
        let share = if told.weight == Weight::ALL { 0.0 } else { told.weight.share() };
        let share = if tick.keyed { share } else { shares.get(&told.tick).copied().unwrap_or(share) };
        let candidate = chance.of(told.told.stable, share);
        EventTick { told: Arms { stable: told.told.stable - candidate, candidate }, ..*told }
    };
    let events = tick.events.iter().map(event).collect();
    let minute = tick.minute.map(|minute| dealt(&minute, chance));
    Tick { assigned, routes, events, cpu: None, broken: 0, minute, ..tick.clone() }
}

/// Each user has a coin of its own. A user who is bad in one degree is bad in the lower ones.
fn dealt(minute: &Minute, chance: &mut Chance) -> Minute {
    let share = if minute.weight == Weight::ALL { 0.0 } else { minute.weight.share() };
    let [some, tenth, half] = minute.bad.map(|bad| bad.stable);
    let mut candidate = 0;
    let mut more = |users: u64, than: u64, chance: &mut Chance| {
        candidate += chance.of(users.saturating_sub(than), share);
        Arms { stable: users.saturating_sub(candidate), candidate }
    };
    let half_of = more(half, 0, chance);
    let tenth_of = more(tenth, half, chance);
    let some_of = more(some, tenth, chance);
    let active = more(minute.active.stable, some, chance);
    Minute { active, bad: [some_of, tenth_of, half_of], ..*minute }
}

fn on_route(route: &RouteTick, keyed: bool, chance: &mut Chance) -> RouteTick {
    let batches = deal(&route.batches, keyed, chance);
    let overall = route.overall.as_ref().map(|batches| deal(batches, keyed, chance));
    RouteTick { batches, overall, seen: None, quantiles: Arms::default(), ..route.clone() }
}

fn deal(batches: &[Batch], keyed: bool, chance: &mut Chance) -> Vec<Batch> {
    let batches = batches.iter().map(|batch| {
        let share = if batch.weight == Weight::ALL { 0.0 } else { batch.weight.share() };
        let candidate = chance.of(batch.assigned.stable, share);
        let assigned = Arms { stable: batch.assigned.stable - candidate, candidate };
        // The real split, as the judge sees it; with sticky users the weight.
        let real = number(candidate) / number(batch.assigned.stable.max(1));
        let share = if keyed { share } else { real };
        Batch { assigned, done: outcomes(&batch.done.stable, share, chance), ..*batch }
    });
    batches.collect()
}

fn outcomes(of: &Counts, share: f64, chance: &mut Chance) -> Arms<Counts> {
    let candidate = thinned(of, share, chance);
    let stable = Counts {
        completed: of.completed.saturating_sub(candidate.completed),
        failed: of.failed - candidate.failed,
        errors: of.errors - candidate.errors,
        client_errors: of.client_errors - candidate.client_errors,
        aborts: of.aborts - candidate.aborts,
        slow: std::array::from_fn(|class| of.slow[class] - candidate.slow[class]),
        good: of.good - candidate.good,
        refused: of.refused - candidate.refused,
    };
    Arms { stable, candidate }
}

fn thinned(of: &Counts, share: f64, chance: &mut Chance) -> Counts {
    let failed = chance.of(of.failed, share);
    let slow = slow(of.slow, share, chance);
    Counts {
        completed: failed + chance.of(of.completed.saturating_sub(of.failed), share),
        failed,
        errors: if of.errors == of.failed { failed } else { chance.of(of.errors, share) },
        client_errors: chance.of(of.client_errors, share),
        aborts: chance.of(of.aborts, share),
        slow,
        good: chance.of(of.good, share),
        refused: chance.of(of.refused, share),
    }
}

/// A request beyond a threshold is beyond the lower ones. Hanging requests pass each threshold in a tick of its own,
/// so their counts may contradict that; then each count is sampled alone.
fn slow([p50, p90, p99]: [u64; 3], share: f64, chance: &mut Chance) -> [u64; 3] {
    let p99_of = chance.of(p99, share);
    if p99 > p90 || p90 > p50 {
        return [chance.of(p50, share), chance.of(p90, share), p99_of];
    }
    let p90_of = p99_of + chance.of(p90 - p99, share);
    [p90_of + chance.of(p50 - p90, share), p90_of, p99_of]
}

/// A seeded generator (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn share(&mut self) -> f64 {
        number(self.next() >> 11) / 9_007_199_254_740_992.0
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and n")]
    fn of(&mut self, n: u64, share: f64) -> u64 {
        // From here on the normal approximation is indistinguishable, and takes constant time.
        const MANY: u64 = 512;
        if share <= 0.0 || n == 0 {
            return 0;
        }
        if n < MANY || number(n) * share < 64.0 {
            return (0..n).filter(|_| self.share() < share).count() as u64;
        }
        let (radius, angle) = ((-2.0 * (1.0 - self.share()).ln()).sqrt(), std::f64::consts::TAU * self.share());
        let (mean, deviation) = (number(n) * share, (number(n) * share * (1.0 - share)).sqrt());
        (mean + deviation * radius * angle.cos()).round().clamp(0.0, number(n)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::analysis::Thresholds;
    use std::time::Duration;

    fn ticks(errors_every: u64) -> Vec<Tick> {
        let weight = Weight::new(1_000).expect("a share");
        let of = |number: u64| {
            let failed = u64::from(number.is_multiple_of(errors_every));
            let stable = Counts { completed: 90, failed, errors: failed, slow: [45, 9, 1], ..Counts::default() };
            let assigned = Arms { stable: 90, candidate: 10 };
            let done =
                Arms { stable, candidate: Counts { completed: 10, failed: 10, errors: 10, ..Counts::default() } };
            Tick {
                number,
                at: Duration::from_secs(number),
                weight,
                assigned,
                routes: vec![RouteTick {
                    batches: vec![Batch { tick: number, weight, assigned, done }],
                    ..RouteTick::default()
                }],
                ..Tick::default()
            }
        };
        (0..300).map(of).collect()
    }

    #[test]
    fn a_release_against_itself_is_as_good_as_never_rolled_back_whatever_the_candidate_of_the_record_did() {
        let report = false_alarms(&Policy::default(), &[0], &ticks(3), 200, 1);
        assert_eq!((report.runs, report.ticks, report.requests), (200, 300, 27_000));
        assert!(report.alarms <= 2 && report.passes > 100, "{report:?}");
        assert_eq!(report, false_alarms(&Policy::default(), &[0], &ticks(3), 200, 1), "the same seed, the same chance");
    }

    #[test]
    fn a_judge_that_is_quick_to_judge_is_found_out() {
        // A budget of one half, and a release with occasional errors comes close to it.
        let hasty = Policy { alpha: 0.5, error_floor: 1e-6, ratio_tolerated: 1.0, ..Policy::default() };
        let report = false_alarms(&hasty, &[0], &ticks(3), 200, 1);
        assert!(report.alarms > 5, "{report:?}");
        assert!(report.rate() <= report.at_most() && report.at_most() < 0.7, "{report:?} {}", report.at_most());
    }

    #[test]
    fn users_who_stay_and_whose_events_are_in_no_order_raise_no_alarm() {
        // Half of the users have their one request beyond a threshold long after it passed the lower ones.
        let of = |number: u64| {
            let mut tick = ticks(3).swap_remove(number as usize);
            tick.keyed = true;
            tick.routes[0].thresholds = Some(Thresholds::default());
            tick.routes[0].batches[0].done.stable.slow = if number.is_multiple_of(2) { [0, 4, 9] } else { [9, 0, 3] };
            tick.routes[0].overall = Some(tick.routes[0].batches.clone());
            tick.minute = (number % 60 == 59).then(|| Minute {
                weight: tick.weight,
                active: Arms { stable: 900, candidate: 100 },
                bad: [90, 9, 1].map(|stable| Arms { stable, candidate: 0 }),
                moments: 60,
            });
            tick
        };
        let ticks: Vec<Tick> = (0..300).map(of).collect();
        let report = false_alarms(&Policy::default(), &[0], &ticks, 200, 1);
        assert!(report.alarms <= 2, "{report:?}");
    }

    #[test]
    fn many_alarms_have_a_bound_above_their_rate() {
        for (runs, alarms) in [(1_000, 1_000), (1_000, 900), (10_000, 2_000)] {
            let report = AaReport { runs, alarms, ..AaReport::default() };
            assert!((report.rate()..=1.0).contains(&report.at_most()), "{alarms} of {runs}: {}", report.at_most());
        }
    }

    /// The one process of the stable release pauses for a second every 40 s.
    fn pauses() -> Vec<Tick> {
        let mut ticks = ticks(20);
        for tick in ticks.iter_mut().filter(|tick| tick.number % 40 == 17) {
            tick.routes[0].batches[0].done.stable.slow = [90; 3];
        }
        for tick in &mut ticks {
            tick.routes[0].thresholds = Some(Thresholds::default());
        }
        ticks
    }

    #[test]
    fn a_placebo_that_is_a_process_of_its_own_has_clumps_of_its_own() {
        let quick = Duration::from_secs(5);
        let unbounded = Policy { second_gain: 1e9, warmup_time: quick, ..Policy::default() };
        let report = false_alarms(&unbounded, &[0], &pauses(), 50, 1);
        assert!(report.apart_alarms > 25 && report.alarms <= 1, "without the bound of a second: {report:?}");
        let bounded = Policy { warmup_time: quick, ..Policy::default() };
        let report = false_alarms(&bounded, &[0], &pauses(), 50, 1);
        assert!(report.apart_alarms <= 1, "with it: {report:?}");
        let even = false_alarms(&unbounded, &[0], &ticks(3), 50, 1);
        assert!(even.apart_alarms <= 1, "no clumps: {even:?}");
    }

    #[test]
    fn clumps_are_told_because_they_can_not_be_shared_out() {
        let even = false_alarms(&Policy::default(), &[0], &ticks(3), 1, 1).clumps;
        let mut clumped = ticks(30);
        for route in clumped.iter_mut().flat_map(|tick| &mut tick.routes) {
            route.batches.iter_mut().for_each(|batch| batch.done.stable.errors *= 20);
        }
        let clumped = false_alarms(&Policy::default(), &[0], &clumped, 1, 1).clumps;
        assert!(even < 1.5 && clumped > 10.0, "{even} {clumped}");
    }

    #[test]
    fn no_alarm_in_a_thousand_is_at_most_three_in_a_thousand() {
        let report = AaReport { runs: 1_000, ..AaReport::default() };
        assert!((report.at_most() - 0.002_991).abs() < 1e-5, "{}", report.at_most());
    }
}
