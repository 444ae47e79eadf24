//! Fairness: how two workers share the clients that came at once, and their requests.

use std::collections::HashMap;
use std::io;

use tokio::task::JoinSet;

use super::star;
use crate::bench::Bench;
use crate::clients::connection::{Connection, GET};
use crate::clients::crew::{Crew, Worker};
use crate::machine::spent::Before;
use crate::machine::workers::clients_by_worker;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::Setup;
use crate::report::Report;
use crate::report::histogram::Histogram;
use crate::report::table::median;

const CLIENTS: usize = 512;
const WORKERS: usize = 2;

/// One proxy, round by round.
#[derive(Default)]
struct Record {
    /// The larger share, in percent; of no round if the kernel tells this process nothing.
    connections: Vec<f64>,
    requests: Vec<f64>,
    rate: Vec<f64>,
    own: Vec<f64>,
    disturbed: Vec<bool>,
    latencies: Option<Histogram>,
}

/// A client that counts its requests.
struct Counted {
    connection: Connection,
    port: u16,
    requests: u64,
}

pub(super) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    let kinds: Vec<Kind> = bench.programs.kinds().into_iter().filter(|kind| *kind != Kind::Relay).collect();
    let mut records: Vec<Record> = kinds.iter().map(|_| Record::default()).collect();
    for round in 0..rounds as usize {
        for turn in 0..kinds.len() {
            let index = (round + turn) % kinds.len();
            records[index].measure(kinds[index], bench, requests).await;
        }
    }
    let rows: Vec<_> = kinds.iter().zip(&records).map(|(kind, record)| record.row(kind.name())).collect();
    let title = format!(
        "Fairness between {WORKERS} workers: {CLIENTS} clients that connect at once and ask without a pause; the larger \
         share of each"
    );
    let head = ["proxy", "connections %", "requests %", "CPU us/request", "a second", "p50 ms", "p99 ms"];
    report.table(&title, &head, &rows);
    report.paragraph(
        "50 % is fair. The workers have both cores, and the load takes its part of the second one. The worker of a client \
         is the one whose epoll(7) watches the connection (`/proc/PID/fdinfo`).",
    );
    eprintln!("compare: fairness done");
}

impl Record {
    async fn measure(&mut self, kind: Kind, bench: &Bench, requests: u64) {
        let proxy = Proxy::start_for(Setup { workers: WORKERS, ..Setup::default() }, kind, bench).await;
        let mut crew = Crew(connect(&proxy).await);
        crew.work(4 * CLIENTS as u64).await;
        let workers = clients_by_worker(&proxy.process, proxy.http);
        for client in &mut crew.0 {
            client.requests = 0;
        }
        let before = Before::now(&proxy.process);
        let latencies = crew.work(requests).await;
        let spent = before.spent(&proxy.process);
        let asked: HashMap<u16, u64> = crew.0.iter().map(|client| (client.port, client.requests)).collect();
        let connections: Vec<u64> = workers.iter().map(|ports| ports.len() as u64).collect();
        if connections.iter().sum::<u64>() == CLIENTS as u64 {
            let answered = workers.iter().map(|ports| ports.iter().filter_map(|port| asked.get(port)).sum());
            self.connections.push(larger(&connections));
            self.requests.push(larger(&answered.collect::<Vec<u64>>()));
        }
        self.own.push(spent.proxy.as_secs_f64() * 1e6 / requests as f64);
        self.rate.push(requests as f64 / spent.took.as_secs_f64());
        self.disturbed.push(spent.disturbed);
        self.latencies.get_or_insert_with(Histogram::new).add(&latencies);
    }

    fn row(&self, name: &str) -> Vec<String> {
        let star = star(&self.disturbed);
        let share = |shares: &[f64]| {
            if shares.is_empty() { "-".to_owned() } else { format!("{:.1}", median(shares)) }
        };
        let latency = |percent| {
            let latencies = self.latencies.as_ref().expect("it was measured");
            format!("{:.2}", latencies.percentile(percent).as_secs_f64() * 1e3)
        };
        vec![
            name.to_owned(),
            share(&self.connections),
            share(&self.requests),
            format!("{:.1}{star}", median(&self.own)),
            format!("{:.0}{star}", median(&self.rate)),
            latency(50.0),
            latency(99.0),
        ]
    }
}

/// Percent.
fn larger(shares: &[u64]) -> f64 {
    let all: u64 = shares.iter().sum();
    shares.iter().max().map_or(f64::NAN, |most| *most as f64 * 100.0 / all as f64)
}

async fn connect(proxy: &Proxy) -> Vec<Counted> {
    let mut opening = JoinSet::new();
    for _ in 0..CLIENTS {
        opening.spawn(Connection::open(proxy.http));
    }
    let opened = opening.join_all().await;
    opened
        .into_iter()
        .map(|connection| {
            let connection = connection.expect("the proxy accepts");
            Counted { port: connection.port(), connection, requests: 0 }
        })
        .collect()
}

impl Worker for Counted {
    async fn step(&mut self) -> io::Result<()> {
        self.requests += 1;
        let answer = self.connection.ask(GET).await?;
        if answer.success().is_some() { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
    }
}
