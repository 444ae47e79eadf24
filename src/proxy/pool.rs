//! The endpoints of one color of one upstream, and what was observed of each.
//!
//! Which of them serves a request is in [`pick`], which of them are left out for a while in [`eject`], and how one that
//! was away gets back to its share in [`slow_start`]. All times are milliseconds of [`clock`](crate::proxy::clock),
//! handed in.

mod eject;
mod evidence;
pub(crate) mod name;
mod pick;
mod slow_start;
pub(crate) mod stated;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Balance, Eject, EndpointAddress};
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::proxy::pool::eject::Ejection;
use crate::proxy::pool::evidence::Evidence;
use crate::proxy::pool::name::Resolution;
use crate::proxy::pool::stated::LastStated;
use crate::sys::ports::Ports;
use crate::telemetry::meter::Count;
use crate::tls::ClientTls;
use crate::wire::http1::parse::AnswerLimits;

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
    /// Over HTTP/2, a connection that was silent for so long is asked whether it is there, and has so long to answer.
    pub ping_timeout: Duration,
    /// Fields of an answer at most.
    pub max_response_headers: usize,
    /// Bytes of an answer's head at most.
    pub max_response_header_bytes: usize,
}

/// Least requests, nothing is ejected, no slow start; plain HTTP/1.1.
impl Default for Rules {
    fn default() -> Rules {
        Rules {
            balance: Balance::LeastRequests,
            eject: None,
            slow_start: Duration::ZERO,
            http2: false,
            tls: None,
            ping_timeout: Duration::from_secs(5),
            max_response_headers: AnswerLimits::DEFAULT.fields,
            max_response_header_bytes: AnswerLimits::DEFAULT.bytes,
        }
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
        same_tls
            && self.http2 == other.http2
            && self.ping_timeout == other.ping_timeout
            && self.limits() == other.limits()
    }

    /// What the head of an answer may be.
    pub(crate) fn limits(&self) -> AnswerLimits {
        AnswerLimits { fields: self.max_response_headers, bytes: self.max_response_header_bytes }
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
    /// As configured. A name has an endpoint for each of its addresses.
    pub address: EndpointAddress,
    /// Where connections go.
    pub target: Target,
    /// What it is called in the status, logs and metrics: `address` as text, behind a name with the address in
    /// brackets.
    pub name: Box<str>,
    /// The name that it is an address of.
    pub resolution: Option<Arc<Resolution>>,
    /// It joined a name that had addresses before: it serves only after `health.rise` passes.
    pub joins: bool,
    /// The name stands for it no more; it serves until another address of the name is up.
    leaving: AtomicBool,
    /// A [`Health`].
    health: AtomicU8,
    /// When it last came up after it had been down; 0: never.
    came_up: AtomicU64,
    ejection: Ejection,
    evidence: Evidence,
    /// Which release it says it is.
    pub(crate) stated: LastStated,
    /// Where connections to it come from.
    pub(crate) ports: Arc<Ports>,
    /// Requests in flight, one count for each worker.
    load: Box<[Padded]>,
}

/// Where the connections of an endpoint go.
#[derive(Clone, Debug)]
pub enum Target {
    /// To this address.
    Tcp(SocketAddr),
    /// To the socket that is its configured address.
    Unix,
    /// Nowhere yet: no address of the name is known.
    Unresolved(Arc<Resolution>),
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Tcp(one), Target::Tcp(other)) => one == other,
            (Target::Unix, Target::Unix) => true,
            (Target::Unresolved(one), Target::Unresolved(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// On a cache line of its own: each worker writes one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Count);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// A new endpoint of which nothing is known. A name is resolved by nobody: see [`Endpoint::of_name`].
    #[must_use]
    pub fn new(address: EndpointAddress, workers: usize) -> Endpoint {
        let target = match &address {
            EndpointAddress::Ip(address) => Target::Tcp(*address),
            EndpointAddress::Unix(_) => Target::Unix,
            EndpointAddress::Name { .. } | EndpointAddress::Service { .. } => Target::Unresolved(Arc::default()),
        };
        Endpoint::to(address, target, None, workers)
    }

    /// One address of a name, or the name itself while none is known.
    #[must_use]
    pub fn of_name(
        address: EndpointAddress,
        resolution: &Arc<Resolution>,
        at: Option<SocketAddr>,
        joins: bool,
        workers: usize,
    ) -> Endpoint {
        let target = at.map_or_else(|| Target::Unresolved(Arc::clone(resolution)), Target::Tcp);
        Endpoint { joins, ..Endpoint::to(address, target, Some(Arc::clone(resolution)), workers) }
    }

    fn to(address: EndpointAddress, target: Target, resolution: Option<Arc<Resolution>>, workers: usize) -> Endpoint {
        let name = match (&address, &target) {
            (EndpointAddress::Name { .. }, Target::Tcp(at)) => format!("{address} ({})", at.ip()),
            (EndpointAddress::Service { .. }, Target::Tcp(at)) => format!("{address} ({at})"),
            _ => address.to_string(),
        };
        Endpoint {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            address,
            target,
            resolution,
            joins: false,
            leaving: AtomicBool::new(false),
            health: AtomicU8::new(Health::Unknown as u8),
            came_up: AtomicU64::new(0),
            ejection: Ejection::default(),
            evidence: Evidence::default(),
            stated: LastStated::default(),
            ports: Arc::default(),
            load: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// Whether the name stands for it no more, and nothing else of the name is up.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leaving(&self, leaving: bool) {
        if self.leaving.swap(leaving, Ordering::Relaxed) && !leaving {
            // Whoever has the address now may be somebody else.
            self.renew(Instant::now());
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
