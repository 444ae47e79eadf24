//! How much of a request's CPU time is the analysis: Cutover with it, without it, and with a canary under way, in turns.

use crate::bench::Bench;
use crate::clients::kept::Clients;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::{Analysis, Setup};
use crate::report::Report;
use crate::report::table::median;

/// Without a deployment, what is usual is learned all the same. During a canary of 5 % both releases are judged.
const WAYS: [(&str, Analysis, bool); 4] = [
    ("off", Analysis::Off, false),
    ("on", Analysis::On, false),
    ("off, canary", Analysis::Off, true),
    ("on, canary", Analysis::On, true),
];

pub(crate) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    let mut cpu = WAYS.map(|_| Vec::new());
    let mut robbed = Vec::new();
    for round in 0..rounds as usize {
        // Another one begins each time.
        for turn in 0..WAYS.len() {
            let way = (round + turn) % WAYS.len();
            let (_, analysis, canary) = WAYS[way];
            let proxy = Proxy::start_for(Setup { analysis, ..Setup::default() }, Kind::Cutover, bench).await;
            if canary {
                proxy.order("/admin/canary", "{}").await;
            }
            let mut clients = Clients::connect(proxy.http, bench.connections).await;
            clients.ask((requests / 5).max(100)).await;
            let before = proxy.process.usage();
            let took = clients.ask(requests).await.as_secs_f64();
            let after = proxy.process.usage();
            cpu[way].push((after.ran - before.ran).as_secs_f64() * 1e6 / requests as f64);
            robbed.push((after.waited - before.waited).as_secs_f64() / took);
        }
    }
    let rows: Vec<_> = WAYS
        .iter()
        .enumerate()
        .map(|(way, (name, ..))| {
            // Each beside the one without, of the same round.
            let without = &cpu[way - way % 2];
            let ratios: Vec<f64> = cpu[way].iter().zip(without).map(|(one, other)| one / other).collect();
            let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let high = ratios.iter().copied().fold(0.0, f64::max);
            vec![
                (*name).to_owned(),
                format!("{:.2}", median(&cpu[way])),
                format!("{:.3}", median(&ratios)),
                format!("{low:.3}-{high:.3}"),
            ]
        })
        .collect();
    let title = format!(
        "Analysis: {} keep-alive connections, 1 KiB bodies, {rounds} x {requests} requests; medians",
        bench.connections
    );
    report.table(&title, &["analysis", "CPU us/request", "on / off by round", "min-max"], &rows);
    report.paragraph(&format!(
        "In the median, something else had the core for {:.1} % of the time.",
        median(&robbed) * 100.0
    ));
}
