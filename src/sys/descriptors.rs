//! The room for sockets, computed from the limit on open files.
//!
//! Clients and endpoints share it; neither may take more than three quarters. Files open at the start, and a reserve
//! for the admin API, health checks, the ledger and reloads, are outside of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::process::{Resource, getrlimit};

/// Descriptors that traffic never takes.
const RESERVE: usize = 64;
/// Files opened after [`measure`]: the control task's, and those of each worker.
const OPENED_LATER: usize = 16;
const OPENED_BY_WORKER: usize = 8;
const LEAST: usize = 16;

static ROOM: Room = Room::new(usize::MAX);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Client,
    Endpoint,
}

#[derive(Debug)]
struct Room {
    most: AtomicUsize,
    clients: AtomicUsize,
    endpoints: AtomicUsize,
    refused: AtomicU64,
}

/// Given back by drop.
#[derive(Debug)]
pub(crate) struct Permit(Use);

impl Drop for Permit {
    fn drop(&mut self) {
        ROOM.side(self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Given back by drop. Zero-sized, for holders of many.
#[derive(Debug)]
pub(crate) struct EndpointPermit(());

impl Drop for EndpointPermit {
    fn drop(&mut self) {
        ROOM.endpoints.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub most: usize,
    pub clients: usize,
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

/// Returns the limit and the room.
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

/// `None`: no room.
#[must_use]
pub(crate) fn take(what: Use) -> Option<Permit> {
    ROOM.take(what).then(|| Permit(what))
}

#[must_use]
pub(crate) fn take_for_endpoint() -> Option<EndpointPermit> {
    // Not `then_some`: its value would be made and dropped, giving back a descriptor that was never taken.
    ROOM.take(Use::Endpoint).then(|| EndpointPermit(()))
}

/// Takes one even without room.
#[must_use]
pub(crate) fn take_anyway(what: Use) -> Permit {
    ROOM.side(what).fetch_add(1, Ordering::Relaxed);
    Permit(what)
}

/// Less than an eighth of the room is left for endpoints: their idle connections should be closed.
pub(crate) fn is_tight() -> bool {
    ROOM.is_tight()
}

pub(crate) fn refused() -> u64 {
    ROOM.refused.load(Ordering::Relaxed)
}

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
