//! How much work a request is: CPU time of the proxy, and what follows from it.
//!
//! The proxies take turns, so that whatever else the machine does hits all alike, and each round starts them anew, so
//! that no one profits from one lucky layout in memory.

use crate::Bench;
use crate::histogram::Histogram;
use crate::load::Clients;
use crate::proxies::{Kind, Proxy};
use crate::table::{self, median};

/// The part of the time that a proxy may lose to other programs; more than that shows in caches and latencies.
const DISTURBED: f64 = 0.05;

/// What one proxy did, round by round.
struct Record {
    kind: Kind,
    /// Microseconds of CPU time for a request.
    cpu: Vec<f64>,
    /// Requests in a second.
    rate: Vec<f64>,
    /// Parts of the time in which it had its core, and in which it wanted it but something else had it.
    busy: Vec<f64>,
    robbed: Vec<f64>,
    latencies: Histogram,
}

impl Record {
    fn new(kind: Kind) -> Record {
        let [cpu, rate, busy, robbed] = [const { Vec::new() }; 4];
        Record { kind, cpu, rate, busy, robbed, latencies: Histogram::new() }
    }
}

pub(crate) async fn run(bench: &Bench, rounds: u32, requests: u64) {
    let mut records: Vec<Record> = bench.programs.kinds().into_iter().map(Record::new).collect();
    for round in 0..rounds as usize {
        // Another one begins each time.
        for turn in 0..records.len() {
            let index = (round + turn) % records.len();
            measure(bench, requests, &mut records[index]).await;
        }
    }
    show(&records, bench.connections, rounds, requests);
}

async fn measure(bench: &Bench, requests: u64, record: &mut Record) {
    let proxy = Proxy::start(record.kind, bench).await;
    let mut clients = Clients::connect(proxy.http, bench.connections).await;
    clients.ask((requests / 5).max(100)).await;
    let before = proxy.process.usage();
    let measured = clients.ask(requests).await;
    let after = proxy.process.usage();
    let (ran, took) = ((after.ran - before.ran).as_secs_f64(), measured.took.as_secs_f64());
    record.cpu.push(ran * 1e6 / requests as f64);
    record.rate.push(requests as f64 / took);
    record.busy.push(ran / took);
    record.robbed.push((after.waited - before.waited).as_secs_f64() / took);
    record.latencies.add(&measured.latencies);
}

fn show(records: &[Record], connections: usize, rounds: u32, requests: u64) {
    let rows: Vec<_> = records
        .iter()
        .map(|Record { kind, cpu, rate, busy, robbed, latencies }| {
            let percentile = |percent| format!("{:.2}", latencies.percentile(percent).as_secs_f64() * 1e3);
            let (low, high) = range(cpu);
            [
                kind.name().to_owned(),
                format!("{:.1}", median(cpu)),
                format!("{low:.1}-{high:.1}"),
                format!("{:.0}", median(rate)),
                format!("{:.0}", median(busy) * 100.0),
                format!("{:.1}", median(robbed) * 100.0),
                percentile(50.0),
                percentile(99.0),
            ]
        })
        .collect();
    let title =
        format!("Work: {connections} keep-alive connections, 1 KiB bodies, {rounds} x {requests} requests; medians");
    table::print(
        &title,
        ["proxy", "CPU us/request", "min-max", "requests/s", "core %", "robbed %", "p50 ms", "p99 ms"],
        &rows,
    );
    println!("\nCPU: all threads and processes of the proxy, user and system. Robbed: something else had its core.");
    if records.iter().any(|record| median(&record.robbed) > DISTURBED) {
        println!("The machine was busy with something else: these figures say little.");
    }

    let (cutover, others) = records.split_first().expect("Cutover takes part");
    let rows: Vec<_> = others
        .iter()
        .map(|other| {
            let ratios: Vec<f64> = cutover.cpu.iter().zip(&other.cpu).map(|(one, other)| one / other).collect();
            let (low, high) = range(&ratios);
            let of_medians = median(&cutover.cpu) / median(&other.cpu);
            [
                format!("Cutover / {}", other.kind.name()),
                format!("{of_medians:.2}"),
                format!("{:.2}", median(&ratios)),
                format!("{low:.2}-{high:.2}"),
            ]
        })
        .collect();
    table::print("CPU time of a request, compared", ["", "of medians", "median by round", "min-max"], &rows);
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(low, high), value| (low.min(*value), high.max(*value)))
}
