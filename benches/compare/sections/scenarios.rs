//! What a unit of every kind of work costs, for every proxy that can do it, and how Cutover stands to the best of them.
//!
//! The proxies take turns, and each measurement starts one anew. Medians are of the rounds in which no other program
//! took part; a figure with fewer than half of the rounds has a star. A ratio is made of the two figures of one round.

use crate::bench::Bench;
use crate::machine::spent::{Before, Spent};
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::report::histogram::Histogram;
use crate::report::table::median;
use crate::report::{Dots, Report};
use crate::sections::scenario::Scenario;

/// What one proxy did in one scenario, round by round.
struct Record {
    kind: Kind,
    rounds: Vec<Round>,
    latencies: Histogram,
}

struct Round {
    spent: Spent,
    requests: u64,
    /// Bytes, after the work.
    resident: u64,
}

impl Round {
    /// Microseconds of the proxy for a unit of work.
    fn own(&self) -> f64 {
        self.spent.proxy.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Microseconds of the whole machine for a unit of work.
    fn machine(&self) -> f64 {
        self.spent.machine.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// Units of work in a second.
    fn rate(&self) -> f64 {
        self.requests as f64 / self.spent.took.as_secs_f64()
    }

    fn resident(&self) -> f64 {
        self.resident as f64 / f64::from(1 << 20)
    }
}

/// A figure of a round.
type Figure = fn(&Round) -> f64;

/// The better of two figures.
#[derive(Clone, Copy)]
enum Better {
    Lower,
    Higher,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report, chosen: &[Scenario], rounds: u32, requests: u64) {
    let kinds = bench.programs.kinds();
    let mut all = Vec::new();
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
        all.push((*scenario, records));
    }
    let connections = bench.connections;
    report.section(
        "Cost of a unit of work",
        &format!(
            "A unit of work is a request, a connection with one request, or a WebSocket message. {connections} \
             connections ask without a pause unless the row says otherwise; answers have 1 KiB unless the row says \
             otherwise. The proxy has one core; clients and applications share the other. TLS 1.3, X25519, AES-128-GCM, \
             ECDSA P-256. Medians of {rounds} rounds in turns. A star: another program took part in more than half of \
             the rounds. The TCP relay copies bytes and parses nothing: it is the floor, and no peer."
        ),
    );
    let tables: [(&str, Figure, usize, Better); 4] = [
        ("CPU time of the proxy, us", Round::own, 1, Better::Lower),
        ("CPU time of the whole machine, us", Round::machine, 1, Better::Lower),
        ("Throughput, a second (higher is better)", Round::rate, 0, Better::Higher),
        ("Resident memory after the work, MiB", Round::resident, 1, Better::Lower),
    ];
    for (title, figure, decimals, better) in tables {
        let head = head(&kinds, &["best peer", "Cutover / best", "min-max"]);
        let rows: Vec<_> = all
            .iter()
            .map(|(scenario, records)| {
                let mut row = cells(*scenario, &kinds, records, |record| record.shown(figure, decimals));
                row.extend(compared(records, figure, better));
                row
            })
            .collect();
        report.table(title, &head, &rows);
    }
    let millis = |record: &Record, percent| record.latencies.percentile(percent).as_secs_f64() * 1e3;
    let rows: Vec<_> = all
        .iter()
        .map(|(scenario, records)| {
            cells(*scenario, &kinds, records, |record| {
                format!("{:.2} / {:.2}", millis(record, 50.0), millis(record, 99.0))
            })
        })
        .collect();
    report.table("Latency when as much is asked as can be had, p50 / p99 ms", &head(&kinds, &[]), &rows);
    for (name, title, figure) in [
        ("cpu", "CPU time of the proxy, beside Cutover's", Round::own as Figure),
        ("machine", "CPU time of the whole machine, beside that with Cutover", Round::machine),
    ] {
        report.dots(name, &dots(title, &all, figure));
    }
}

impl Record {
    fn new(kind: Kind) -> Record {
        Record { kind, rounds: Vec::new(), latencies: Histogram::new() }
    }

    async fn measure(&mut self, scenario: Scenario, bench: &Bench, requests: u64) {
        let proxy = Proxy::start_for(scenario.setup(), self.kind, bench).await;
        let load = scenario.connect(&proxy, bench).await;
        let mut load = load.unwrap_or_else(|error| {
            panic!("{} at {}: {error}\n{}", self.kind.name(), scenario.title(), proxy.read("log"))
        });
        load.work((requests / 5).max(100)).await;
        let before = Before::now(&proxy.process);
        let latencies = load.work(requests).await;
        let spent = before.spent(&proxy.process);
        self.latencies.add(&latencies);
        self.rounds.push(Round { spent, requests, resident: proxy.process.resident() });
    }

    /// The rounds that count: all, where most were disturbed.
    fn counted(&self) -> (Vec<&Round>, bool) {
        let quiet: Vec<&Round> = self.rounds.iter().filter(|round| !round.spent.disturbed).collect();
        if quiet.len() * 2 >= self.rounds.len() { (quiet, true) } else { (self.rounds.iter().collect(), false) }
    }

    fn median(&self, figure: Figure) -> f64 {
        median(&self.counted().0.into_iter().map(figure).collect::<Vec<_>>())
    }

    fn shown(&self, figure: Figure, decimals: usize) -> String {
        format!("{:.decimals$}{}", self.median(figure), if self.counted().1 { "" } else { "*" })
    }
}

fn head<'t>(kinds: &[Kind], more: &[&'t str]) -> Vec<&'t str> {
    std::iter::once("").chain(kinds.iter().map(|kind| kind.name())).chain(more.iter().copied()).collect()
}

/// The name of a scenario, and what each proxy has there; a dash where it does not take part.
fn cells(scenario: Scenario, kinds: &[Kind], records: &[Record], show: impl Fn(&Record) -> String) -> Vec<String> {
    let found = |kind: &Kind| records.iter().find(|record| record.kind == *kind);
    let shown = kinds.iter().map(|kind| found(kind).map_or("-".to_owned(), &show));
    std::iter::once(scenario.title().to_owned()).chain(shown).collect()
}

/// The best peer, and Cutover beside it.
fn compared(records: &[Record], figure: Figure, better: Better) -> [String; 3] {
    let (cutover, others) = records.split_first().expect("Cutover takes part everywhere");
    let peers = others.iter().filter(|other| other.kind != Kind::Relay);
    let order = |one: &&Record, other: &&Record| one.median(figure).total_cmp(&other.median(figure));
    let best = match better {
        Better::Lower => peers.min_by(order),
        Better::Higher => peers.max_by(order),
    };
    best.map_or(["-", "-", "-"].map(str::to_owned), |best| {
        let pairs = || cutover.rounds.iter().zip(&best.rounds);
        let quiet = |(one, other): &(&Round, &Round)| !one.spent.disturbed && !other.spent.disturbed;
        let any_quiet = pairs().any(|pair| quiet(&pair));
        let ratios: Vec<f64> =
            pairs().filter(|pair| !any_quiet || quiet(pair)).map(|(one, other)| figure(one) / figure(other)).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        [best.kind.name().to_owned(), format!("{:.2}", median(&ratios)), format!("{low:.2}-{high:.2}")]
    })
}

fn dots(title: &str, all: &[(Scenario, Vec<Record>)], figure: Figure) -> Dots {
    let rows = all.iter().map(|(scenario, records)| {
        let own = records[0].median(figure);
        let others = records.iter().map(|record| (record.kind.name(), record.median(figure) / own)).collect();
        (scenario.title().to_owned(), others)
    });
    Dots { title: title.to_owned(), rows: rows.collect() }
}
