//! Clients that come and go: each asks without a pause, notes every request, and renews its connection now and then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cutover::internals::domain::color::Color;
use tokio::time::sleep;

use crate::clients::connection::{Connection, GET};

/// After so many requests a connection is closed, and another one opened.
pub(crate) const REQUESTS_PER_CONNECTION: usize = 50;

/// One request.
pub(crate) struct Seen {
    pub(crate) sent: Instant,
    pub(crate) done: Instant,
    /// Who answered; nobody if it failed.
    pub(crate) color: Option<Color>,
}

/// Asks until it is told to stop, and notes everything. A request that fails is not made again.
pub(crate) async fn visit(to: SocketAddr, stop: Arc<AtomicBool>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut open: Option<(Connection, usize)> = None;
    while !stop.load(Ordering::Relaxed) {
        let usable = match open.take() {
            Some(usable) => Ok(usable),
            None => Connection::open(to).await.map(|connection| (connection, 0)),
        };
        let sent = Instant::now();
        let asked = async {
            let (mut connection, requests) = usable?;
            let answer = connection.ask(GET).await?;
            std::io::Result::Ok((connection, requests + 1, answer))
        };
        let color = match asked.await {
            Ok((connection, requests, answer)) => {
                open = Some((connection, requests)).filter(|_| !answer.close && requests < REQUESTS_PER_CONNECTION);
                answer.success()
            }
            Err(_) => None,
        };
        seen.push(Seen { sent, done: Instant::now(), color });
        if color.is_none() {
            // A proxy that is down is not asked as fast as this machine can.
            sleep(Duration::from_millis(1)).await;
        }
    }
    seen
}
