//! The queue of held requests.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::HoldConfig;
use crate::telemetry::metrics::{Ending, Waiting};

/// Summed over all workers; touched only while requests are held.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    ended: [AtomicU64; 4],
}

pub(crate) struct Place<'a> {
    queue: &'a Queue,
    bytes: usize,
    pub(crate) ending: Ending,
}

impl Queue {
    pub(crate) fn enter(&self, bytes: usize, limits: &HoldConfig) -> Option<Place<'_>> {
        let take = |count: &AtomicUsize, n: usize, max: usize| {
            let more = |taken: usize| taken.checked_add(n).filter(|taken| *taken <= max);
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        };
        if take(&self.requests, 1, limits.max_requests) {
            if take(&self.bytes, bytes, limits.max_bytes) {
                return Some(Place { queue: self, bytes, ending: Ending::ClientLeft });
            }
            self.requests.fetch_sub(1, Ordering::Relaxed);
        }
        self.count(Ending::Full);
        None
    }

    fn count(&self, ending: Ending) {
        self.ended[ending as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            ended: std::array::from_fn(|index| self.ended[index].load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.requests.fetch_sub(1, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.queue.count(self.ending);
    }
}
