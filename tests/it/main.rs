//! Behaviour over real sockets, files, signals and processes. One binary, so that it links once.

mod admin;
mod canary;
mod cli;
mod deploy;
mod files;
mod fixture;
#[allow(dead_code, reason = "shared with `cutover demo`, which needs more of it")]
#[path = "../../src/cli/demo/load.rs"]
mod load;
mod notices;
mod requests;
mod server;
#[path = "../../src/cli/demo/shop.rs"]
mod shop;
mod state;
mod suites;
mod switch;
mod units;
mod upgrade;

use std::time::{Duration, Instant};

use fixture::{application, certificates, client, http2, proxy, receiver, staged};

/// How long a test waits for what must come about. Only ever reached by one that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds what it looks for.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails instead of hanging.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: nothing came of it"),
    }
}
