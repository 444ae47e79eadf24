//! Signs of life of the workers, for the watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ENDED: u64 = u64::MAX;

/// Loop turns of each worker. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<[AtomicU64]>);

impl Progress {
    pub(crate) fn new(workers: usize) -> Progress {
        Progress((0..workers).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn turn(&self, worker: usize) {
        self.0[worker].fetch_add(1, Ordering::Relaxed);
    }

    /// A worker that has ended is waited for by nobody.
    pub(crate) fn end(&self, worker: usize) {
        self.0[worker].store(ENDED, Ordering::Relaxed);
    }

    /// Every worker has turned since `before`, or has ended.
    pub(crate) fn all_turned(&self, before: &[u64]) -> bool {
        self.turns().iter().zip(before).all(|(now, before)| now != before || *now == ENDED)
    }

    pub(crate) fn turns(&self) -> Vec<u64> {
        self.0.iter().map(|turns| turns.load(Ordering::Relaxed)).collect()
    }
}
