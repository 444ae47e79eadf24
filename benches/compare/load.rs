//! The clients: connections that stay open and ask again as soon as they were answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Connection, GET};

/// Open connections to one proxy.
pub(crate) struct Clients(Vec<Connection>);

impl Clients {
    pub(crate) async fn connect(to: SocketAddr, count: usize) -> Clients {
        let mut connections = Vec::with_capacity(count);
        while connections.len() < count {
            connections.push(Connection::open(to).await.expect("the proxy accepts"));
        }
        Clients(connections)
    }

    /// Makes so many requests; each has to succeed. All connections are busy until the last request is taken. Returns how
    /// long it took.
    pub(crate) async fn ask(&mut self, requests: u64) -> Duration {
        let left = Arc::new(AtomicU64::new(requests));
        let mut running = JoinSet::new();
        let began = Instant::now();
        for mut connection in self.0.drain(..) {
            let left = Arc::clone(&left);
            running.spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let answer = connection.ask(GET).await.expect("an answer");
                    assert!(answer.success().is_some() && !answer.close, "a good answer, and not {answer:?}");
                }
                connection
            });
        }
        while let Some(connection) = running.join_next().await {
            self.0.push(connection.expect("no client failed"));
        }
        began.elapsed()
    }
}
