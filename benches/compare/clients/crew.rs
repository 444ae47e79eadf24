//! Clients of any kind that share a number of requests and are all busy until the last one is taken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::report::histogram::Histogram;

/// A client that does one thing again and again.
pub(crate) trait Worker: Send + 'static {
    /// Makes one request; anything but the right answer to it is an error.
    fn step(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Some of them.
pub(crate) struct Crew<W>(pub(crate) Vec<W>);

impl<W: Worker> Crew<W> {
    /// Makes so many requests; each has to succeed.
    pub(crate) async fn work(&mut self, requests: u64) -> Histogram {
        let left = Arc::new(AtomicU64::new(requests));
        let mut running = JoinSet::new();
        for mut worker in self.0.drain(..) {
            let left = Arc::clone(&left);
            running.spawn(async move {
                let mut latencies = Histogram::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let sent = Instant::now();
                    worker.step().await.expect("a good answer");
                    latencies.record(sent.elapsed());
                }
                (worker, latencies)
            });
        }
        let mut latencies = Histogram::new();
        while let Some(ended) = running.join_next().await {
            let (worker, more) = ended.expect("no client failed");
            self.0.push(worker);
            latencies.add(&more);
        }
        latencies
    }
}
