//! The requests that are evidence where users stay on one color; docs/blame.md has the reasons ("Strangers and
//! evidence").
//!
//! All requests of a user come from one toss of the coin, and a client that knows its color can choose its requests by
//! it. So
//!
//! - the **first request** of a user in a deployment counts: it was chosen before its color could be known;
//! - of **later requests** each *network* of clients (IPv4 /24, IPv6 /48) contributes `per_network` events of each
//!   class on each route, and as many on all routes together; each user contributes one of them;
//! - later events on the candidate from the first [`SPARED`] networks are left out;
//! - to a *share* of errors a network contributes `per_network` requests in [`WINDOW`] ticks.
//!
//! The steps of a request: [`Users::meet`] and [`Users::take_sample`] at its begin; [`Users::count`] and
//! [`Users::spare`] for each event; [`Users::ended`] at its end.
//!
//! Memory is bits, found by hash. Two users may share a bit, and then an event of the second is not counted; an event
//! that must not count never is. One bit per user, not several, so that exactly one of two workers is the first.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::bits::{Bits, take};
use super::minutes::{MinuteCounts, Minutes};
use super::told::AppEvent;
use super::{ALL, CLASSES, RouteId};
use crate::domain::analysis::Bad;
use crate::domain::color::{Color, PerColor};
use crate::domain::split::{Split, Weight, draw};

/// Ticks in which a network contributes once to a share of errors.
pub(super) const WINDOW: u64 = 10;
/// Bits per kind of event: among 100,000 users with one event, 1 in 20 shares a bit with an earlier one.
const BITS: usize = 1 << 22;
/// Bits for users who have been seen.
const BITS_SEEN: usize = 1 << 23;
const NETWORKS: usize = 1 << 16;
/// Networks whose later events are not held against the candidate.
pub(crate) const SPARED: u32 = 5;
const PLACES: usize = 1 + ALL;
const KINDS: usize = 4;
/// Events of the application whose spared reports are counted; none of any further event counts.
const TOLD: usize = 32;
/// With fewer events than this of each kind nothing can be proved.
const FEW: u64 = 10;
const COUNTED: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub key: u64,
    pub network: u64,
    /// The key was drawn for this request, so nobody can have known its color.
    pub drawn: bool,
}

/// 24 bits of IPv4, 48 of IPv6: the most that one client usually has.
#[must_use]
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => 1 << 63 | u64::try_from(address.to_bits() >> 80).unwrap_or(0),
    }
}

/// The classes of bad requests of which each network has an allowance of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    Error,
    ClientError,
    Abort,
    Latency,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub on_route: bool,
    pub overall: bool,
}

impl Standing {
    pub const ALL: Standing = Standing { on_route: true, overall: true };
}

#[derive(Debug)]
pub struct Users {
    pub(super) salt: u64,
    candidate: Color,
    /// Events of each kind per network; 0: as many as the network has users.
    per_network: u32,
    continued: bool,
    seen: Bits,
    counted: [Bits; KINDS],
    windows: Box<[AtomicU32]>,
    networks: Bits,
    minutes: Minutes,
    spared: Box<[AtomicU32]>,
    told: Bits,
    /// A tag, and how many of its reports were not held against the candidate; tag 0: free.
    told_spared: Box<[(AtomicU64, AtomicU32)]>,
}

impl Users {
    /// `continued`: users came to a process before this one, and may know their colors.
    #[must_use]
    pub fn new(split: Split, per_network: u32, continued: bool) -> Users {
        Users {
            salt: split.salt,
            candidate: split.candidate,
            per_network,
            continued,
            seen: Bits::new(BITS_SEEN),
            counted: std::array::from_fn(|_| Bits::new(BITS)),
            windows: (0..NETWORKS).map(|_| AtomicU32::new(0)).collect(),
            networks: Bits::new(COUNTED),
            minutes: Minutes::new(),
            spared: (0..PLACES * CLASSES).map(|_| AtomicU32::new(0)).collect(),
            told: Bits::new(BITS),
            told_spared: (0..TOLD).map(|_| Default::default()).collect(),
        }
    }

    /// True for the first request of a user.
    #[must_use]
    pub fn meet(&self, user: User) -> bool {
        let is_new = self.seen.insert(self.hash(user.key, 0, 0));
        user.drawn || is_new && !self.continued
    }

    /// Selects the requests that shares are taken of, before the outcome is known.
    #[must_use]
    pub fn take_sample(&self, user: User, tick: u64) -> bool {
        let _ = self.networks.insert(self.hash(user.network, 0, 0));
        if self.per_network == 0 {
            return true;
        }
        let window = u32::try_from((tick / WINDOW + 1) % (u32::MAX as u64)).unwrap_or(1);
        let contributes = |n: u32| {
            let place = &self.windows[self.hash(user.network, 0, n) as usize % NETWORKS];
            place.load(Ordering::Relaxed) != window && place.swap(window, Ordering::Relaxed) != window
        };
        (0..self.per_network).any(contributes)
    }

    #[must_use]
    pub fn count(&self, of: Allowance, user: User, first: bool, route: RouteId) -> Standing {
        let later = Standing {
            on_route: self.takes(&self.counted[of as usize], user, 1 + route.index() as u64),
            overall: self.takes(&self.counted[of as usize], user, 0),
        };
        if first { Standing::ALL } else { later }
    }

    /// The standing of a later event on a color. The first [`SPARED`] networks are not held against the candidate, so a
    /// stranger with a handful of networks proves nothing.
    #[must_use]
    pub fn spare(&self, standing: Standing, color: Color, route: RouteId, class: usize) -> Standing {
        if color != self.candidate || self.per_network == 0 {
            return standing;
        }
        let counts = |counts: bool, place: usize| {
            counts && self.spared[place * CLASSES + class].fetch_add(1, Ordering::Relaxed) >= SPARED * self.per_network
        };
        Standing { on_route: counts(standing.on_route, 1 + route.index()), overall: counts(standing.overall, 0) }
    }

    /// Decides by the rules of errors whether a report counts, and remembers it. A report on the candidate is held
    /// against it; where fewer are bad, a report on the other color is.
    #[must_use]
    pub fn count_report(&self, event: &AppEvent, user: User, first: bool, color: Color) -> bool {
        let takes = self.takes(&self.told, user, event.tag());
        let against = match event.kind.bad {
            Bad::More => self.candidate,
            Bad::Fewer => self.candidate.other(),
        };
        first || takes && (color != against || self.per_network == 0 || !self.spare_report(event.tag()))
    }

    fn spare_report(&self, tag: u64) -> bool {
        let tag = tag.max(1);
        let is_place = |known: &AtomicU64| {
            known.load(Ordering::Relaxed) == tag
                || known.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                || known.load(Ordering::Relaxed) == tag
        };
        let place = self.told_spared.iter().find(|(known, _)| is_place(known));
        place.is_none_or(|(_, spared)| spared.fetch_add(1, Ordering::Relaxed) < SPARED * self.per_network)
    }

    fn takes(&self, bits: &Bits, user: User, place: u64) -> bool {
        let of_user = self.hash(user.key, place, 0);
        if bits.has(of_user) {
            return false;
        }
        let left = |n: u32| bits.insert(self.hash(user.network, place, 1 + n));
        (self.per_network == 0 || (0..self.per_network).any(left)) && bits.insert(of_user)
    }

    pub fn ended(&self, user: User, color: Color, tick: u64, failed: bool) {
        let of_network = |n: u32| self.hash(user.network, 0, n);
        let places: &mut dyn Iterator<Item = u64> = if self.per_network == 0 {
            &mut std::iter::once(self.hash(user.key, 0, 0))
        } else {
            &mut (0..self.per_network).map(of_network)
        };
        self.minutes.record(places, self.hash(user.key, 1, 0), (color, tick, failed));
    }

    #[must_use]
    pub fn end_minute(&self) -> PerColor<MinuteCounts> {
        self.minutes.end()
    }

    pub(super) fn note_share(&self, weight: Weight, tick: u64) {
        self.minutes.note_share(weight, tick);
    }

    /// An estimate of the number of networks, if they are so few that their evidence says little.
    #[must_use]
    pub fn few_networks(&self) -> Option<u64> {
        let networks = self.networks.members();
        let is_little = (1..FEW).contains(&(networks * u64::from(self.per_network)));
        is_little.then_some(networks)
    }

    #[must_use]
    pub fn saved(&self) -> Vec<u8> {
        let mut saved = self.mark().to_le_bytes().to_vec();
        self.counted.iter().for_each(|bits| bits.save(&mut saved));
        saved.extend(self.spared.iter().flat_map(|spared| spared.load(Ordering::Relaxed).to_le_bytes()));
        self.told.save(&mut saved);
        for (tag, spared) in &self.told_spared {
            saved.extend(tag.load(Ordering::Relaxed).to_le_bytes());
            saved.extend(spared.load(Ordering::Relaxed).to_le_bytes());
        }
        saved
    }

    /// Takes over the counts of the process before. False: they are of another deployment, or damaged.
    pub fn restore(&self, saved: &[u8]) -> bool {
        self.read(saved).is_some()
    }

    fn read(&self, mut saved: &[u8]) -> Option<()> {
        if take(&mut saved).map(u64::from_le_bytes)? != self.mark() {
            return None;
        }
        for bits in &self.counted {
            bits.read(&mut saved)?;
        }
        for spared in &self.spared {
            spared.fetch_max(take(&mut saved).map(u32::from_le_bytes)?, Ordering::Relaxed);
        }
        if saved.is_empty() {
            // Written by a version without events.
            return Some(());
        }
        self.told.read(&mut saved)?;
        for (tag, spared) in &self.told_spared {
            tag.fetch_max(take(&mut saved).map(u64::from_le_bytes)?, Ordering::Relaxed);
            spared.fetch_max(take(&mut saved).map(u32::from_le_bytes)?, Ordering::Relaxed);
        }
        Some(())
    }

    fn mark(&self) -> u64 {
        self.hash(u64::MAX, u64::MAX, u32::MAX)
    }

    /// The salt is secret and outlives a restart: strangers can't choose whose bit they share.
    fn hash(&self, who: u64, place: u64, n: u32) -> u64 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&who.to_le_bytes());
        bytes[8..16].copy_from_slice(&place.to_le_bytes());
        bytes[16..].copy_from_slice(&n.to_le_bytes());
        draw(&bytes, self.salt)
    }
}
