//! How the cost of a small request grows with routes, endpoints, connections and features; and what control costs then.
//!
//! Each figure stands beside that of the same proxy with the smallest configuration in the same round.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::time::sleep;

use crate::bench::Bench;
use crate::clients::connection::Connection;
use crate::clients::crew::Worker as _;
use crate::clients::kept::Clients;
use crate::machine::spent::Before;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::{Growth, Setup};
use crate::report::table::median;
use crate::report::{Lines, Report};

/// One axis, its values, and how a value becomes a setup.
type Axis = (&'static str, &'static [usize], fn(usize) -> Growth);

const AXES: [Axis; 3] = [
    ("routes", &[1, 100, 10_000], |routes| Growth { routes, ..Growth::NONE }),
    ("endpoints of each color", &[1, 100, 1000], |endpoints| Growth { endpoints, ..Growth::NONE }),
    ("idle connections", &[1, 1000, 10_000, 20_000], |idle| Growth { idle, ..Growth::NONE }),
];

/// Features, one at a time.
const FEATURES: [(&str, Growth); 6] = [
    ("plain", Growth::NONE),
    ("access log to a file", Growth { access_log: true, ..Growth::NONE }),
    ("canary of 5 %", Growth { canary: true, ..Growth::NONE }),
    ("canary, sticky by cookie", Growth { canary: true, sticky: true, ..Growth::NONE }),
    ("canary, shield", Growth { canary: true, shield: true, ..Growth::NONE }),
    ("a scrape each second", Growth { scrape: true, ..Growth::NONE }),
];

pub(crate) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    report.section(
        "Growth",
        &format!(
            "CPU time for a small request on {} kept connections in microseconds, medians of {rounds} rounds in turns, \
             and beside the first row of each table. Where there are several endpoints, Cutover and HAProxy connect to \
             each every two seconds to check it, which is part of the figures; nginx has no such checks.",
            bench.connections
        ),
    );
    let compared = [Kind::Cutover, Kind::HaProxy, Kind::Nginx];
    let compared: Vec<Kind> = bench.programs.kinds().into_iter().filter(|kind| compared.contains(kind)).collect();
    let mut lines = Vec::new();
    for (name, values, grown) in AXES {
        let values: Vec<usize> = values.iter().copied().filter(|value| fits(grown(*value))).collect();
        let setups: Vec<(String, Growth)> = values.iter().map(|value| (value.to_string(), grown(*value))).collect();
        let ratios = table(name, &setups, &compared, bench, report, rounds, requests).await;
        lines.push((name.to_owned(), values.iter().map(|value| *value as f64).zip(ratios).collect()));
    }
    report.paragraph("20,000 idle connections are measured where the limit on open files (`ulimit -n`) is 28,000.");
    report.lines("growth", &Lines { title: "CPU time of a request, beside the smallest setup".to_owned(), lines });
    let features: Vec<(String, Growth)> = FEATURES.iter().map(|(name, growth)| ((*name).to_owned(), *growth)).collect();
    table("feature", &features, &[Kind::Cutover], bench, report, rounds, requests).await;
    control(&compared, bench, report).await;
}

/// The limit on open files allows it: Cutover gives three quarters of them to clients.
fn fits(growth: Growth) -> bool {
    getrlimit(Resource::Nofile).current.is_none_or(|limit| growth.idle as u64 * 4 / 3 + 1000 < limit)
}

/// Measures the setups of the proxies in turns; how each setup of the first proxy stands to the first.
async fn table(
    title: &str,
    setups: &[(String, Growth)],
    kinds: &[Kind],
    bench: &Bench,
    report: &mut Report,
    rounds: u32,
    requests: u64,
) -> Vec<f64> {
    let mut figures = vec![vec![Figures::default(); setups.len()]; kinds.len()];
    for round in 0..rounds as usize {
        for turn in 0..setups.len() {
            let index = (round + turn) % setups.len();
            for (kind, figures) in kinds.iter().zip(&mut figures) {
                let (cpu, disturbed) = measure(setups[index].1, *kind, bench, requests).await;
                figures[index].cpu.push(cpu);
                figures[index].disturbed += usize::from(disturbed);
            }
        }
    }
    eprintln!("compare: growth by {title} done");
    let row = |(index, (name, _)): (usize, &(String, Growth))| {
        let cells = figures.iter().flat_map(|of| of[index].cells(&of[0]));
        std::iter::once(name.clone()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = setups.iter().enumerate().map(row).collect();
    let head: Vec<&str> = std::iter::once(title).chain(kinds.iter().flat_map(|kind| [kind.name(), "x"])).collect();
    report.table(&format!("By {title}"), &head, &rows);
    figures[0].iter().map(|of| of.beside(&figures[0][0])).collect()
}

/// Of one setup of one proxy.
#[derive(Clone, Default)]
struct Figures {
    /// Microseconds for a request, by round.
    cpu: Vec<f64>,
    disturbed: usize,
}

impl Figures {
    fn beside(&self, first: &Figures) -> f64 {
        median(&self.cpu.iter().zip(&first.cpu).map(|(one, first)| one / first).collect::<Vec<_>>())
    }

    fn cells(&self, first: &Figures) -> [String; 2] {
        let star = if self.disturbed * 2 > self.cpu.len() { "*" } else { "" };
        [format!("{:.2}{star}", median(&self.cpu)), format!("{:.2}", self.beside(first))]
    }
}

/// Microseconds of CPU time for a request, and whether other programs took part.
async fn measure(growth: Growth, kind: Kind, bench: &Bench, requests: u64) -> (f64, bool) {
    let room = Setup::default().room.max(growth.idle + 1024);
    let proxy = Proxy::start_for(Setup { growth, room, ..Setup::default() }, kind, bench).await;
    if growth.canary {
        proxy.order("/admin/canary", "{}").await;
    }
    let mut idle = Clients::connect(proxy.http, growth.idle).await;
    // An answer shows that the proxy has accepted the connection.
    for connection in &mut idle.0 {
        connection.step().await.expect("a good answer");
    }
    let mut clients = Clients::connect(proxy.http, bench.connections).await;
    clients.ask((requests / 5).max(100)).await;
    let before = Before::now(&proxy.process);
    if growth.scrape {
        let scraping = async {
            loop {
                scrape(&proxy).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            _ = clients.ask(requests) => {}
            () = scraping => {}
        }
    } else {
        clients.ask(requests).await;
    }
    let spent = before.spent(&proxy.process);
    (spent.proxy.as_secs_f64() * 1e6 / requests as f64, spent.disturbed)
}

/// What large setups cost beside requests.
async fn control(kinds: &[Kind], bench: &Bench, report: &mut Report) {
    let large = Setup { growth: Growth { endpoints: 1000, ..Growth::NONE }, ..Setup::default() };
    let mut rows = Vec::new();
    for kind in kinds.iter().filter(|kind| **kind != Kind::Nginx) {
        let proxy = Proxy::start_for(large, *kind, bench).await;
        let checks = format!("{:.2}", 100.0 * checks(&proxy).await);
        rows.push((format!("{}: health checks of 2 x 1,000 endpoints, % of a core", kind.name()), checks));
    }
    let proxy = Proxy::start_for(large, Kind::Cutover, bench).await;
    let mut scrapes = Vec::new();
    let mut length = 0;
    for _ in 0..9 {
        let began = Instant::now();
        length = scrape(&proxy).await;
        scrapes.push(began.elapsed().as_secs_f64() * 1e3);
    }
    drop(proxy);
    let routes = Growth { routes: 10_000, ..Growth::NONE };
    let proxy = Proxy::start_for(Setup { growth: routes, ..Setup::default() }, Kind::Cutover, bench).await;
    let mut reloads = Vec::new();
    for round in 0..9 {
        let text = proxy.read(crate::proxies::cutover::FILE);
        let edited = format!("{text}\n# edit {round}\n[[route]]\npath = \"/edited/{round}\"\nupstream = \"default\"\n");
        std::fs::write(proxy.file(crate::proxies::cutover::FILE), edited).expect("a file");
        let began = Instant::now();
        proxy.order("/admin/reload", "").await;
        reloads.push(began.elapsed().as_secs_f64() * 1e3);
    }
    rows.extend([
        ("a scrape of /metrics with 2 x 1,000 endpoints, ms".to_owned(), format!("{:.1}", median(&scrapes))),
        ("its size, KiB".to_owned(), format!("{}", length / 1024)),
        ("a reload with 10,000 routes, ms".to_owned(), format!("{:.1}", median(&reloads))),
    ]);
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, figure)| vec![name, figure]).collect();
    report.table("Control", &["", "median"], &rows);
}

/// The part of a core that a proxy without requests uses.
async fn checks(proxy: &Proxy) -> f64 {
    const IDLE: Duration = Duration::from_secs(10);
    sleep(IDLE / 2).await;
    let before = Before::now(&proxy.process);
    sleep(IDLE).await;
    before.spent(&proxy.process).proxy.as_secs_f64() / IDLE.as_secs_f64()
}

/// Bytes of the answer.
async fn scrape(proxy: &Proxy) -> usize {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    let mut connection = Connection::open(proxy.admin).await.expect("the admin address");
    let answer = connection.ask(request.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 200);
    answer.length
}
