//! The endpoints of one color of one upstream, and the observations of each.
//!
//! [`pick`] chooses an endpoint for a request, [`eject`] leaves some out for a while, [`slow_start`] brings them back
//! to their share. Times are milliseconds of [`clock`](crate::proxy::clock).

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

/// Shared by all snapshots in which it did not change.
#[derive(Debug)]
pub struct Pool {
    pub upstream: Arc<str>,
    pub color: Color,
    /// Never empty.
    pub endpoints: Box<[Arc<Endpoint>]>,
    rules: Rules,
    cursors: Box<[Padded]>,
}

#[derive(Clone, Debug)]
pub struct Rules {
    pub balance: Balance,
    pub eject: Option<Eject>,
    pub slow_start: Duration,
    /// HTTP/2 only; else HTTP/1.1.
    pub http2: bool,
    /// `None`: plain. Compared by identity: another object is another trust.
    pub tls: Option<Arc<ClientTls>>,
    /// HTTP/2: a connection that was silent for this long gets a ping, and has as long to answer.
    pub ping_timeout: Duration,
    pub max_response_headers: usize,
    pub max_response_header_bytes: usize,
}

/// Least requests, no ejection, no slow start; plain HTTP/1.1.
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
    /// Connections made under these rules can be used under those.
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

#[derive(Debug)]
pub struct Endpoint {
    pub id: u64,
    /// As configured. A name has an endpoint for each of its addresses.
    pub address: EndpointAddress,
    pub target: Target,
    /// The name in status, logs and metrics: `address`, for a name with the IP address in brackets.
    pub name: Box<str>,
    pub resolution: Option<Arc<Resolution>>,
    /// The name had addresses before this one: it serves only after `health.rise` passes.
    pub joins: bool,
    /// The name no longer has this address; it serves until another address of the name is up.
    leaving: AtomicBool,
    /// A [`Health`].
    health: AtomicU8,
    /// The last time that it came up after being down; 0: never.
    came_up: AtomicU64,
    ejection: Ejection,
    evidence: Evidence,
    /// The release that its answers name.
    pub(crate) stated: LastStated,
    pub(crate) ports: Arc<Ports>,
    load: Box<[Padded]>,
}

#[derive(Clone, Debug)]
pub enum Target {
    Tcp(SocketAddr),
    Unix,
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

/// On a cache line of its own, because each worker writes one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(Count);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Endpoint {
    /// Resolves no name: see [`Endpoint::of_name`].
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

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leaving(&self, leaving: bool) {
        if self.leaving.swap(leaving, Ordering::Relaxed) && !leaving {
            // Another process may have the address now.
            self.renew(Instant::now());
        }
    }

    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Up,
            _ => Health::Down,
        }
    }

    /// For the prober only.
    pub fn set_health(&self, health: Health, now: u64) {
        if health == Health::Up && self.health() == Health::Down {
            self.came_up.store(now, Ordering::Relaxed);
        }
        self.health.store(health as u8, Ordering::Relaxed);
    }

    pub fn ejected_until(&self, now: u64) -> Option<u64> {
        self.ejection.in_force(now)
    }

    pub(crate) fn load(&self, worker: usize) -> &Count {
        &self.load[worker].0
    }
}

impl Pool {
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

    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

#[cfg(test)]
mod tests;
