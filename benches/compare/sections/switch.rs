//! Switching while requests are made: what fails, what still goes to the old color, and how long it takes.
//!
//! A request is stale if it was *sent* after the answer to the switch had come, and the color that was left behind
//! answered it. A request that was in flight at that moment may end where it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cutover::internals::domain::color::Color;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::bench::Bench;
use crate::clients::visitor::{REQUESTS_PER_CONNECTION, Seen, visit};
use crate::machine::workers::Workers;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::{Growth, Setup};
use crate::proxies::way::Way;
use crate::report::Report;
use crate::report::histogram::Histogram;
use crate::report::table::median;

const SWITCHES: usize = 20;
/// Of each setup that is larger, or has more workers.
const FEWER: usize = 10;
const SPACING: Duration = Duration::from_millis(250);
/// The first health checks of many endpoints.
const SETTLE: Duration = Duration::from_secs(1);
/// Near a switch: before its command and after its answer.
const NEAR: Duration = Duration::from_millis(50);
/// No command takes this long, and no request.
const PATIENCE: Duration = Duration::from_secs(10);

const ROUTES: [usize; 2] = [1, 10_000];
/// Of each color.
const ENDPOINTS: [usize; 2] = [2, 1000];

/// One switch.
struct Switch {
    to: Color,
    began: Instant,
    /// The command said that it is done.
    answered: Instant,
    /// Until then, workers waited for their cores.
    waited: Duration,
}

/// Requests while a proxy was switched again and again.
struct Observed {
    seen: Vec<Seen>,
    switches: Vec<Switch>,
}

/// Two figures of the same kind.
struct Beside<T> {
    near: T,
    far: T,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) {
    ways(bench, report).await;
    grown(bench, report).await;
}

/// Every way to switch every proxy, in its smallest setup.
async fn ways(bench: &Bench, report: &mut Report) {
    let mut rows = Vec::new();
    let kinds = bench.programs.kinds();
    let ways = [Way::Api, Way::Rename, Way::InPlace, Way::Map, Way::Reload, Way::Runtime];
    for way in ways.into_iter().filter(|way| kinds.contains(&way.kind())) {
        let proxy = Proxy::start(way.kind(), bench).await;
        let observed = observe(way, SWITCHES, &proxy, bench).await;
        let stale = observed.stale();
        let longest = stale.iter().max().copied().unwrap_or_default();
        let [command, most] = observed.commands();
        let p99 = observed.p99();
        rows.push(vec![
            way.name().to_owned(),
            observed.seen.len().to_string(),
            observed.failed().to_string(),
            stale.len().to_string(),
            format!("{:.1}", millis(longest)),
            format!("{command:.1}"),
            format!("{most:.1}"),
            format!("{:.2}", millis(p99.near)),
            format!("{:.2}", millis(p99.far)),
        ]);
    }
    let title = format!(
        "Switch: {SWITCHES} of them, {} connections that are renewed every {REQUESTS_PER_CONNECTION} requests; p99 near \
         (within {} ms) and far from a switch",
        bench.connections,
        NEAR.as_millis(),
    );
    let head = ["way", "requests", "failed", "stale", "stale ms", "command ms", "max", "p99 ms near", "far"];
    report.table(&title, &head, &rows);
    report.paragraph(
        "Stale: sent after the command said it was done, answered by the color left behind; for how long at most. \
         Done: the API's or the socket's answer; for a file, its color in the status; for nginx, the end of `nginx -s \
         reload`. Failed: no answer, or none with 200; a client that repeats requests would have hidden it.",
    );
    eprintln!("compare: ways to switch done");
}

/// The moment of a switch with more workers, routes and endpoints; HAProxy's map beside the smallest setup.
async fn grown(bench: &Bench, report: &mut Report) {
    let mut rows = Vec::new();
    let kinds = bench.programs.kinds();
    for workers in [1, 2] {
        if kinds.contains(&Kind::HaProxy) {
            rows.push(moment(Way::Map, workers, Growth::NONE, bench).await);
        }
        for routes in ROUTES {
            for endpoints in ENDPOINTS {
                // Without a route in the file, one serves everything.
                let routes = if routes > 1 { routes } else { 0 };
                rows.push(moment(Way::Api, workers, Growth { routes, endpoints, ..Growth::NONE }, bench).await);
            }
        }
    }
    let title = format!(
        "Switch of a large setup: {FEWER} switches for each row, the same load; endpoints of each color; two workers share \
         the second core with the load"
    );
    let head = [
        "way",
        "workers",
        "routes",
        "endpoints",
        "failed",
        "stale",
        "command ms",
        "max",
        "waited ms",
        "p99 ms near",
        "far",
        "gap ms near",
        "far",
    ];
    report.table(&title, &head, &rows);
    report.paragraph(
        "Waited: in the median, how long workers could have run during the command while something else had their cores, \
         together. Gap: the longest time in which none of the connections got an answer. It bounds the time for which every worker \
         was kept from its requests by one thing, and includes the time in which the load had no core.",
    );
}

async fn moment(way: Way, workers: usize, growth: Growth, bench: &Bench) -> Vec<String> {
    let proxy = Proxy::start_for(Setup { workers, growth, ..Setup::default() }, way.kind(), bench).await;
    sleep(SETTLE).await;
    let observed = observe(way, FEWER, &proxy, bench).await;
    let [command, most] = observed.commands();
    let (p99, gap) = (observed.p99(), observed.gap());
    let row = vec![
        way.name().to_owned(),
        workers.to_string(),
        growth.routes.max(1).to_string(),
        growth.endpoints.to_string(),
        observed.failed().to_string(),
        observed.stale().len().to_string(),
        format!("{command:.1}"),
        format!("{most:.1}"),
        format!("{:.2}", observed.waited()),
        format!("{:.2}", millis(p99.near)),
        format!("{:.2}", millis(p99.far)),
        format!("{:.2}", millis(gap.near)),
        format!("{:.2}", millis(gap.far)),
    ];
    eprintln!("compare: {} done", row[..4].join(", "));
    row
}

/// Switches to and fro under load.
async fn observe(way: Way, count: usize, proxy: &Proxy, bench: &Bench) -> Observed {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..bench.connections {
        clients.spawn(visit(proxy.http, Arc::clone(&stop)));
    }
    let workers = Workers::of(&proxy.process);
    let mut switches: Vec<Switch> = Vec::new();
    let mut to = Color::Green;
    while switches.len() < count {
        sleep(SPACING).await;
        let waited = workers.waited();
        let began = Instant::now();
        let done = timeout(PATIENCE, way.switch(to, proxy, bench)).await;
        assert!(done.is_ok(), "{} did not become active:\n{}", to, proxy.read("log"));
        let answered = Instant::now();
        let waited = workers.waited().saturating_sub(waited);
        switches.push(Switch { to, began, answered, waited });
        to = to.other();
    }
    sleep(SPACING).await;
    stop.store(true, Ordering::Relaxed);
    let seen = timeout(PATIENCE, clients.join_all()).await.expect("every request comes to an end");
    Observed { seen: seen.into_iter().flatten().collect(), switches }
}

impl Switch {
    /// True if any of that time is near this switch.
    fn is_near(&self, from: Instant, to: Instant) -> bool {
        to >= self.began - NEAR && from <= self.answered + NEAR
    }
}

impl Observed {
    fn failed(&self) -> usize {
        self.seen.iter().filter(|request| request.color.is_none()).count()
    }

    /// For each stale request, how long after the answer to the switch it was sent.
    fn stale(&self) -> Vec<Duration> {
        self.seen.iter().filter_map(|request| stale_for(request, &self.switches)).collect()
    }

    /// Milliseconds of the commands: the median, and the most.
    fn commands(&self) -> [f64; 2] {
        let took: Vec<f64> = self.switches.iter().map(|switch| millis(switch.answered - switch.began)).collect();
        [median(&took), took.iter().copied().fold(0.0, f64::max)]
    }

    /// Milliseconds for which workers waited for their cores during a command: the median.
    fn waited(&self) -> f64 {
        median(&self.switches.iter().map(|switch| millis(switch.waited)).collect::<Vec<_>>())
    }

    fn p99(&self) -> Beside<Duration> {
        let (mut near, mut far) = (Histogram::new(), Histogram::new());
        for request in self.seen.iter().filter(|request| request.color.is_some()) {
            let histogram = if self.is_near(request.sent, request.done) { &mut near } else { &mut far };
            histogram.record(request.done - request.sent);
        }
        Beside { near: near.percentile(99.0), far: far.percentile(99.0) }
    }

    /// The longest times without an answer on any connection.
    fn gap(&self) -> Beside<Duration> {
        let mut answers: Vec<Instant> = self.seen.iter().map(|request| request.done).collect();
        answers.sort();
        let mut gap = Beside { near: Duration::ZERO, far: Duration::ZERO };
        for pair in answers.windows(2) {
            let longest = if self.is_near(pair[0], pair[1]) { &mut gap.near } else { &mut gap.far };
            *longest = (*longest).max(pair[1] - pair[0]);
        }
        gap
    }

    fn is_near(&self, from: Instant, to: Instant) -> bool {
        self.switches.iter().any(|switch| switch.is_near(from, to))
    }
}

/// How long after the answer to the last switch this was sent, if the color that was left behind answered it.
fn stale_for(request: &Seen, switches: &[Switch]) -> Option<Duration> {
    let (begun, later) = switches.split_at(switches.partition_point(|switch| switch.began <= request.sent));
    let last = begun.last()?;
    // Between command and answer either color is right, and so it is for a request in flight at the next switch.
    let since = request.sent.checked_duration_since(last.answered)?;
    let undisturbed = later.first().is_none_or(|next| request.done < next.began);
    (undisturbed && request.color == Some(last.to.other())).then_some(since)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
