//! The endpoints of one color of one upstream, and the choice among them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::config::EndpointAddress;
use crate::domain::color::Color;
use crate::domain::health::Health;
use crate::telemetry::meter::Count;

/// The endpoints of one color of one upstream. Shared by all snapshots in which it did not change.
#[derive(Debug)]
pub struct Pool {
    /// Of which upstream.
    pub upstream: Arc<str>,
    /// Of which color.
    pub color: Color,
    /// Never empty.
    pub endpoints: Box<[Arc<Endpoint>]>,
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
    health: AtomicU8,
    /// What a name stands for at present (empty: never resolved yet). Unused for IP and unix addresses.
    pub resolved: ArcSwap<Vec<SocketAddr>>,
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
            resolved: ArcSwap::default(),
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
    pub fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// This worker's requests in flight.
    pub(crate) fn load(&self, worker: usize) -> &Count {
        &self.load[worker].0
    }
}

impl Pool {
    /// Picks an endpoint by the power of two choices: of two that are drawn, the one with fewer requests of this worker
    /// in flight (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). Endpoints that are up
    /// come first, those of which nothing is known yet next, those that are down never; `tried` are left out.
    /// `None`: there is none left.
    pub(crate) fn pick(&self, worker: usize, draw: u64, tried: &[usize]) -> Option<usize> {
        if let [only] = &*self.endpoints {
            return (only.health() != Health::Down && tried.is_empty()).then_some(0);
        }
        self.pick_with(Health::Up, worker, draw, tried).or_else(|| self.pick_with(Health::Unknown, worker, draw, tried))
    }

    fn pick_with(&self, health: Health, worker: usize, draw: u64, tried: &[usize]) -> Option<usize> {
        let candidate = |index: &usize| self.endpoints[*index].health() == health && !tried.contains(index);
        let candidates = (0..self.endpoints.len()).filter(candidate).count();
        let nth = |n: usize| (0..self.endpoints.len()).filter(candidate).nth(n);
        match candidates {
            0 => None,
            1 => nth(0),
            count => {
                let high = usize::try_from(draw >> 32).unwrap_or(0);
                let low = usize::try_from(draw & 0xffff_ffff).unwrap_or(0);
                let first = high % count;
                // Any but the first, each with the same chance.
                let second = (first + 1 + low % (count - 1)) % count;
                let (first, second) = (nth(first)?, nth(second)?);
                let less = self.endpoints[second].load(worker).get() < self.endpoints[first].load(worker).get();
                Some(if less { second } else { first })
            }
        }
    }
}

#[cfg(test)]
mod tests;
