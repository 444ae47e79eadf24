//! Clients of any kind that share a number of requests and are all busy until the last one is taken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// A client that does one thing again and again.
pub(crate) trait Worker: Send + 'static {
    /// Makes one request; anything but the right answer to it is an error.
    fn step(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Some of them.
pub(crate) struct Crew<W>(pub(crate) Vec<W>);

impl<W: Worker> Crew<W> {
    /// Makes so many requests; each has to succeed. Returns how long it took.
    pub(crate) async fn work(&mut self, requests: u64) -> Duration {
        let left = Arc::new(AtomicU64::new(requests));
        let mut running = JoinSet::new();
        let began = Instant::now();
        for mut worker in self.0.drain(..) {
            let left = Arc::clone(&left);
            running.spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    worker.step().await.expect("a good answer");
                }
                worker
            });
        }
        while let Some(worker) = running.join_next().await {
            self.0.push(worker.expect("no client failed"));
        }
        began.elapsed()
    }
}
