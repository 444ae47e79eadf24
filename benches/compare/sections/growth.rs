//! How the cost of a small request grows with routes, endpoints, connections and features; and what control costs then.
//!
//! Only Cutover is measured: each figure stands beside that of the smallest configuration in the same round.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::bench::Bench;
use crate::clients::connection::Connection;
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
    ("idle connections", &[1, 1000, 10_000], |idle| Growth { idle, ..Growth::NONE }),
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
            "CPU time of Cutover for a small request on {} kept connections, medians of {rounds} rounds in turns, and \
             beside the first row of each table.",
            bench.connections
        ),
    );
    let mut lines = Vec::new();
    for (name, values, grown) in AXES {
        let setups: Vec<(String, Growth)> = values.iter().map(|value| (value.to_string(), grown(*value))).collect();
        let ratios = table(name, &setups, bench, report, rounds, requests).await;
        lines.push((name.to_owned(), values.iter().map(|value| *value as f64).zip(ratios).collect()));
    }
    report.lines("growth", &Lines { title: "CPU time of a request, beside the smallest setup".to_owned(), lines });
    let features: Vec<(String, Growth)> = FEATURES.iter().map(|(name, growth)| ((*name).to_owned(), *growth)).collect();
    table("feature", &features, bench, report, rounds, requests).await;
    control(bench, report).await;
}

/// Measures the setups in turns; how each stands to the first.
async fn table(
    title: &str,
    setups: &[(String, Growth)],
    bench: &Bench,
    report: &mut Report,
    rounds: u32,
    requests: u64,
) -> Vec<f64> {
    let mut cpu: Vec<Vec<f64>> = vec![Vec::new(); setups.len()];
    let mut disturbed = vec![0; setups.len()];
    for round in 0..rounds as usize {
        for turn in 0..setups.len() {
            let index = (round + turn) % setups.len();
            let (figure, was_disturbed) = measure(setups[index].1, bench, requests).await;
            cpu[index].push(figure);
            disturbed[index] += usize::from(was_disturbed);
        }
    }
    eprintln!("compare: growth by {title} done");
    let ratios: Vec<f64> = cpu
        .iter()
        .map(|figures| median(&figures.iter().zip(&cpu[0]).map(|(one, first)| one / first).collect::<Vec<_>>()))
        .collect();
    let rows: Vec<Vec<String>> = setups
        .iter()
        .zip(cpu.iter().zip(&ratios).zip(&disturbed))
        .map(|((name, _), ((figures, ratio), disturbed))| {
            let star = if disturbed * 2 > rounds as usize { "*" } else { "" };
            vec![name.clone(), format!("{:.2}{star}", median(figures)), format!("{ratio:.2}")]
        })
        .collect();
    report.table(&format!("By {title}"), &[title, "CPU us/request", "x the first"], &rows);
    ratios
}

/// Microseconds of CPU time for a request, and whether other programs took part.
async fn measure(growth: Growth, bench: &Bench, requests: u64) -> (f64, bool) {
    let proxy = Proxy::start_for(Setup { growth, room: 16384, ..Setup::default() }, Kind::Cutover, bench).await;
    if growth.canary {
        proxy.order("/admin/canary", "{}").await;
    }
    let _idle = Clients::connect(proxy.http, growth.idle).await;
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
async fn control(bench: &Bench, report: &mut Report) {
    const IDLE: Duration = Duration::from_secs(10);
    let large = Growth { endpoints: 1000, ..Growth::NONE };
    let proxy = Proxy::start_for(Setup { growth: large, ..Setup::default() }, Kind::Cutover, bench).await;
    sleep(IDLE / 2).await;
    let before = Before::now(&proxy.process);
    sleep(IDLE).await;
    let checks = before.spent(&proxy.process).proxy.as_secs_f64() / IDLE.as_secs_f64();
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
    let rows = [
        ("health checks of 2 x 1,000 endpoints, % of a core", format!("{:.2}", checks * 100.0)),
        ("a scrape of /metrics with 2 x 1,000 endpoints, ms", format!("{:.1}", median(&scrapes))),
        ("its size, KiB", format!("{}", length / 1024)),
        ("a reload with 10,000 routes, ms", format!("{:.1}", median(&reloads))),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, figure)| vec![name.to_owned(), figure]).collect();
    report.table("Control", &["", "median"], &rows);
}

/// Bytes of the answer.
async fn scrape(proxy: &Proxy) -> usize {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    let mut connection = Connection::open(proxy.admin).await.expect("the admin address");
    let answer = connection.ask(request.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 200);
    answer.length
}
