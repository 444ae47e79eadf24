//! Random numbers from a seed, and the few distributions that the simulations need.

use std::thread;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1, without 0.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.uniform() < share
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Failures before the first success.
    pub fn geometric(&mut self, share: f64) -> u64 {
        (self.uniform().ln() / (-share).ln_1p()) as u64
    }

    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 100.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let (mut left, mut sum) = (mean, 0);
        while left > 0.0 {
            let part = left.min(30.0);
            left -= part;
            let (mut term, mut draw) = ((-part).exp(), self.uniform());
            let mut count = 0;
            while draw > term && count < 1000 {
                draw -= term;
                count += 1;
                term *= part / count as f64;
            }
            sum += count;
        }
        sum
    }

    pub fn binomial(&mut self, trials: u64, share: f64) -> u64 {
        if trials == 0 || share <= 0.0 {
            return 0;
        }
        if share > 0.5 {
            return trials - self.binomial(trials, 1.0 - share);
        }
        let odds = share / (1.0 - share);
        let (mut term, mut draw) = ((trials as f64 * (-share).ln_1p()).exp(), self.uniform());
        let mut count = 0;
        while draw > term && count < trials {
            draw -= term;
            term *= odds * (trials - count) as f64 / (count + 1) as f64;
            count += 1;
        }
        count
    }
}

/// So many runs, each with random numbers of its own, on two threads; the result does not depend on them.
pub fn runs<T: Send>(count: usize, seed: u64, run: impl Fn(&mut Random) -> T + Sync) -> Vec<T> {
    let part = |from: usize, to: usize| -> Vec<T> {
        (from..to).map(|number| run(&mut Random::new(Random::new(seed << 32 | number as u64).bits()))).collect()
    };
    thread::scope(|scope| {
        let half = scope.spawn(|| part(0, count / 2));
        let other = part(count / 2, count);
        let mut all = half.join().expect("a run");
        all.extend(other);
        all
    })
}

/// Which share of runs it is true of.
pub fn share<T>(runs: &[T], is: impl Fn(&T) -> bool) -> f64 {
    runs.iter().filter(|run| is(run)).count() as f64 / runs.len() as f64
}

/// What so many of the runs stay below. `None`, "it did not happen", is above everything.
pub fn quantile(runs: &[Option<u64>], share: f64) -> u64 {
    let mut sorted: Vec<u64> = runs.iter().map(|run| run.unwrap_or(u64::MAX)).collect();
    sorted.sort_unstable();
    sorted[((share * sorted.len() as f64) as usize).min(sorted.len() - 1)]
}
