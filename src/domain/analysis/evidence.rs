//! Evidence as odds: what somebody would have made of 1 by fair bets against "it is not worse".
//!
//! If that hypothesis is true, the chance that the odds *ever* reach `1/alpha` is at most `alpha` (Ville's inequality).
//! So one may look at any time and stop at any time. All of it is kept as natural logarithms, which neither overflow
//! nor become no number.

pub(crate) use super::moment::Moment;
use super::moment::{Gains, bounded};
use super::tick::number;

/// `ln(exp(a) + exp(b))`.
#[must_use]
pub(crate) fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    // Two times minus infinity would be no number.
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// How the stake is spread over the moments at which a regression may begin. A test of one stake, made at the
/// beginning, would have to win back what it lost in the good minutes before.
///
/// Most regressions are there at once, or begin with a greater weight: so these moments have shares of their own, and a
/// late one is found a little later for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stakes {
    horizon: Option<u64>,
    tick: u64,
    for_steps: f64,
    step_begins: bool,
    rest: f64,
}

/// What is staked at once.
const FIRST: f64 = 0.4;
/// On the beginnings of further steps; each takes a third of what is left of it.
const STEPS: f64 = 0.2;
/// On every tick that is planned, evenly.
const EVENLY: f64 = 0.3;
/// On those after the planned end.
const AFTER: f64 = 0.1;

impl Stakes {
    /// For so many ticks; without a plan they fall off as `1/(j(j+1))`.
    #[must_use]
    pub(crate) fn new(horizon: Option<u64>) -> Stakes {
        Stakes { horizon, tick: 0, for_steps: STEPS, step_begins: false, rest: 1.0 }
    }

    /// The next tick is the first of a step.
    pub(crate) fn begin_step(&mut self) {
        // The first has its own share.
        self.step_begins = self.tick > 0;
    }

    /// What is staked at the next tick. All of them together are at most 1.
    pub(crate) fn advance(&mut self) -> f64 {
        self.tick += 1;
        let tick = number(self.tick);
        let harmonic = 1.0 / (tick * (tick + 1.0));
        let mut stake = match self.horizon {
            None => (EVENLY + AFTER) * harmonic,
            Some(horizon) if self.tick <= horizon => EVENLY / number(horizon),
            // The sum of 1/(j(j+1)) from H+1 on is 1/(H+1).
            Some(horizon) => AFTER * number(horizon + 1) * harmonic,
        };
        if self.tick == 1 {
            stake += FIRST;
        }
        if std::mem::take(&mut self.step_begins) {
            stake += self.for_steps / 3.0;
            self.for_steps -= self.for_steps / 3.0;
        }
        let stake = stake.min(self.rest);
        self.rest = (self.rest - stake).max(0.0);
        stake
    }

    /// What is not staked yet.
    #[must_use]
    pub(crate) fn rest(&self) -> f64 {
        self.rest
    }
}

/// A mixture of bets, one for each degree of "worse", each with the stakes that were put on it so far and what came of
/// them.
#[derive(Clone, Debug, PartialEq)]
struct Mixture {
    ln: Vec<f64>,
    /// Stakes on each since the last event: nothing came of them yet.
    pending: f64,
    gains: Gains,
}

impl Mixture {
    fn new(bets: usize, staked: f64) -> Mixture {
        Mixture { ln: vec![f64::NEG_INFINITY; bets], pending: staked, gains: Gains::default() }
    }

    fn stake(&mut self, stake: f64) {
        self.pending += stake;
    }

    /// Each bet, with all its stakes, to be changed by an event.
    fn bets(&mut self) -> impl Iterator<Item = &mut f64> {
        let pending = std::mem::take(&mut self.pending).ln();
        self.ln.iter_mut().map(move |ln| {
            *ln = ln_add(*ln, pending);
            ln
        })
    }

    /// Changes each bet by what an event makes of it, within what its second may.
    fn change(&mut self, moment: Option<Moment>, gains: impl Iterator<Item = f64>) {
        let Some(moment) = moment else {
            self.bets().zip(gains).for_each(|(ln, gain)| *ln += gain);
            return;
        };
        let mut all = std::mem::take(&mut self.gains);
        let whole = all.of(moment.second(), self.ln.len());
        for ((ln, gain), whole) in self.bets().zip(gains).zip(whole) {
            *ln += bounded(whole, gain, moment);
        }
        self.gains = all;
    }

    fn ln_evidence(&self, rest: f64) -> f64 {
        let most = self.ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let idle = (self.pending + rest).ln();
        if most == f64::NEG_INFINITY {
            return idle;
        }
        let mean = self.ln.iter().map(|ln| (ln - most).exp()).sum::<f64>() / number(self.ln.len() as u64);
        ln_add(most + mean.ln(), idle)
    }
}

/// Ratios of rates that are bet on.
const RATIOS: [f64; 8] = [2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0];
/// The same for slow requests; of those beyond the median there can't be more than twice as many.
const SLOW_RATIOS: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0];

/// The same for events whose frequency is known well, so that little more than is tolerated is of interest: as
/// multiples of that.
const BEYOND: [f64; 8] = [1.08, 1.15, 1.3, 1.6, 2.5, 5.0, 15.0, 50.0];

/// Evidence that events are more than so many times as frequent on one side, whatever their rate is and does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ratio {
    tolerated: f64,
    /// Each with the logarithm of how much more than tolerated it is.
    bets: Vec<(f64, f64)>,
    mixture: Mixture,
}

impl Ratio {
    /// That they are more than `tolerated` times as frequent; `staked` already, on nothing that happened.
    #[must_use]
    pub(crate) fn above(tolerated: f64, staked: f64) -> Ratio {
        Ratio::new(tolerated, RATIOS.iter().filter(|ratio| **ratio > tolerated * 1.05), staked)
    }

    /// That they are more than `tolerated` times as frequent, by however little.
    #[must_use]
    pub(crate) fn beyond(tolerated: f64, staked: f64) -> Ratio {
        Ratio::new(tolerated, BEYOND.map(|more| more * tolerated).iter(), staked)
    }

    /// That slow requests are more frequent at all.
    #[must_use]
    pub(crate) fn slower(staked: f64) -> Ratio {
        Ratio::new(1.0, SLOW_RATIOS.iter(), staked)
    }

    /// That they are less than `bad` times as frequent.
    #[must_use]
    pub(crate) fn below(bad: f64) -> Ratio {
        Ratio::new(bad, [0.5, 1.0, 1.3].iter().filter(|ratio| **ratio < bad * 0.95), 1.0)
    }

    /// That the shares are not what they should be, either way.
    #[must_use]
    pub(crate) fn other() -> Ratio {
        Ratio::new(1.0, [0.5, 0.8, 1.25, 2.0].iter(), 1.0)
    }

    fn new<'a>(tolerated: f64, bets: impl Iterator<Item = &'a f64>, staked: f64) -> Ratio {
        let bets: Vec<_> = bets.map(|bet| (*bet, (bet / tolerated).ln())).collect();
        let mixture = Mixture::new(bets.len(), staked);
        Ratio { tolerated, bets, mixture }
    }

    /// A further stake.
    pub(crate) fn stake(&mut self, stake: f64) {
        self.mixture.stake(stake);
    }

    /// Events on each side, where the candidate was given `odds` requests for each one of the stable release.
    pub(crate) fn observe(&mut self, odds: f64, candidate: u64, stable: u64) {
        self.observe_within(None, odds, candidate, stable);
    }

    /// The same, and no more of it than one second of assignment may make.
    pub(crate) fn observe_at(&mut self, moment: Moment, odds: f64, candidate: u64, stable: u64) {
        self.observe_within(Some(moment), odds, candidate, stable);
    }

    /// The same where what one request brings is a part of an event.
    pub(crate) fn observe_parts(&mut self, moment: Moment, odds: f64, candidate: f64, stable: f64) {
        self.observe_numbers(Some(moment), odds, candidate, stable);
    }

    fn observe_within(&mut self, moment: Option<Moment>, odds: f64, candidate: u64, stable: u64) {
        self.observe_numbers(moment, odds, number(candidate), number(stable));
    }

    fn observe_numbers(&mut self, moment: Option<Moment>, odds: f64, candidate: f64, stable: f64) {
        if candidate == 0.0 && stable == 0.0 {
            return;
        }
        let hypothesis = (self.tolerated * odds).ln_1p();
        let gains = self.bets.iter().map(|(bet, more)| {
            // ln((1-p_k)/(1-p_0)) and ln(p_k/p_0), with p = r*odds / (r*odds + 1).
            let lost = hypothesis - (bet * odds).ln_1p();
            candidate * (more + lost) + stable * lost
        });
        self.mixture.change(moment, gains);
    }

    /// The evidence, with what is not staked yet.
    #[must_use]
    pub(crate) fn ln_evidence(&self, rest: f64) -> f64 {
        self.mixture.ln_evidence(rest)
    }
}

/// Evidence that the share of bad events is above, or below, a fixed one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// For each bet: what a bad event makes of its logarithm, and what a good one does.
    bets: Vec<(f64, f64)>,
    mixture: Mixture,
}

impl Share {
    /// That it is above `floor`.
    #[must_use]
    pub(crate) fn above(floor: f64, staked: f64) -> Share {
        Share::new(floor, &[1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 40.0, 100.0], staked)
    }

    /// That it is below `bad`.
    #[must_use]
    pub(crate) fn below(bad: f64) -> Share {
        Share::new(bad, &[0.05, 0.1, 0.2, 0.4], 1.0)
    }

    fn new(hypothesis: f64, factors: &[f64], staked: f64) -> Share {
        let bets: Vec<_> = factors
            .iter()
            .map(|factor| factor * hypothesis)
            .filter(|bet| *bet < 0.9)
            .map(|bet| ((bet / hypothesis).ln(), (-bet).ln_1p() - (-hypothesis).ln_1p()))
            .collect();
        let mixture = Mixture::new(bets.len(), staked);
        Share { bets, mixture }
    }

    /// A further stake.
    pub(crate) fn stake(&mut self, stake: f64) {
        self.mixture.stake(stake);
    }

    /// So many requests, so many of them bad.
    pub(crate) fn observe(&mut self, requests: u64, bad: u64) {
        self.observe_within(None, requests, bad);
    }

    /// The same, and no more of it than one second of assignment may make.
    pub(crate) fn observe_at(&mut self, moment: Moment, requests: u64, bad: u64) {
        self.observe_within(Some(moment), requests, bad);
    }

    fn observe_within(&mut self, moment: Option<Moment>, requests: u64, bad: u64) {
        if requests == 0 && bad == 0 {
            return;
        }
        // Below zero where a stream that counted as good has failed: that takes the good one back.
        let (good, bad) = (number(requests) - number(bad), number(bad));
        let gains = self.bets.iter().map(|(on_bad, on_good)| bad * on_bad + good * on_good);
        self.mixture.change(moment, gains);
    }

    /// The evidence, with what is not staked yet.
    #[must_use]
    pub(crate) fn ln_evidence(&self, rest: f64) -> f64 {
        self.mixture.ln_evidence(rest)
    }
}

/// Evidence that something is the case more often than not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sign {
    mixture: Mixture,
}

const SIGN_BETS: [f64; 4] = [0.25, 0.5, 0.75, 0.9];

impl Default for Sign {
    fn default() -> Sign {
        Sign { mixture: Mixture::new(SIGN_BETS.len(), 1.0) }
    }
}

impl Sign {
    /// Once more it was, or was not.
    pub(crate) fn observe(&mut self, is: bool) {
        for (bet, ln) in SIGN_BETS.iter().zip(self.mixture.bets()) {
            *ln += if is { bet.ln_1p() } else { (-bet).ln_1p() };
        }
    }

    /// The evidence.
    #[must_use]
    pub(crate) fn ln_evidence(&self) -> f64 {
        self.mixture.ln_evidence(0.0)
    }
}
