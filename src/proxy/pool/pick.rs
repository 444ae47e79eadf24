//! The choice of an endpoint for one request.
//!
//! Endpoints that are up come first, those of which nothing is known yet next, and after them, for nothing better is
//! left, those that are ejected, in the same order; one that is down never. Among equals it is least requests or round
//! robin. Where nobody is down or ejected that is one look at the state of each, and one at the load of two.

use crate::domain::health::Health;
use crate::proxy::pool::slow_start::FULL;
use crate::proxy::pool::{Balance, Pool};

/// The order in which endpoints are asked to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Up,
    Unknown,
    UpEjected,
    UnknownEjected,
}

/// Those among whom to choose: the best class that has anybody.
struct Field<'a> {
    pool: &'a Pool,
    now: u64,
    tried: &'a [usize],
    /// So many may be ejected.
    floor: usize,
    /// More than that are, so it has to be looked at which.
    over: bool,
    class: Class,
    count: usize,
}

impl Pool {
    /// Picks an endpoint for this worker's next request, by a random number; `tried` are left out. `None`: there is
    /// none left.
    pub(crate) fn pick(&self, worker: usize, draw: u64, now: u64, tried: &[usize]) -> Option<usize> {
        if let [only] = &*self.endpoints {
            return (only.health() != Health::Down && tried.is_empty()).then_some(0);
        }
        let field = self.field(now, tried)?;
        let picked = match self.rules.balance {
            Balance::LeastRequests => field.less_loaded(worker, draw),
            Balance::RoundRobin => field.next_in_turn(worker, draw),
        };
        // Another thread may have changed somebody's state since they were counted.
        picked.or_else(|| (0..self.endpoints.len()).find(|index| field.class_of(*index).is_some()))
    }

    fn field<'a>(&'a self, now: u64, tried: &'a [usize]) -> Option<Field<'a>> {
        let mut field = Field { pool: self, now, tried, floor: 0, over: false, class: Class::Up, count: 0 };
        let (mut counts, mut available, mut ejected) = ([0; 4], 0, 0);
        for index in 0..self.endpoints.len() {
            if let Some(class) = field.state_of(index) {
                available += 1;
                ejected += usize::from(matches!(class, Class::UpEjected | Class::UnknownEjected));
                counts[class as usize] += usize::from(!tried.contains(&index));
            }
        }
        field.floor = available / 2;
        field.over = ejected > field.floor;
        if field.over {
            counts = [0; 4];
            for class in (0..self.endpoints.len()).filter_map(|index| field.class_of(index)) {
                counts[class as usize] += 1;
            }
        }
        let classes = [Class::Up, Class::Unknown, Class::UpEjected, Class::UnknownEjected];
        (field.class, field.count) = classes.into_iter().zip(counts).find(|(_, count)| *count > 0)?;
        Some(field)
    }
}

impl Field<'_> {
    /// Its class by what is recorded of it; `None`: it is down.
    fn state_of(&self, index: usize) -> Option<Class> {
        let endpoint = &self.pool.endpoints[index];
        let ejected = endpoint.ejection.in_force(self.now).is_some();
        match (endpoint.health(), ejected) {
            (Health::Up, false) => Some(Class::Up),
            (Health::Unknown, false) => Some(Class::Unknown),
            (Health::Up, true) => Some(Class::UpEjected),
            (Health::Unknown, true) => Some(Class::UnknownEjected),
            (Health::Down, _) => None,
        }
    }

    /// Its class for this request; `None`: it is down or was tried.
    fn class_of(&self, index: usize) -> Option<Class> {
        if self.tried.contains(&index) {
            return None;
        }
        match self.state_of(index)? {
            Class::UpEjected if self.is_needed(index) => Some(Class::Up),
            Class::UnknownEjected if self.is_needed(index) => Some(Class::Unknown),
            class => Some(class),
        }
    }

    /// Whether it serves although it is ejected, because more than half of the pool would not: somebody went down since,
    /// or two workers ejected at the same moment. Those serve that would be the first to come back.
    fn is_needed(&self, index: usize) -> bool {
        let until = |index: usize| {
            let endpoint = &self.pool.endpoints[index];
            let until = endpoint.ejection.in_force(self.now).filter(|_| endpoint.health() != Health::Down)?;
            Some((until, index))
        };
        self.over && (0..self.pool.endpoints.len()).filter(|other| until(*other) > until(index)).count() >= self.floor
    }

    fn is_in(&self, index: usize) -> bool {
        self.count == self.pool.endpoints.len() || self.class_of(index) == Some(self.class)
    }

    fn nth(&self, n: usize) -> Option<usize> {
        (0..self.pool.endpoints.len()).filter(|index| self.is_in(*index)).nth(n)
    }

    /// The power of two choices: of two that are drawn, the one with fewer requests of this worker in flight
    /// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    ///
    /// One that starts slowly keeps its place as the first of the two only with the probability of its weight, each of
    /// its requests weighs as many as fit into a full share, and as the second it is not preferred before the first has
    /// a full share's more. So it gets its weight of a share, and less where it is slow to answer; and never nothing.
    fn less_loaded(&self, worker: usize, draw: u64) -> Option<usize> {
        let first = usize::try_from(draw >> 32).unwrap_or(0) % self.count;
        if self.count == 1 {
            return self.nth(first);
        }
        // Any but the first, each with the same chance.
        let second = first + 1 + usize::try_from(draw & 0xffff_ffff).unwrap_or(0) % (self.count - 1);
        let (first, second) = (self.nth(first)?, self.nth(second % self.count)?);
        let load = |index: usize| self.pool.endpoints[index].load(worker).get();
        let (mut chosen, mut weight) = (first, self.pool.weight(first, self.now));
        let (mut other, mut other_weight) = (second, self.pool.weight(second, self.now));
        if weight == FULL && other_weight == FULL {
            return Some(if load(other) < load(chosen) { other } else { chosen });
        }
        if coin(draw) >= weight {
            (chosen, weight, other, other_weight) = (other, other_weight, chosen, weight);
        }
        // load / weight of each, the other's with its handicap, without the fractions.
        let less = (load(other) * FULL + (FULL - other_weight)) * weight < load(chosen) * FULL * other_weight;
        Some(if less { other } else { chosen })
    }

    /// Round robin: the next one after the last one that this worker used. One that starts slowly lets its turn pass
    /// with the probability of what it lacks, as long as there is anybody else.
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

/// A number below [`FULL`] that has nothing to do with which endpoints were drawn.
fn coin(draw: u64) -> u64 {
    draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FULL.trailing_zeros())
}

#[cfg(test)]
mod tests;
