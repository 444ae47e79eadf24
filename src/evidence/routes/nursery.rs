//! First segments of paths on their way to a route of their own, as one worker sees them: a segment has to succeed
//! often, over many ticks, before it takes one of the few places. Made-up paths of a scanner never get that far.

use std::collections::HashMap;

/// Successes that a segment needs on one worker,
const REQUESTS: u32 = 10;
/// in so many different ticks.
const TICKS: u32 = 4;
/// Segments that a worker watches at once.
const MOST: usize = 128;
/// A segment without a success for so many ticks begins anew.
const FORGOTTEN: u64 = 600;

#[derive(Debug)]
struct Seedling {
    requests: u32,
    ticks: u32,
    last: u64,
    number: u64,
}

/// The segments that one worker watches. One that succeeds again before [`MOST`] others have come keeps its place.
#[derive(Debug, Default)]
pub(super) struct Nursery {
    seedlings: HashMap<Box<[u8]>, Seedling>,
    /// Of the next segment.
    number: u64,
}

impl Nursery {
    /// A request for this segment has succeeded. Whether the segment has earned a route.
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

    /// A segment that has a route is watched no longer.
    pub(super) fn remove(&mut self, segment: &[u8]) {
        self.seedlings.remove(segment);
    }

    /// The segment with the fewest successes gives its place away, the oldest of several.
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
                // As often as one request of a hundred.
                earned |= n % 100 == 0 && nursery.succeeded(b"checkout", tick);
                assert!(!nursery.succeeded(format!("scan-{tick}-{n}").as_bytes(), tick));
            }
            assert!(nursery.seedlings.len() <= MOST);
        }
        assert!(earned);
    }
}
