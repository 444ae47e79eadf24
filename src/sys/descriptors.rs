//! The room that the process has for sockets, computed from the limit on open files.
//!
//! Client connections and endpoint connections share the room. Neither may take more than three quarters of it, so the
//! other side always has a quarter. Outside of the room are the files that are open at the start, and a reserve for the
//! admin API, health checks, the ledger and reloads.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

/// Descriptors that traffic never takes.
const RESERVE: usize = 64;
/// Files that the process opens after the room was computed: the control task's, and those of each worker.
const OPENED_LATER: usize = 16;
const OPENED_BY_WORKER: usize = 8;
/// The least room, however low the limit is.
const LEAST: usize = 16;

/// The process's room.
static ROOM: Room = Room::new(usize::MAX);

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A connection of a client.
    Client,
    /// A connection to an endpoint; see [`take_for_endpoint`].
    Endpoint,
}

#[derive(Debug)]
struct Room {
    most: AtomicUsize,
    clients: AtomicUsize,
    endpoints: AtomicUsize,
    refused: AtomicU64,
}

/// A descriptor of the room, given back by drop.
#[derive(Debug)]
pub(crate) struct Held(Use);

impl Drop for Held {
    fn drop(&mut self) {
        ROOM.side(self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A descriptor for a connection to an endpoint, given back by drop. Without a size, for those who hold many.
#[derive(Debug)]
pub(crate) struct HeldByEndpoint(());

impl Drop for HeldByEndpoint {
    fn drop(&mut self) {
        ROOM.endpoints.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The room and what is taken of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// All of the room.
    pub most: usize,
    /// Taken by client connections.
    pub clients: usize,
    /// Taken by endpoint connections.
    pub endpoints: usize,
}

impl Room {
    const fn new(most: usize) -> Room {
        Room {
            most: AtomicUsize::new(most),
            clients: AtomicUsize::new(0),
            endpoints: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    fn side(&self, what: Use) -> &AtomicUsize {
        match what {
            Use::Client => &self.clients,
            Use::Endpoint => &self.endpoints,
        }
    }

    fn is_tight(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let endpoints = self.endpoints.load(Ordering::Relaxed);
        let all = endpoints.saturating_add(self.clients.load(Ordering::Relaxed));
        let nearly = |bound: usize| bound - most / 8;
        endpoints > nearly(most - most / 4) || all > nearly(most)
    }

    fn take(&self, what: Use) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let side = self.side(what);
        let mine = side.fetch_add(1, Ordering::Relaxed) + 1;
        let other = match what {
            Use::Client => &self.endpoints,
            Use::Endpoint => &self.clients,
        };
        if mine <= most - most / 4 && mine.saturating_add(other.load(Ordering::Relaxed)) <= most {
            return true;
        }
        side.fetch_sub(1, Ordering::Relaxed);
        if what == Use::Endpoint {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        false
    }
}

/// Computes the room from the limit on open files and from what is open now. Returns the limit and the room.
pub(crate) fn measure(workers: usize) -> (usize, usize) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(RESERVE, Iterator::count);
    let most = room(limit, open + OPENED_LATER + OPENED_BY_WORKER * workers);
    ROOM.most.store(most, Ordering::Relaxed);
    (limit, most)
}

fn room(limit: usize, elsewhere: usize) -> usize {
    limit.saturating_sub(elsewhere + RESERVE).max(LEAST)
}

/// Takes a descriptor of the room; `None`: there is no room.
#[must_use]
pub(crate) fn take(what: Use) -> Option<Held> {
    ROOM.take(what).then(|| Held(what))
}

/// Takes one for a connection to an endpoint; `None`: there is no room.
#[must_use]
pub(crate) fn take_for_endpoint() -> Option<HeldByEndpoint> {
    // Not `then_some`: a value that is made and dropped gives back what was never taken.
    ROOM.take(Use::Endpoint).then(|| HeldByEndpoint(()))
}

/// Takes one although there may be no room.
#[must_use]
pub(crate) fn take_anyway(what: Use) -> Held {
    ROOM.side(what).fetch_add(1, Ordering::Relaxed);
    Held(what)
}

/// Whether idle endpoint connections should rather be closed than kept: less than an eighth of the room is left for
/// endpoints.
pub(crate) fn is_tight() -> bool {
    ROOM.is_tight()
}

/// How many endpoint connections found no room so far.
pub(crate) fn refused() -> u64 {
    ROOM.refused.load(Ordering::Relaxed)
}

/// The room and what is taken of it.
pub(crate) fn usage() -> Usage {
    Usage {
        most: ROOM.most.load(Ordering::Relaxed),
        clients: ROOM.clients.load(Ordering::Relaxed),
        endpoints: ROOM.endpoints.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_side_takes_the_whole_room() {
        for (first, second) in [(Use::Client, Use::Endpoint), (Use::Endpoint, Use::Client)] {
            let room = Room::new(100);
            let taken = (0..200).filter(|_| room.take(first)).count();
            assert_eq!((taken, room.is_tight()), (75, first == Use::Endpoint), "{first:?}");
            let taken = (0..200).filter(|_| room.take(second)).count();
            assert_eq!((taken, room.is_tight()), (25, true), "{second:?} has the rest");
        }
    }

    #[test]
    fn the_reserve_is_outside_of_the_room() {
        assert_eq!(room(2048, 40), 2048 - 40 - 64);
        assert_eq!(room(64, 40), LEAST);
        assert_eq!(room(usize::MAX, 40), usize::MAX - 104);
    }
}
