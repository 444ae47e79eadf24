//! The hold that a request has on the color that serves it, and the end of all of them.
//!
//! A color is drained when its last [`Lease`] is dropped. A snapshot keeps one lease per worker and upstream, so that
//! no reference count is shared between cores. A request holds an
//! [`Admission`](crate::proxy::snapshot::admission::Admission), and with it its lease, to the last byte of its
//! answer. A counter of requests would be wrong: one read between "loaded the snapshot" and "registered" misses a
//! request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Epoch {
    /// Unique in the process, never 0.
    pub(crate) id: u64,
    leases: AtomicUsize,
    empty: Notify,
}

/// One worker's hold on a color.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Epoch>);

impl Epoch {
    pub(crate) fn new(id: u64) -> Arc<Epoch> {
        Arc::new(Epoch { id, leases: AtomicUsize::new(0), empty: Notify::new() })
    }

    pub(crate) fn lease(self: &Arc<Epoch>) -> Lease {
        self.leases.fetch_add(1, Ordering::Relaxed);
        Lease(Arc::clone(self))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.leases.load(Ordering::Acquire) == 0
    }

    pub(crate) async fn over(&self) {
        loop {
            let notified = self.empty.notified();
            if self.is_over() {
                return;
            }
            notified.await;
        }
    }
}

impl Lease {
    pub(crate) fn epoch(&self) -> u64 {
        self.0.id
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.leases.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}
