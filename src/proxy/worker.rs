//! What one data-plane worker owns: nothing in here is seen by another thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::HeaderValue;

use crate::proxy::live::Live;
use crate::proxy::slot::Slots;
use crate::proxy::transport::IdleConnections;
use crate::telemetry::access_log::AccessLogger;

/// The state of one worker.
pub(crate) struct Worker {
    /// Which one; indexes everything that is kept by worker.
    pub(crate) index: usize,
    pub(crate) live: Arc<Live>,
    pub(crate) slots: Slots,
    pub(crate) idle: IdleConnections,
    pub(crate) logger: RefCell<AccessLogger>,
    /// `X-Forwarded-Port`. A copy of this worker's own: a shared one would be a reference count shared by all cores.
    pub(crate) port: HeaderValue,
    /// Connections have ended or gone idle since memory was last given back.
    pub(crate) freed: Cell<bool>,
    now: Cell<Instant>,
}

impl Worker {
    pub(crate) fn new(index: usize, live: Arc<Live>, port: u16, logger: AccessLogger) -> Worker {
        Worker {
            index,
            live,
            slots: Slots::default(),
            idle: IdleConnections::default(),
            logger: RefCell::new(logger),
            port: HeaderValue::from(port),
            freed: Cell::new(false),
            now: Cell::new(Instant::now()),
        }
    }

    /// The time at which the present poll of a connection began. One reading of the clock serves all that happens in it.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) {
        self.now.set(Instant::now());
    }

    /// A random number for one choice. The generator is the thread's own.
    pub(crate) fn draw(&self) -> u64 {
        fastrand::u64(..)
    }

    /// This worker's count of open client connections.
    pub(crate) fn connections(&self) -> &AtomicUsize {
        &self.live.connections()[self.index]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.connections().load(Ordering::Relaxed) == 0
    }
}
