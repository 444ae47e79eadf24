//! Which requests are evidence where users stay on one color. docs/blame.md says why ("Strangers and evidence").
//!
//! A user's requests all come from one toss of the coin, and whoever knows the color of a user can choose what to ask
//! for. So
//!
//! - a user's **first request** of a deployment counts: it was chosen before its color could be known;
//! - of **later requests** each *network* of clients (IPv4 /24, IPv6 /48) contributes so many events of each class as
//!   `per_network` says, on each route, and on all of them together; and each user one of them;
//! - of later events on the candidate those of the first [`SPARED`] networks are left out;
//! - of the requests that a *share* of errors is taken of, a network contributes `per_network` in [`WINDOW`] ticks.
//!
//! Memory is bits, found by hash: two users may share one, and then something of the second is not counted. Never is
//! anything counted that must not be. Of two workers at the same moment exactly one has to be the first, so there is
//! one bit and not several.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::minutes::{MinuteCounts, Minutes};
use super::told::AppEvent;
use super::{ALL, CLASSES, RouteId};
use crate::domain::analysis::Bad;
use crate::domain::color::{Color, PerColor};
use crate::domain::split::{Split, Weight, draw};

/// A network contributes to a share of errors once in so many ticks.
pub(super) const WINDOW: u64 = 10;
/// 2^22 bits for each kind of event: of 100,000 users with one event, one of 20 shares a bit with one before.
const BITS: usize = 1 << 22;
/// 2^23 bits of users who have been here.
const BITS_SEEN: usize = 1 << 23;
/// Networks that are told apart within a [`WINDOW`].
const NETWORKS: usize = 1 << 16;
/// Later events of so many networks are not held against the candidate.
pub(crate) const SPARED: u32 = 5;
/// All routes together, and each.
const PLACES: usize = 1 + ALL;
/// Errors, 4xx, clients that leave, and latency.
const KINDS: usize = 4;
/// Different events of the application whose spared ones are counted; of more none counts.
const TOLD: usize = 32;
/// Below so many events for each kind nothing is ever proved.
const FEW: u64 = 10;
/// Bits of the networks that are counted, see [`Users::few_networks`].
const COUNTED: usize = 1 << 10;

/// A user, and where from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// A hash of what stays the same.
    pub key: u64,
    /// The network of the client's address.
    pub network: u64,
    /// The key was drawn for this request, so that nobody can have known its color.
    pub drawn: bool,
}

/// The network of an address: 24 bits of IPv4, 48 of IPv6, which is what one client has at most.
#[must_use]
pub(crate) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => 1 << 63 | u64::try_from(address.to_bits() >> 80).unwrap_or(0),
    }
}

/// A kind of event, of which users and networks have a bounded number each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// See [`Class`](crate::domain::verdict::Class).
    Error,
    /// 4xx.
    ClientError,
    /// The client left.
    Abort,
    /// A request whose latency is judged, slow or not.
    Latency,
}

/// Where an event counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// On its route.
    pub on_route: bool,
    /// Among those of all routes together.
    pub overall: bool,
}

impl Standing {
    /// Everywhere.
    pub const ALL: Standing = Standing { on_route: true, overall: true };
}

/// The users of a deployment.
#[derive(Debug)]
pub struct Users {
    /// Of the deployment; each has another one.
    pub(super) salt: u64,
    candidate: Color,
    /// Events of a network of each kind; 0: as many as it has users.
    per_network: u32,
    /// Somebody else may have seen users before.
    continued: bool,
    seen: Bits,
    counted: [Bits; KINDS],
    /// By network: the window in which it last contributed.
    windows: Box<[AtomicU32]>,
    networks: Bits,
    minutes: Minutes,
    /// Events that were not held against the candidate, by place and class.
    spared: Box<[AtomicU32]>,
    /// Events of the application, by their tags.
    told: Bits,
    /// Which, and how many were not held against the candidate; 0: none yet.
    told_spared: Box<[(AtomicU64, AtomicU32)]>,
}

impl Users {
    /// Nobody has been here. `continued`: users have come in a process before this one, and their colors may be known.
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

    /// Whether a request was chosen before its color could be known.
    #[must_use]
    pub fn is_first(&self, user: User) -> bool {
        let is_new = self.seen.insert(self.hash(user.key, 0, 0));
        user.drawn || is_new && !self.continued
    }

    /// Whether a request is one of those that shares are taken of: decided before its outcome is known.
    #[must_use]
    pub fn is_sampled(&self, user: User, tick: u64) -> bool {
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

    /// Where an event of this user counts; also remembers it.
    #[must_use]
    pub fn count(&self, event: Event, user: User, first: bool, route: RouteId) -> Standing {
        let later = Standing {
            on_route: self.takes(&self.counted[event as usize], user, 1 + route.index() as u64),
            overall: self.takes(&self.counted[event as usize], user, 0),
        };
        if first { Standing::ALL } else { later }
    }

    /// What remains of a later event on a color. Those of the first [`SPARED`] networks are not held against the
    /// candidate, so that a stranger with a handful of networks proves nothing.
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

    /// Whether an event that the application tells of a user on a color counts; also remembers it. The rules are those
    /// of errors. Held against the candidate is what is bad on it, or, where fewer are bad, what is there on the other
    /// color.
    #[must_use]
    pub fn counts(&self, event: &AppEvent, user: User, first: bool, color: Color) -> bool {
        let takes = self.takes(&self.told, user, event.tag());
        let against = match event.kind.bad {
            Bad::More => self.candidate,
            Bad::Fewer => self.candidate.other(),
        };
        first || takes && (color != against || self.per_network == 0 || !self.spares(event.tag()))
    }

    fn spares(&self, tag: u64) -> bool {
        let tag = tag.max(1);
        let is_place = |known: &AtomicU64| {
            known.load(Ordering::Relaxed) == tag
                || known.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                || known.load(Ordering::Relaxed) == tag
        };
        let place = self.told_spared.iter().find(|(known, _)| is_place(known));
        place.is_none_or(|(_, spared)| spared.fetch_add(1, Ordering::Relaxed) < SPARED * self.per_network)
    }

    /// Whether the user has no such event yet, and the network has one left.
    fn takes(&self, bits: &Bits, user: User, place: u64) -> bool {
        let of_user = self.hash(user.key, place, 0);
        if bits.has(of_user) {
            return false;
        }
        let left = |n: u32| bits.insert(self.hash(user.network, place, 1 + n));
        (self.per_network == 0 || (0..self.per_network).any(left)) && bits.insert(of_user)
    }

    /// A request that was given to a color in `tick` is over.
    pub fn ended(&self, user: User, color: Color, tick: u64, failed: bool) {
        let of_network = |n: u32| self.hash(user.network, 0, n);
        let places: &mut dyn Iterator<Item = u64> = if self.per_network == 0 {
            &mut std::iter::once(self.hash(user.key, 0, 0))
        } else {
            &mut (0..self.per_network).map(of_network)
        };
        self.minutes.record(places, self.hash(user.key, 1, 0), (color, tick, failed));
    }

    /// Ends a minute, and counts its users.
    #[must_use]
    pub fn end_minute(&self) -> PerColor<MinuteCounts> {
        self.minutes.end()
    }

    /// The candidate has this weight from now on.
    pub(super) fn note_share(&self, weight: Weight, tick: u64) {
        self.minutes.note_share(weight, tick);
    }

    /// From how many networks requests came, about, if they are so few that their evidence says little.
    #[must_use]
    pub fn few_networks(&self) -> Option<u64> {
        let networks = self.networks.members();
        let is_little = (1..FEW).contains(&(networks * u64::from(self.per_network)));
        is_little.then_some(networks)
    }

    /// Whose events were counted, for a process after this one.
    #[must_use]
    pub fn counted(&self) -> Vec<u8> {
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

    /// Remembers what a process before this one has counted. False: it is of other users, or damaged.
    pub fn remember(&self, saved: &[u8]) -> bool {
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
            // By a version in which the application told nothing.
            return Some(());
        }
        self.told.read(&mut saved)?;
        for (tag, spared) in &self.told_spared {
            tag.fetch_max(take(&mut saved).map(u64::from_le_bytes)?, Ordering::Relaxed);
            spared.fetch_max(take(&mut saved).map(u32::from_le_bytes)?, Ordering::Relaxed);
        }
        Some(())
    }

    /// Nobody else has this one.
    fn mark(&self) -> u64 {
        self.hash(u64::MAX, u64::MAX, u32::MAX)
    }

    /// Under the salt, which is secret and the same after a restart: strangers can't choose who shares a bit.
    fn hash(&self, who: u64, place: u64, n: u32) -> u64 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&who.to_le_bytes());
        bytes[8..16].copy_from_slice(&place.to_le_bytes());
        bytes[16..].copy_from_slice(&n.to_le_bytes());
        draw(&bytes, self.salt)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

/// A set by hash.
#[derive(Debug)]
struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(bits: usize) -> Bits {
        Bits((0..bits / 64).map(|_| AtomicU64::new(0)).collect())
    }

    fn save(&self, saved: &mut Vec<u8>) {
        let words =
            || self.0.iter().map(|word| word.load(Ordering::Relaxed)).zip(0_u32..).filter(|(word, _)| *word != 0);
        saved.extend(u32::try_from(words().count()).unwrap_or(0).to_le_bytes());
        for (word, place) in words() {
            saved.extend(place.to_le_bytes());
            saved.extend(word.to_le_bytes());
        }
    }

    fn read(&self, saved: &mut &[u8]) -> Option<()> {
        for _ in 0..take(saved).map(u32::from_le_bytes)? {
            let place = take(saved).map(u32::from_le_bytes)?;
            let word = take(saved).map(u64::from_le_bytes)?;
            self.0.get(place as usize)?.fetch_or(word, Ordering::Relaxed);
        }
        Some(())
    }

    fn place(&self, hash: u64) -> (&AtomicU64, u64) {
        (&self.0[hash as usize % self.0.len()], 1 << (hash >> 58))
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Whether it was not there. Most are, and a look takes the line from nobody.
    fn insert(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// How many there are, going by the bits that are taken (linear counting).
    fn members(&self) -> u64 {
        let bits = self.0.len() as u64 * 64;
        let taken: u64 = self.0.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum();
        let free = (bits - taken).max(1) as f64 / bits as f64;
        (-(bits as f64) * free.ln()).round() as u64
    }
}
