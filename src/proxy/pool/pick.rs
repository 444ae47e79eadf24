//! The choice of an endpoint for one request.
//!
//! Endpoints that are up come first, then those without a known state, then ejected ones in the same order; one that is
//! down only where a color serves by force. Among equals it is least requests or round robin. Where those that are
//! drawn are up, a choice reads no other endpoint, however large the pool is.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use crate::domain::health::Health;
use crate::proxy::pool::slow_start::FULL;
use crate::proxy::pool::{Balance, Endpoint, Pool};

/// Health, and [`EJECTED`] where it applies. A number, because each request counts endpoints by it.
type Class = usize;
const EJECTED: Class = 4;
const UP: Class = Health::Up as Class;
const UNKNOWN: Class = Health::Unknown as Class;
const DOWN: Class = Health::Down as Class;
/// The order of preference.
const ORDER: [Class; 4] = [UP, UNKNOWN, UP | EJECTED, UNKNOWN | EJECTED];

/// The best class that has an endpoint.
struct Field<'a> {
    pool: &'a Pool,
    now: u64,
    tried: &'a [usize],
    class: Class,
    count: usize,
    /// Too many are ejected: those up to this one serve, by the time at which they would come back, and by index.
    needed: Option<(u64, usize)>,
}

impl Endpoint {
    fn class(&self, now: u64) -> Class {
        let ejected = self.ejection.in_force(now).is_some();
        Class::from(self.health.load(Ordering::Relaxed)) & 3 | if ejected { EJECTED } else { 0 }
    }
}

impl Pool {
    /// `draw`: a random number. `tried` are left out.
    pub(crate) fn pick(&self, worker: usize, draw: u64, now: u64, tried: &[usize]) -> Option<usize> {
        match &*self.endpoints {
            [] => return None,
            [only] => return (only.health() != Health::Down && tried.is_empty()).then_some(0),
            _ => {}
        }
        if tried.is_empty()
            && let Some(picked) = self.pick_up(worker, draw, now)
        {
            return Some(picked);
        }
        self.pick_best(worker, draw, now, tried)
    }

    /// Finds nothing where a drawn endpoint is not up, or is ejected.
    fn pick_up(&self, worker: usize, draw: u64, now: u64) -> Option<usize> {
        let is_up = |index: usize| self.endpoints[index].class(now) == UP;
        let all = self.endpoints.len();
        match self.rules.balance {
            Balance::LeastRequests => {
                let (first, second) = two_below(all, draw);
                (is_up(first) && is_up(second)).then(|| self.less_loaded(first, second, worker, draw, now))
            }
            Balance::RoundRobin => {
                let cursor = &self.cursors[worker].0;
                let index = usize::try_from(cursor.get() % all as u64).unwrap_or(0);
                let picked = is_up(index) && coin(draw) < self.weight(index, now);
                picked.then(|| {
                    cursor.add(1);
                    index
                })
            }
        }
    }

    fn pick_best(&self, worker: usize, draw: u64, now: u64, tried: &[usize]) -> Option<usize> {
        let field = self.field(now, tried)?;
        let picked = match self.rules.balance {
            Balance::LeastRequests => field.less_loaded(worker, again(draw)),
            Balance::RoundRobin => field.next_in_turn(worker, draw),
        };
        // Another thread may have changed a state since the count.
        picked.or_else(|| (0..self.endpoints.len()).find(|index| ORDER.contains(&field.class_of(*index))))
    }

    /// Picks among endpoints that are down, for a color that serves by force.
    #[cold]
    pub(crate) fn pick_anyhow(&self, draw: u64, tried: &[usize]) -> Option<usize> {
        let all = self.endpoints.len();
        let first = below(all, draw >> 32);
        (first..all).chain(0..first).find(|index| !tried.contains(index))
    }

    fn field<'a>(&'a self, now: u64, tried: &'a [usize]) -> Option<Field<'a>> {
        let mut counts = [0; 8];
        for endpoint in &self.endpoints {
            counts[endpoint.class(now)] += 1;
        }
        let ejected = counts[UP | EJECTED] + counts[UNKNOWN | EJECTED];
        let floor = (counts[UP] + counts[UNKNOWN] + ejected) / 2;
        let needed = if ejected > floor { self.needed(floor, now) } else { None };
        let mut field = Field { pool: self, now, tried, class: UP, count: counts[UP], needed };
        if needed.is_some() || !tried.is_empty() {
            counts = [0; 8];
            for index in 0..self.endpoints.len() {
                counts[field.class_of(index)] += 1;
            }
        }
        field.class = ORDER.into_iter().find(|class| counts[*class] > 0)?;
        field.count = counts[field.class];
        Some(field)
    }

    /// An ejected endpoint serves where more than half of the pool would not: one went down since, or two workers
    /// ejected at the same moment. Those that would come back first serve: all but `floor`.
    #[cold]
    fn needed(&self, floor: usize, now: u64) -> Option<(u64, usize)> {
        let serving = self.endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.health() != Health::Down);
        let back = serving.filter_map(|(index, endpoint)| Some((endpoint.ejection.in_force(now)?, index)));
        let mut back: Vec<_> = back.collect();
        // Another thread may have changed a state since the count.
        (floor < back.len()).then(|| *back.select_nth_unstable_by_key(floor, |back| Reverse(*back)).1)
    }

    /// The power of two choices: of two drawn endpoints, the one with fewer of this worker's requests (Mitzenmacher,
    /// "The Power of Two Choices in Randomized Load Balancing", 2001).
    ///
    /// An endpoint in slow start stays the first of the two only with the probability of its weight, its requests weigh
    /// more by the same factor, and as the second it is preferred only if the first has a full share more. So it gets
    /// its weight of a share, less where it is slow to answer, and never nothing.
    fn less_loaded(&self, first: usize, second: usize, worker: usize, draw: u64, now: u64) -> usize {
        let load = |index: usize| self.endpoints[index].load(worker).get();
        let (mut chosen, mut weight) = (first, self.weight(first, now));
        let (mut other, mut other_weight) = (second, self.weight(second, now));
        if weight == FULL && other_weight == FULL {
            return if load(other) < load(chosen) { other } else { chosen };
        }
        if coin(draw) >= weight {
            (chosen, weight, other, other_weight) = (other, other_weight, chosen, weight);
        }
        // Compares load / weight without fractions; the other endpoint's with its handicap.
        let less = (load(other) * FULL + (FULL - other_weight)) * weight < load(chosen) * FULL * other_weight;
        if less { other } else { chosen }
    }
}

impl Field<'_> {
    fn class_of(&self, index: usize) -> Class {
        if self.tried.contains(&index) {
            return DOWN;
        }
        let endpoint = &self.pool.endpoints[index];
        let class = endpoint.class(self.now);
        let is_needed = |last| endpoint.ejection.in_force(self.now).is_some_and(|until| (until, index) <= last);
        if class & EJECTED != 0 && self.needed.is_some_and(is_needed) { class & !EJECTED } else { class }
    }

    fn is_in(&self, index: usize) -> bool {
        self.count == self.pool.endpoints.len() || self.class_of(index) == self.class
    }

    fn nth(&self, n: usize) -> Option<usize> {
        let all = self.pool.endpoints.len();
        if self.count == all { Some(n) } else { (0..all).filter(|index| self.is_in(*index)).nth(n) }
    }

    fn less_loaded(&self, worker: usize, draw: u64) -> Option<usize> {
        if self.count == 1 {
            return self.nth(0);
        }
        let (first, second) = two_below(self.count, draw);
        Some(self.pool.less_loaded(self.nth(first)?, self.nth(second)?, worker, draw, self.now))
    }

    /// Round robin per worker. An endpoint in slow start lets its turn pass with the probability of the weight that it
    /// lacks, unless it is alone.
    fn next_in_turn(&self, worker: usize, draw: u64) -> Option<usize> {
        let all = self.pool.endpoints.len() as u64;
        let cursor = &self.pool.cursors[worker].0;
        let at = |step: u64| usize::try_from((cursor.get() % all + step) % all).unwrap_or(0);
        let mut passed = None;
        for step in 0..all {
            let index = at(step);
            if self.is_in(index) {
                if coin(draw.wrapping_add(step)) < self.pool.weight(index, self.now) {
                    cursor.add(step + 1);
                    return Some(index);
                }
                passed = passed.or(Some(step));
            }
        }
        let (step, index) = passed.map(|step| (step, at(step)))?;
        cursor.add(step + 1);
        Some(index)
    }
}

/// A number below `count` from 32 random bits, without a division (Lemire, "Fast Random Integer Generation in an
/// Interval", 2019).
fn below(count: usize, bits: u64) -> usize {
    usize::try_from((bits * count as u64) >> 32).unwrap_or(0)
}

/// Two different numbers below `count`, which is two at least.
fn two_below(count: usize, draw: u64) -> (usize, usize) {
    let first = below(count, draw >> 32);
    let second = below(count - 1, draw & 0xffff_ffff);
    (first, if second < first { second } else { second + 1 })
}

/// A draw that does not depend on the endpoints that the first one hit.
fn again(draw: u64) -> u64 {
    let mixed = (draw ^ draw >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// A number below [`FULL`], independent of the draw of endpoints. The factor is 2^64 divided by the golden ratio.
fn coin(draw: u64) -> u64 {
    draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FULL.trailing_zeros())
}

#[cfg(test)]
mod tests;
