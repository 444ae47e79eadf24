//! The discovered routes as one worker knows them: a small hash table of first segments, compared by bytes.

use std::sync::atomic::Ordering;

use super::nursery::Nursery;
use super::{DISCOVERED, RouteId, Routes};

/// A power of two; at most a quarter is taken.
const PLACES: usize = 4 * DISCOVERED;

#[derive(Debug)]
struct Place {
    hash: u64,
    id: RouteId,
    segment: Box<[u8]>,
}

#[derive(Debug)]
pub(crate) struct Known {
    version: u64,
    places: Box<[Option<Place>]>,
    nursery: Nursery,
}

impl Default for Known {
    fn default() -> Known {
        Known { version: 0, places: (0..PLACES).map(|_| None).collect(), nursery: Nursery::default() }
    }
}

/// Returns true if the path ends with the segment.
#[must_use]
pub(crate) fn first_segment(target: &[u8]) -> (&[u8], bool) {
    let target = target.strip_prefix(b"/").unwrap_or(target);
    match target.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(end) => (&target[..end], target[end] == b'?'),
        None => (target, true),
    }
}

impl Known {
    pub(crate) fn find(&mut self, routes: &Routes, segment: &[u8]) -> Option<RouteId> {
        if routes.version.load(Ordering::Acquire) != self.version {
            self.learn(routes);
        }
        let hash = hash(segment);
        let mut place = start(hash);
        while let Some(known) = &self.places[place] {
            if known.hash == hash && *known.segment == *segment {
                return Some(known.id);
            }
            place = (place + 1) % PLACES;
        }
        None
    }

    pub(crate) fn succeeded(&mut self, routes: &Routes, segment: &[u8], whole: bool) {
        if !super::is_name(segment, whole) {
            return;
        }
        if self.nursery.succeeded(segment, routes.tick()) {
            routes.discovered(segment);
        }
    }

    #[cold]
    fn learn(&mut self, routes: &Routes) {
        let (version, discovered) = routes.all_discovered();
        self.places.fill_with(|| None);
        for (id, name) in discovered {
            let segment: Box<[u8]> = name.as_bytes()[1..].into();
            self.nursery.remove(&segment);
            let hash = hash(&segment);
            let mut place = start(hash);
            while self.places[place].is_some() {
                place = (place + 1) % PLACES;
            }
            self.places[place] = Some(Place { hash, id, segment });
        }
        self.version = version;
    }
}

fn start(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or(0) % PLACES
}

/// Unkeyed and quick: the table is small, and outsiders get only earned routes into it. A segment is hashed up to the
/// length of the longest name; a longer one is never found.
fn hash(segment: &[u8]) -> u64 {
    let seed = segment.len() as u64;
    segment.chunks(8).take(super::MAX_NAME / 8).fold(seed, |hash, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}
