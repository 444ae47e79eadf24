//! The endpoints of one color of one upstream, and what was observed of each.
//!
//! Which of them serves a request is in [`pick`], which of them are left out for a while in [`eject`], and how one that
//! was away gets back to its share in [`slow_start`]. All times are milliseconds of [`clock`](crate::proxy::clock),
//! handed in.

mod eject;
mod pick;
mod slow_start;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::{Balance, Eject, EndpointAddress};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::proxy::pool::eject::Ejection;
use crate::sys::ports::Ports;
use crate::telemetry::meter::Count;
use crate::tls::ClientTls;

/// The endpoints of one color of one upstream. Shared by all snapshots in which it did not change.
#[derive(Debug)]
pub struct Pool {
    /// Of which upstream.
    pub upstream: Arc<str>,
    /// Of which color.
    pub color: Color,
    /// Never empty.
    pub endpoints: Box<[Arc<Endpoint>]>,
    rules: Rules,
    /// Where round robin goes on, one for each worker.
    cursors: Box<[Padded]>,
}

/// How the endpoints of a pool share its requests, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who is next.
    pub balance: Balance,
    /// When an endpoint is left out; `None`: never.
    pub eject: Option<Eject>,
    /// For how long an endpoint that was away gets less than its share; zero: it gets all of it at once.
    pub slow_start: Duration,
    /// HTTP/2, and not HTTP/1.1.
    pub http2: bool,
    /// `None`: plain. Compared by identity: another one is another trust.
    pub tls: Option<Arc<ClientTls>>,
}

/// Least requests, nothing is ejected, no slow start; plain HTTP/1.1.
impl Default for Rules {
    fn default() -> Rules {
        Rules { balance: Balance::LeastRequests, eject: None, slow_start: Duration::ZERO, http2: false, tls: None }
    }
}

impl Rules {
    /// Whether connections that were made under these rules can be used under those.
    pub(crate) fn connects_like(&self, other: &Rules) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same_tls && self.http2 == other.http2
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.connects_like(other)
            && self.balance == other.balance
            && self.eject == other.eject
            && self.slow_start == other.slow_start
    }
}

/// One address, and what was observed of it.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in the process; names this endpoint's connections in each worker.
    pub id: u64,
    /// As configured.
    pub address: EndpointAddress,
    /// `address` as text, made once.
    pub name: Box<str>,
    /// A [`Health`].
    health: AtomicU8,
    /// When it last came up after it had been down; 0: never.
    came_up: AtomicU64,
    ejection: Ejection,
    /// What a name stands for at present (empty: never resolved yet). Unused for IP and unix addresses.
    pub resolved: ArcSwap<Vec<SocketAddr>>,
    /// Where connections to it come from.
    pub(crate) ports: Arc<Ports>,
    /// Requests in flight, one count for each worker.
    load: Box<[Padded]>,
}

/// On a cache line of its own: each worker writes one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Count);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// A new endpoint of which nothing is known.
    #[must_use]
    pub fn new(address: EndpointAddress, workers: usize) -> Endpoint {
        Endpoint {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: address.to_string().into(),
            address,
            health: AtomicU8::new(Health::Unknown as u8),
            came_up: AtomicU64::new(0),
            ejection: Ejection::default(),
            resolved: ArcSwap::default(),
            ports: Arc::default(),
            load: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// What is known of it.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Up,
            _ => Health::Down,
        }
    }

    /// Set by the prober alone.
    pub fn set_health(&self, health: Health, now: u64) {
        if health == Health::Up && self.health() == Health::Down {
            self.came_up.store(now, Ordering::Relaxed);
        }
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// Until when it is left out of the choice because it failed too often; `None`: it is not.
    pub fn ejected_until(&self, now: u64) -> Option<u64> {
        self.ejection.in_force(now)
    }

    /// This worker's requests in flight.
    pub(crate) fn load(&self, worker: usize) -> &Count {
        &self.load[worker].0
    }
}

impl Pool {
    /// A pool of these endpoints, for so many workers.
    #[must_use]
    pub fn new(
        upstream: Arc<str>,
        color: Color,
        endpoints: Box<[Arc<Endpoint>]>,
        rules: Rules,
        workers: usize,
    ) -> Pool {
        let cursor = |worker: usize| {
            let cursor = Padded::default();
            cursor.0.add((worker * endpoints.len() / workers) as u64);
            cursor
        };
        Pool { cursors: (0..workers).map(cursor).collect(), upstream, color, endpoints, rules }
    }

    /// How its endpoints share its requests.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

#[cfg(test)]
mod tests;
