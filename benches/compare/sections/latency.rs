//! Latencies when requests come at a rate that leaves room: in general, and around a switch.

use std::time::{Duration, Instant};

use cutover::internals::domain::color::Color;
use tokio::time::sleep;

use crate::bench::Bench;
use crate::clients::kept::Clients;
use crate::clients::pace::{self, Arrival};
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::way::Way;
use crate::report::Report;
use crate::report::histogram::Histogram;
use crate::report::table::median;

/// Of one round.
const DURATION: Duration = Duration::from_secs(3);
const SWITCHES: u32 = 10;
const SPACING: Duration = Duration::from_millis(500);
/// What counts as near a switch, before its command and after its answer.
const NEAR: Duration = Duration::from_millis(50);

/// Milliseconds, round by round.
#[derive(Default)]
struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report, rounds: u32, requests: u64) {
    let kinds = bench.programs.kinds();
    let mut slowest = f64::INFINITY;
    for kind in &kinds {
        slowest = slowest.min(saturated(*kind, bench, requests).await);
    }
    let rate = slowest / 2.0;
    let mut all: Vec<Percentiles> = kinds.iter().map(|_| Percentiles::default()).collect();
    for round in 0..rounds as usize {
        for turn in 0..kinds.len() {
            let index = (round + turn) % kinds.len();
            let proxy = Proxy::start(kinds[index], bench).await;
            let seen = pace::ask(proxy.http, bench.connections, rate, DURATION).await;
            assert!(seen.iter().all(|arrival| !arrival.failed), "good answers:\n{}", proxy.read("log"));
            all[index].add(&seen);
        }
    }
    let rows: Vec<_> =
        kinds.iter().zip(&all).map(|(kind, percentiles)| percentiles.row(kind.name()).to_vec()).collect();
    let title = format!(
        "Latency: {rate:.0} requests/s at random moments, half of what the slowest can do; 1 KiB answers; medians of {rounds} \
         rounds"
    );
    report.table(&title, &["proxy", "p50 ms", "p99 ms", "p99.9 ms"], &rows);

    let mut rows = Vec::new();
    for way in Way::LIVE.into_iter().filter(|way| kinds.contains(&way.kind())) {
        rows.push(around_switches(way, bench, rate).await.to_vec());
    }
    let title = format!(
        "Latency around a switch: the same rate, {SWITCHES} switches; near is within {} ms of one",
        NEAR.as_millis()
    );
    let head = ["way", "failed", "near", "p50 ms", "p99 ms", "max ms", "far", "p50 ms", "p99 ms", "max ms"];
    report.table(&title, &head, &rows);
    report.paragraph(
        "From the moment at which a request is due to the end of its answer. Failed: mostly on a kept connection that \
         was closed just then; a client that repeats requests would have hidden it.",
    );
}

/// Requests in a second when as much is asked as can be had.
async fn saturated(kind: Kind, bench: &Bench, requests: u64) -> f64 {
    let proxy = Proxy::start(kind, bench).await;
    let mut clients = Clients::connect(proxy.http, bench.connections).await;
    clients.ask((requests / 5).max(100)).await;
    requests as f64 / clients.ask(requests).await.as_secs_f64()
}

async fn around_switches(way: Way, bench: &Bench, rate: f64) -> [String; 10] {
    let proxy = Proxy::start(way.kind(), bench).await;
    let switching = async {
        let mut switches = Vec::new();
        let mut to = Color::Green;
        for _ in 0..SWITCHES {
            sleep(SPACING).await;
            let began = Instant::now();
            way.switch(to, &proxy, bench).await;
            switches.push((began - NEAR, Instant::now() + NEAR));
            to = to.other();
        }
        switches
    };
    let asking = pace::ask(proxy.http, bench.connections, rate, SPACING * (SWITCHES + 1));
    let (switches, seen) = tokio::join!(switching, asking);
    let failed = seen.iter().filter(|arrival| arrival.failed).count();
    let is_near = |arrival: &Arrival| switches.iter().any(|(from, to)| arrival.done >= *from && arrival.due <= *to);
    let (near, far): (Vec<Arrival>, Vec<Arrival>) =
        seen.into_iter().filter(|arrival| !arrival.failed).partition(is_near);
    let [near, far] = [near, far].map(|arrivals| {
        let latencies = histogram(&arrivals);
        let [p50, p99, most] = [50.0, 99.0, 100.0].map(|percent| format!("{:.2}", millis(&latencies, percent)));
        [arrivals.len().to_string(), p50, p99, most]
    });
    let mut cells = [way.name().to_owned(), failed.to_string()].into_iter().chain(near).chain(far);
    std::array::from_fn(|_| cells.next().expect("ten"))
}

impl Percentiles {
    fn add(&mut self, seen: &[Arrival]) {
        let latencies = histogram(seen);
        self.p50.push(millis(&latencies, 50.0));
        self.p99.push(millis(&latencies, 99.0));
        self.p999.push(millis(&latencies, 99.9));
    }

    fn row(&self, name: &str) -> [String; 4] {
        let [p50, p99, p999] = [&self.p50, &self.p99, &self.p999].map(|values| format!("{:.3}", median(values)));
        [name.to_owned(), p50, p99, p999]
    }
}

fn histogram(seen: &[Arrival]) -> Histogram {
    let mut histogram = Histogram::new();
    for arrival in seen {
        histogram.record(arrival.done - arrival.due);
    }
    histogram
}

fn millis(histogram: &Histogram, percent: f64) -> f64 {
    histogram.percentile(percent).as_secs_f64() * 1e3
}
