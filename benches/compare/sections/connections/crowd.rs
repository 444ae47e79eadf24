//! A crowd: thousands of clients that stay connected and ask in turn, so that each request comes on a connection which
//! was idle for a while.

use std::io;

use super::star;
use crate::bench::Bench;
use crate::clients::connection::Connection;
use crate::clients::crew::{Crew, Worker};
use crate::machine::open_files;
use crate::machine::spent::Before;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::Setup;
use crate::report::Report;
use crate::report::histogram::Histogram;
use crate::report::table::median;

const CLIENTS: usize = 5000;
/// As many as there are descriptors for, and no more than this.
const MOST: usize = 20_000;
/// Descriptors of this process and of a proxy that are no clients'.
const OTHERS: usize = 200;

/// One proxy, round by round.
#[derive(Default)]
struct Record {
    own: Vec<f64>,
    machine: Vec<f64>,
    rate: Vec<f64>,
    resident: Vec<f64>,
    disturbed: Vec<bool>,
    latencies: Option<Histogram>,
}

/// Connections that one client uses in turn.
struct Turns {
    connections: Vec<Connection>,
    next: usize,
}

pub(super) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    // The relay needs two descriptors for each client.
    let kinds: Vec<Kind> = bench.programs.kinds().into_iter().filter(|kind| *kind != Kind::Relay).collect();
    let mut rows = Vec::new();
    for clients in [CLIENTS, most()] {
        let suitable: Vec<Kind> = kinds.iter().copied().filter(|kind| kind.most_clients() >= clients).collect();
        let mut records: Vec<Record> = suitable.iter().map(|_| Record::default()).collect();
        for round in 0..rounds as usize {
            for turn in 0..suitable.len() {
                let index = (round + turn) % suitable.len();
                records[index].measure(suitable[index], clients, bench, requests).await;
            }
        }
        for kind in &kinds {
            let record = suitable.iter().position(|other| other == kind).map(|index| &records[index]);
            rows.push([clients.to_string(), kind.name().to_owned()].into_iter().chain(cells(record)).collect());
        }
        eprintln!("compare: {clients} clients at a time done");
    }
    let title = format!(
        "Thousands of clients at a time: {} requests in flight, of all clients in turn; 1 KiB answers",
        bench.connections
    );
    let head = ["clients", "proxy", "CPU us/request", "of the machine", "a second", "p50 ms", "p99 ms", "MiB"];
    report.table(&title, &head, &rows);
    report.paragraph(&format!(
        "At most {MOST} clients, and three quarters of the open files that a process may have (`ulimit -n`), as Cutover \
         keeps the rest for endpoints. A dash: Sozu wants two open files for each client that it has room for.",
    ));
}

/// By the limit on open files.
fn most() -> usize {
    (open_files().saturating_sub(OTHERS) / 4 * 3).clamp(CLIENTS, MOST)
}

fn cells(record: Option<&Record>) -> [String; 6] {
    let Some(record) = record else { return std::array::from_fn(|_| "-".to_owned()) };
    let star = star(&record.disturbed);
    let latency = |percent| {
        let latencies = record.latencies.as_ref().expect("it was measured");
        format!("{:.2}", latencies.percentile(percent).as_secs_f64() * 1e3)
    };
    [
        format!("{:.1}{star}", median(&record.own)),
        format!("{:.1}{star}", median(&record.machine)),
        format!("{:.0}{star}", median(&record.rate)),
        latency(50.0),
        latency(99.0),
        format!("{:.1}", median(&record.resident)),
    ]
}

impl Record {
    async fn measure(&mut self, kind: Kind, clients: usize, bench: &Bench, requests: u64) {
        let room = clients + bench.connections;
        let proxy = Proxy::start_for(Setup { room, ..Setup::default() }, kind, bench).await;
        let mut crew = Crew(connect(clients, &proxy, bench).await);
        // Each asks once.
        crew.work(clients as u64).await;
        let before = Before::now(&proxy.process);
        let latencies = crew.work(requests).await;
        let spent = before.spent(&proxy.process);
        self.own.push(spent.proxy.as_secs_f64() * 1e6 / requests as f64);
        self.machine.push(spent.machine.as_secs_f64() * 1e6 / requests as f64);
        self.rate.push(requests as f64 / spent.took.as_secs_f64());
        self.resident.push(proxy.process.resident() as f64 / f64::from(1 << 20));
        self.disturbed.push(spent.disturbed);
        self.latencies.get_or_insert_with(Histogram::new).add(&latencies);
    }
}

/// All clients, dealt out to as many as ask at the same time.
async fn connect(clients: usize, proxy: &Proxy, bench: &Bench) -> Vec<Turns> {
    let mut hands: Vec<Turns> = (0..bench.connections).map(|_| Turns { connections: Vec::new(), next: 0 }).collect();
    for client in 0..clients {
        let connection = Connection::open(proxy.http).await;
        let connection = connection.unwrap_or_else(|error| panic!("client {client}: {error}\n{}", proxy.read("log")));
        // No port stays in use afterwards.
        connection.close_at_once();
        hands[client % bench.connections].connections.push(connection);
    }
    hands
}

impl Worker for Turns {
    async fn step(&mut self) -> io::Result<()> {
        let index = self.next % self.connections.len();
        self.next += 1;
        self.connections[index].step().await
    }
}
