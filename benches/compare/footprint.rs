//! What a proxy needs before and between requests: the time of its start, and resident memory.

use std::time::Duration;

use tokio::time::sleep;

use crate::Bench;
use crate::load::Clients;
use crate::proxies::{Kind, Proxy};
use crate::table::{self, median};

const STARTS: usize = 10;
const IDLE_CONNECTIONS: usize = 5000;
/// Longer than what any of the proxies keeps for a connection that may soon be used again.
const SETTLE: Duration = Duration::from_secs(4);

pub(crate) async fn run(bench: &Bench) {
    let mut rows = Vec::new();
    for kind in bench.programs.kinds().into_iter().filter(|kind| *kind != Kind::Relay) {
        rows.push(measure(kind, bench).await);
    }
    let title = format!(
        "Footprint: start to the first answer (median of {STARTS}), resident MiB (of nginx: both processes), and what \
         each of {IDLE_CONNECTIONS} idle keep-alive connections adds"
    );
    let head = ["proxy", "start ms", "started", "after 2 s", "after load", "with all idle", "KiB/connection"];
    table::print(&title, head, &rows);
}

async fn measure(kind: Kind, bench: &Bench) -> [String; 7] {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Proxy::start(kind, bench).await.start.as_secs_f64() * 1e3);
    }

    let proxy = Proxy::start(kind, bench).await;
    let started = proxy.process.resident();
    sleep(Duration::from_secs(2)).await;
    let idle = proxy.process.resident();

    // So that what is used once for all is not taken for a part of a connection.
    Clients::connect(proxy.http, bench.connections).await.ask(5000).await;
    sleep(SETTLE).await;
    let before = proxy.process.resident();
    let mut held = Vec::new();
    while held.iter().map(Clients::len).sum::<usize>() < IDLE_CONNECTIONS {
        let mut some = Clients::connect(proxy.http, 50).await;
        some.ask_once_each().await;
        held.push(some);
    }
    sleep(SETTLE).await;
    let with_all = proxy.process.resident();
    for clients in &mut held {
        // They are still open, or it would be no wonder that they cost nothing.
        clients.ask_once_each().await;
    }

    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let each = (with_all as f64 - before as f64) / IDLE_CONNECTIONS as f64 / 1024.0;
    [
        kind.name().to_owned(),
        format!("{:.1}", median(&starts)),
        mib(started),
        mib(idle),
        mib(before),
        mib(with_all),
        format!("{each:.2}"),
    ]
}
