//! Behaviour over real sockets, files, signals and processes. One binary, so that it links once.

mod admin;
mod application;
mod balance;
mod balancers;
mod blame;
mod book;
mod canary;
mod certificates;
mod cli;
mod client;
mod clients;
mod conformance;
mod container;

mod corpus;
mod deploy;
mod drain;
mod durability;
mod early;
mod endpoints;
mod file;
mod gate_checks;
mod giving_up;
mod grpc_ends;
mod headline;
mod hold;
mod hostile;
mod http;
mod http2;
mod http2_bounds;
mod incident;
mod large;
mod lengths;
mod linger;
#[allow(dead_code, reason = "shared with `cutover demo`, which needs more of it")]
#[path = "../../src/cli/demo/load.rs"]
mod load;
mod messages;
mod monitoring;
mod names;
mod notices;
mod on_terminal;
mod once;
mod operators;
mod orders;
mod outsider;
mod own_answers;
mod package;
mod page;
mod pipes;
mod preview;
mod proxy;
mod proxy_protocol;
mod receiver;
mod reference;
mod refused;
mod releases;
mod replaced;
mod room;
mod schema;
#[path = "../../src/cli/demo/shop.rs"]
mod shop;
mod sick_disk;
mod soak;
mod split;
mod staged;
mod start;
mod streams;
mod supply;
mod switch;
mod terminal;
mod tls;
mod told;
mod tunnel;
mod unreachable;
mod unusable;
mod versions;
mod write_back;

use std::time::{Duration, Instant};

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
