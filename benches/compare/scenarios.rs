//! CPU time of one unit of every kind of work, for every proxy that can do it, and how Cutover stands to the best.
//!
//! As in the section `work`, the proxies take turns, and each measurement starts one anew. A ratio is made of the two
//! figures of one round, and the median of these is what is shown.

use crate::Bench;
use crate::proxies::{Kind, Proxy};
use crate::scenario::Scenario;
use crate::table::{self, median};

/// The part of the time that a proxy may lose to other programs; more than that shows in caches.
const DISTURBED: f64 = 0.05;

/// What one proxy did, round by round.
struct Record {
    kind: Kind,
    /// Microseconds of CPU time for a request.
    cpu: Vec<f64>,
    /// Requests in a second.
    rate: Vec<f64>,
    robbed: Vec<f64>,
}

pub(crate) async fn run(bench: &Bench, chosen: &[Scenario], rounds: u32, requests: u64) {
    let kinds = bench.programs.kinds();
    let mut rows = Vec::new();
    let mut rates = Vec::new();
    let mut disturbed = Vec::new();
    for scenario in chosen {
        let suitable = kinds.iter().filter(|kind| scenario.suits(**kind));
        let mut records: Vec<Record> = suitable.map(|kind| Record::new(*kind)).collect();
        for round in 0..rounds as usize {
            // Another one begins each time.
            for turn in 0..records.len() {
                let index = (round + turn) % records.len();
                records[index].measure(*scenario, bench, scenario.requests(requests)).await;
            }
        }
        eprintln!("compare: {} done", scenario.title());
        if records.iter().any(|record| median(&record.robbed) > DISTURBED) {
            disturbed.push(scenario.title());
        }
        rows.push(row(*scenario, &kinds, &records));
        rates.push(cells(*scenario, &kinds, &records, |record| format!("{:.0}", median(&record.rate))));
    }
    show(bench, &kinds, rounds, &rows, &rates);
    if !disturbed.is_empty() {
        println!("The machine was busy with something else, and these say little: {}.", disturbed.join("; "));
    }
}

impl Record {
    fn new(kind: Kind) -> Record {
        let [cpu, rate, robbed] = [const { Vec::new() }; 3];
        Record { kind, cpu, rate, robbed }
    }

    async fn measure(&mut self, scenario: Scenario, bench: &Bench, requests: u64) {
        let proxy = Proxy::start_for(scenario.setup(), self.kind, bench).await;
        let load = scenario.connect(&proxy, bench).await;
        let mut load = load.unwrap_or_else(|error| {
            panic!("{} at {}: {error}\n{}", self.kind.name(), scenario.title(), proxy.read("log"))
        });
        load.work((requests / 5).max(100)).await;
        let before = proxy.process.usage();
        let took = load.work(requests).await.as_secs_f64();
        let after = proxy.process.usage();
        self.cpu.push((after.ran - before.ran).as_secs_f64() * 1e6 / requests as f64);
        self.rate.push(requests as f64 / took);
        self.robbed.push((after.waited - before.waited).as_secs_f64() / took);
    }
}

/// The name of a scenario, and what each proxy has there; a dash where it does not take part.
fn cells(scenario: Scenario, kinds: &[Kind], records: &[Record], show: impl Fn(&Record) -> String) -> Vec<String> {
    let found = |kind: &Kind| records.iter().find(|record| record.kind == *kind);
    let shown = kinds.iter().map(|kind| found(kind).map_or("-".to_owned(), &show));
    std::iter::once(scenario.title().to_owned()).chain(shown).collect()
}

fn row(scenario: Scenario, kinds: &[Kind], records: &[Record]) -> Vec<String> {
    let mut row = cells(scenario, kinds, records, |record| format!("{:.1}", median(&record.cpu)));
    let (cutover, others) = records.split_first().expect("Cutover takes part everywhere");
    let peers = others.iter().filter(|other| other.kind != Kind::Relay);
    let best = peers.min_by(|one, other| median(&one.cpu).total_cmp(&median(&other.cpu)));
    row.extend(best.map_or(["-", "-", "-"].map(str::to_owned), |best| {
        let ratios: Vec<f64> = cutover.cpu.iter().zip(&best.cpu).map(|(one, other)| one / other).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        [best.kind.name().to_owned(), format!("{:.2}", median(&ratios)), format!("{low:.2}-{high:.2}")]
    }));
    row
}

fn show(bench: &Bench, kinds: &[Kind], rounds: u32, rows: &[Vec<String>], rates: &[Vec<String>]) {
    let names = || kinds.iter().map(|kind| kind.name());
    let head: Vec<&str> = std::iter::once("").chain(names()).chain(["best", "Cutover / best", "min-max"]).collect();
    let title = format!(
        "Scenarios: CPU us of the proxy for a request, a connection with one, or a message; {} connections unless said \
         otherwise; medians of {rounds} rounds",
        bench.connections
    );
    table::print_rows(&title, &head, rows);
    println!(
        "\nBest: of those that speak HTTP; the relay is the floor for copying. Bodies of answers are 1 KiB unless said \
         otherwise.\nTLS 1.3, X25519, AES-128-GCM, ECDSA P-256. Every request was answered as it had to be."
    );
    let head: Vec<&str> = std::iter::once("").chain(names()).collect();
    table::print_rows("The same, a second: what one core of load and applications got out of it", &head, rates);
}
