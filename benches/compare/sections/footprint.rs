//! What a proxy needs before and between requests: the time of its start, and resident memory.

use std::time::Duration;

use tokio::time::sleep;

use crate::bench::Bench;
use crate::clients::http1::{Conversation, Dial, Request};
use crate::clients::kept::Clients;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::Setup;
use crate::report::Report;
use crate::report::table::median;

const STARTS: usize = 10;
const IDLE_CONNECTIONS: usize = 5000;
/// Longer than what any of the proxies keeps for a connection that may soon be used again.
const SETTLE: Duration = Duration::from_secs(4);

/// Resident bytes.
struct Idle {
    before: u64,
    with_all: u64,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) {
    let mut rows = Vec::new();
    for kind in bench.programs.kinds().into_iter().filter(|kind| *kind != Kind::Relay) {
        rows.push(measure(kind, bench).await.to_vec());
    }
    let title = format!(
        "Footprint: start to the first answer (median of {STARTS}), resident MiB (of all its processes), and what each \
         of {IDLE_CONNECTIONS} idle keep-alive connections adds"
    );
    let head =
        ["proxy", "start ms", "started", "after 2 s", "after load", "with all idle", "KiB/connection", "KiB/TLS one"];
    report.table(&title, &head, &rows);
}

async fn measure(kind: Kind, bench: &Bench) -> [String; 8] {
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Proxy::start(kind, bench).await.start.as_secs_f64() * 1e3);
    }

    let proxy = Proxy::start(kind, bench).await;
    let started = proxy.process.resident();
    sleep(Duration::from_secs(2)).await;
    let idle = proxy.process.resident();
    let plain = hold(&Dial::Plain(proxy.http), &proxy, bench).await;
    drop(proxy);

    let proxy = Proxy::start_for(Setup { tls: true, ..Setup::default() }, kind, bench).await;
    let tls = hold(&Dial::tls(proxy.https, &bench.certificate), &proxy, bench).await;

    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let each = |Idle { before, with_all }: &Idle| {
        format!("{:.2}", (*with_all as f64 - *before as f64) / IDLE_CONNECTIONS as f64 / 1024.0)
    };
    [
        kind.name().to_owned(),
        format!("{:.1}", median(&starts)),
        mib(started),
        mib(idle),
        mib(plain.before),
        mib(plain.with_all),
        each(&plain),
        each(&tls),
    ]
}

/// Resident memory before and while connections are held on which one request was made.
async fn hold(dial: &Dial, proxy: &Proxy, bench: &Bench) -> Idle {
    let request = Request::small();
    // So that what is used once for all is not taken for a part of a connection.
    Clients::connect(proxy.http, bench.connections).await.ask(5000).await;
    for _ in 0..bench.connections {
        ask(&mut dial.open().await.expect("the proxy accepts"), &request).await;
    }
    sleep(SETTLE).await;
    let before = proxy.process.resident();
    let mut held = Vec::new();
    while held.len() < IDLE_CONNECTIONS {
        let mut connection = dial.open().await.expect("the proxy accepts");
        ask(&mut connection, &request).await;
        held.push(connection);
    }
    sleep(SETTLE).await;
    let with_all = proxy.process.resident();
    for connection in &mut held {
        // They are still open, or it would be no wonder that they cost nothing.
        ask(connection, &request).await;
    }
    Idle { before, with_all }
}

async fn ask(connection: &mut Conversation, request: &Request) {
    connection.ask(request).await.expect("a good answer");
}
