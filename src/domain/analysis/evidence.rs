//! Evidence as odds: the return of fair bets, per unit staked, against "the candidate is no worse".
//!
//! If that hypothesis is true, the chance that the odds *ever* reach `1/alpha` is at most `alpha` (Ville's
//! inequality), so one may look and stop at any time. Natural logarithms are stored: they neither overflow nor become
//! NaN.

pub(crate) use super::moment::Moment;
use super::moment::{Gains, bounded};
use super::tick::number;

#[must_use]
pub(crate) fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    // Two minus infinities would give NaN.
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// The stake, spread over the moments at which a regression may begin. A single stake at the beginning would first
/// have to win back its losses of the good minutes.
///
/// Most regressions appear at once or with a greater weight, so these moments have shares of their own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stakes {
    horizon: Option<u64>,
    tick: u64,
    for_steps: f64,
    step_begins: bool,
    rest: f64,
}

const FIRST: f64 = 0.4;
/// Staked on further steps: each takes a third of the rest.
const STEPS: f64 = 0.2;
/// Staked on the planned ticks, evenly.
const EVENLY: f64 = 0.3;
/// Staked on the ticks after the planned end.
const AFTER: f64 = 0.1;

impl Stakes {
    /// `horizon`: planned ticks; without it, stakes fall off as `1/(j(j+1))`.
    #[must_use]
    pub(crate) fn new(horizon: Option<u64>) -> Stakes {
        Stakes { horizon, tick: 0, for_steps: STEPS, step_begins: false, rest: 1.0 }
    }

    pub(crate) fn begin_step(&mut self) {
        // The first step has its own share.
        self.step_begins = self.tick > 0;
    }

    /// The stake of the next tick. All stakes together are at most 1.
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

    #[must_use]
    pub(crate) fn rest(&self) -> f64 {
        self.rest
    }
}

/// A mixture of bets, one per degree of "worse", each with its stakes and their returns.
#[derive(Clone, Debug, PartialEq)]
struct Mixture {
    ln: Vec<f64>,
    /// Stakes on each bet since the last event.
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

    fn bets(&mut self) -> impl Iterator<Item = &mut f64> {
        let pending = std::mem::take(&mut self.pending).ln();
        self.ln.iter_mut().map(move |ln| {
            *ln = ln_add(*ln, pending);
            ln
        })
    }

    /// Multiplies each bet by its gain, within the bound of its second.
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
/// Ratios for slow requests: beyond the median there can't be more than twice as many.
const SLOW_RATIOS: [f64; 7] = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0];

/// Multiples of the tolerated ratio, for events whose frequency is well known: small excesses matter.
const BEYOND: [f64; 8] = [1.08, 1.15, 1.3, 1.6, 2.5, 5.0, 15.0, 50.0];

/// Evidence that events are more frequent on one side by a ratio, whatever their rate does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ratio {
    tolerated: f64,
    /// Each with the logarithm of its multiple of the tolerated ratio.
    bets: Vec<(f64, f64)>,
    mixture: Mixture,
}

impl Ratio {
    /// More than `tolerated` times as frequent. `staked`: earlier stakes, which nothing has changed.
    #[must_use]
    pub(crate) fn above(tolerated: f64, staked: f64) -> Ratio {
        Ratio::new(tolerated, RATIOS.iter().filter(|ratio| **ratio > tolerated * 1.05), staked)
    }

    /// More than `tolerated` times as frequent, by however little.
    #[must_use]
    pub(crate) fn beyond(tolerated: f64, staked: f64) -> Ratio {
        Ratio::new(tolerated, BEYOND.map(|more| more * tolerated).iter(), staked)
    }

    /// Slow requests are more frequent at all.
    #[must_use]
    pub(crate) fn slower(staked: f64) -> Ratio {
        Ratio::new(1.0, SLOW_RATIOS.iter(), staked)
    }

    /// Less than `bad` times as frequent.
    #[must_use]
    pub(crate) fn below(bad: f64) -> Ratio {
        Ratio::new(bad, [0.5, 1.0, 1.3].iter().filter(|ratio| **ratio < bad * 0.95), 1.0)
    }

    /// The ratio is off in either direction.
    #[must_use]
    pub(crate) fn other() -> Ratio {
        Ratio::new(1.0, [0.5, 0.8, 1.25, 2.0].iter(), 1.0)
    }

    fn new<'a>(tolerated: f64, bets: impl Iterator<Item = &'a f64>, staked: f64) -> Ratio {
        let bets: Vec<_> = bets.map(|bet| (*bet, (bet / tolerated).ln())).collect();
        let mixture = Mixture::new(bets.len(), staked);
        Ratio { tolerated, bets, mixture }
    }

    pub(crate) fn stake(&mut self, stake: f64) {
        self.mixture.stake(stake);
    }

    /// `odds`: requests to the candidate per request to the stable release.
    pub(crate) fn observe(&mut self, odds: f64, candidate: u64, stable: u64) {
        self.observe_within(None, odds, candidate, stable);
    }

    /// Bounded by what one second of assignment may contribute.
    pub(crate) fn observe_at(&mut self, moment: Moment, odds: f64, candidate: u64, stable: u64) {
        self.observe_within(Some(moment), odds, candidate, stable);
    }

    /// The same with fractions of events.
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

    /// `rest`: the stake that is left.
    #[must_use]
    pub(crate) fn ln_evidence(&self, rest: f64) -> f64 {
        self.mixture.ln_evidence(rest)
    }
}

/// Evidence that the share of bad events is above, or below, a fixed one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// Log factors of each bet: for a bad event and for a good one.
    bets: Vec<(f64, f64)>,
    mixture: Mixture,
}

impl Share {
    #[must_use]
    pub(crate) fn above(floor: f64, staked: f64) -> Share {
        Share::new(floor, &[1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 40.0, 100.0], staked)
    }

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

    pub(crate) fn stake(&mut self, stake: f64) {
        self.mixture.stake(stake);
    }

    pub(crate) fn observe(&mut self, requests: u64, bad: u64) {
        self.observe_within(None, requests, bad);
    }

    /// Bounded by what one second of assignment may contribute.
    pub(crate) fn observe_at(&mut self, moment: Moment, requests: u64, bad: u64) {
        self.observe_within(Some(moment), requests, bad);
    }

    fn observe_within(&mut self, moment: Option<Moment>, requests: u64, bad: u64) {
        if requests == 0 && bad == 0 {
            return;
        }
        // Negative if a stream that counted as good failed later: the good one is taken back.
        let (good, bad) = (number(requests) - number(bad), number(bad));
        let gains = self.bets.iter().map(|(on_bad, on_good)| bad * on_bad + good * on_good);
        self.mixture.change(moment, gains);
    }

    #[must_use]
    pub(crate) fn ln_evidence(&self, rest: f64) -> f64 {
        self.mixture.ln_evidence(rest)
    }
}

/// Evidence that something is true more often than not.
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
    pub(crate) fn observe(&mut self, is: bool) {
        for (bet, ln) in SIGN_BETS.iter().zip(self.mixture.bets()) {
            *ln += if is { bet.ln_1p() } else { (-bet).ln_1p() };
        }
    }

    #[must_use]
    pub(crate) fn ln_evidence(&self) -> f64 {
        self.mixture.ln_evidence(0.0)
    }
}
