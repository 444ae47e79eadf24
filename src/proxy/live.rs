//! The control side's grip on the data plane: publishing snapshots, and the drains that follow.
//! (Interface first; the data plane's author fills it in.)

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::color::{Color, PerColor};
use crate::domain::transition::Decision;
use crate::proxy::pool::Pool;
use crate::telemetry::meter::Meters;

/// Publishes. Owned by the controller; nothing else can change what is live.
#[derive(Debug)]
pub struct Publisher {
    _private: (),
}

impl Publisher {
    /// Compiles the configuration and the decision into one new snapshot and swaps it in. Unchanged pools, endpoints
    /// (same color, upstream and address) and meters are reused, with their health and connections. When the decision
    /// names another color than before, the drain of the color that was retired is returned.
    pub fn publish(&mut self, _config: &Config, _decision: &Decision) -> Option<Drain> {
        None
    }

    /// The pools of both colors in the present snapshot, for the prober.
    pub fn pools(&self) -> &PerColor<Vec<Arc<Pool>>> {
        unreachable!()
    }

    /// All meters.
    pub fn meters(&self) -> &Arc<Meters> {
        unreachable!()
    }

    /// What the readiness path answers: 200 or 503. (False before the first publish and from the begin of a shutdown.)
    pub fn set_ready(&self, _ready: bool) {}

    /// Open client connections now.
    pub fn open_connections(&self) -> u64 {
        0
    }
}

/// The end of everything that began on a color before it was retired.
#[derive(Debug)]
pub struct Drain {
    /// The retired color.
    pub color: Color,
}

impl Drain {
    /// Resolves when the last lease is dropped. Cancel safe.
    pub async fn drained(&mut self) {}

    /// Ends what is left: requests get 504, bodies and tunnels are cut. `drained` resolves soon after.
    pub fn end(&self) {}

    /// Closes the tunnels only (`drain.streams = "close"`).
    pub fn close_tunnels(&self) {}

    /// Closes the workers' idle connections to that color's endpoints.
    pub fn close_idle(&self) {}
}

/// Everything the data plane needs from its environment at the start.
#[derive(Debug)]
pub struct Plane {
    _private: (),
}

impl Plane {
    /// Makes the publisher and binds one listener for each worker (`SO_REUSEPORT`). Nothing is served yet.
    pub fn bind(_config: &Config) -> std::io::Result<(Plane, Publisher)> {
        unreachable!()
    }

    /// Where it listens (port 0 resolved).
    pub fn local_addr(&self) -> std::net::SocketAddr {
        unreachable!()
    }

    /// Starts the worker threads. Call after the first `publish`.
    pub fn start(&mut self, _access_log: &crate::telemetry::access_log::AccessLogWriter) -> std::io::Result<()> {
        Ok(())
    }

    /// Accepts what waits, closes the listeners and idle connections; busy ones get `Connection: close`. Resolves when
    /// every connection is gone, or cuts what is left at `deadline`; then joins the threads.
    pub async fn shut_down(self, _grace: Duration) {}
}
