//! The endpoints of one color of one upstream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arc_swap::ArcSwap;

use crate::config::EndpointAddress;
use crate::domain::color::Color;
use crate::domain::health::Health;

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
}

impl Endpoint {
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
}
