//! First path segments on their way to a route, as one worker sees them. A segment has to succeed often, over many
//! ticks, to take one of the few places, so the paths of a scanner never get one.

use std::collections::HashMap;

/// Successes that a segment needs on one worker,
const REQUESTS: u32 = 10;
/// in this many different ticks.
const TICKS: u32 = 4;
const MOST: usize = 128;
/// Ticks without a success after which a segment begins anew.
const FORGOTTEN: u64 = 600;

#[derive(Debug)]
struct Seedling {
    requests: u32,
    ticks: u32,
    last: u64,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Nursery {
    seedlings: HashMap<Box<[u8]>, Seedling>,
    number: u64,
}

impl Nursery {
    pub(super) fn succeeded(&mut self, segment: &[u8], tick: u64) -> bool {
        let Some(seedling) = self.seedlings.get_mut(segment) else {
            if self.seedlings.len() >= MOST {
                self.make_room(tick);
            }
            self.seedlings.insert(segment.into(), Seedling { requests: 1, ticks: 1, last: tick, number: self.number });
            self.number += 1;
            return false;
        };
        if tick.wrapping_sub(seedling.last) > FORGOTTEN {
            *seedling = Seedling { requests: 0, ticks: 0, last: tick.wrapping_sub(1), number: seedling.number };
        }
        seedling.requests = seedling.requests.saturating_add(1);
        if seedling.last != tick {
            seedling.last = tick;
            seedling.ticks += 1;
        }
        seedling.requests >= REQUESTS && seedling.ticks >= TICKS
    }

    pub(super) fn remove(&mut self, segment: &[u8]) {
        self.seedlings.remove(segment);
    }

    /// Drops the segment with the fewest successes, the oldest of several.
    fn make_room(&mut self, tick: u64) {
        let rank = |of: &Seedling| (tick.wrapping_sub(of.last) <= FORGOTTEN, of.requests, of.number);
        let least = self.seedlings.iter().min_by_key(|(_, of)| rank(of));
        if let Some(least) = least.map(|(segment, _)| segment.clone()) {
            self.seedlings.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_needs_many_requests_over_many_ticks() {
        let mut nursery = Nursery::default();
        assert!((0..1_000).all(|_| !nursery.succeeded(b"burst", 7)), "all of them in one tick");
        assert!((0..9).all(|tick| !nursery.succeeded(b"seldom", tick)));
        assert!(nursery.succeeded(b"seldom", 9));
        assert!((0..20).all(|tick| !nursery.succeeded(b"rare", tick * (FORGOTTEN + 1))));
    }

    #[test]
    fn a_scanner_does_not_push_out_what_lives() {
        let mut nursery = Nursery::default();
        let mut earned = false;
        for tick in 0..12 {
            for n in 0..1_000 {
                earned |= n % 100 == 0 && nursery.succeeded(b"checkout", tick);
                assert!(!nursery.succeeded(format!("scan-{tick}-{n}").as_bytes(), tick));
            }
            assert!(nursery.seedlings.len() <= MOST);
        }
        assert!(earned);
    }
}
