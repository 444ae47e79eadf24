//! Switching while requests are made: what fails, what still goes to the old color, and how long it takes.
//!
//! A request is stale if it was *sent* after the answer to the switch had come, and the color that was left behind
//! answered it. What was under way at that moment may end where it began.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cutover::internals::domain::color::Color;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Bench;
use crate::client::{Answer, Connection, GET};
use crate::histogram::Histogram;
use crate::proxies::{self, Kind, Proxy, Upstream, envoy, haproxy, nginx};
use crate::report::Report;
use crate::table::median;

const SWITCHES: usize = 20;
const SPACING: Duration = Duration::from_millis(250);
/// Clients come and go: after so many requests a connection is closed, and another one opened.
const REQUESTS_PER_CONNECTION: usize = 50;
/// What counts as near a switch, before its command and after its answer.
const NEAR: Duration = Duration::from_millis(50);
/// No command takes this long, and no request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the order to switch is given.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Api,
    /// A new file takes the name of the old one.
    Rename,
    /// The file is emptied and written, as most editors do it.
    InPlace,
    /// HAProxy's runtime socket.
    Map,
    /// nginx reads its files again.
    Reload,
    /// A runtime key in Envoy's admin API.
    Runtime,
}

/// One request.
struct Seen {
    sent: Instant,
    done: Instant,
    /// Who answered; nobody if it failed.
    color: Option<Color>,
}

/// One switch.
struct Switch {
    to: Color,
    began: Instant,
    /// The command said that it is done.
    answered: Instant,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) {
    let mut rows = Vec::new();
    let kinds = bench.programs.kinds();
    let ways = [Way::Api, Way::Rename, Way::InPlace, Way::Map, Way::Reload, Way::Runtime];
    for way in ways.into_iter().filter(|way| kinds.contains(&way.kind())) {
        rows.push(measure(way, bench).await.to_vec());
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
}

async fn measure(way: Way, bench: &Bench) -> [String; 9] {
    let proxy = Proxy::start(way.kind(), bench).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..bench.connections {
        clients.spawn(visit(proxy.http, Arc::clone(&stop)));
    }
    let mut switches: Vec<Switch> = Vec::new();
    let mut to = Color::Green;
    while switches.len() < SWITCHES {
        sleep(SPACING).await;
        let began = Instant::now();
        let done = timeout(PATIENCE, way.switch(to, &proxy, bench)).await;
        assert!(done.is_ok(), "{} did not become active:\n{}", to, proxy.read("log"));
        switches.push(Switch { to, began, answered: Instant::now() });
        to = to.other();
    }
    sleep(SPACING).await;
    stop.store(true, Ordering::Relaxed);
    let seen = timeout(PATIENCE, clients.join_all()).await.expect("every request comes to an end");
    way.row(&seen.into_iter().flatten().collect::<Vec<_>>(), &switches)
}

impl Way {
    /// One of each proxy: the one that is meant for it.
    pub(crate) const LIVE: [Way; 4] = [Way::Api, Way::Map, Way::Reload, Way::Runtime];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Way::Api | Way::Rename | Way::InPlace => Kind::Cutover,
            Way::Map => Kind::HaProxy,
            Way::Reload => Kind::Nginx,
            Way::Runtime => Kind::Envoy,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Api => "Cutover: admin API",
            Way::Rename => "Cutover: file, renamed",
            Way::InPlace => "Cutover: file, in place",
            Way::Map => "HAProxy: set map",
            Way::Reload => "nginx: reload",
            Way::Runtime => "Envoy: runtime key",
        }
    }

    /// Returns when the command says that the color is active.
    pub(crate) async fn switch(self, to: Color, proxy: &Proxy, bench: &Bench) {
        match self {
            Way::Api => {
                let body = format!("{{\"to\":\"{to}\"}}");
                let mut connection = Connection::open(proxy.admin).await.expect("the admin API");
                let request = format!(
                    "POST /admin/switch HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    proxy.admin,
                    body.len(),
                );
                let (answer, body) = ask(&mut connection, &request).await;
                assert!(answer.status == 200 && body["active"] == to.as_str(), "{}: {body}", answer.status);
            }
            Way::Rename => {
                let edited = proxy.file("edited.toml");
                std::fs::write(&edited, with_active(proxy, to)).expect("a file");
                std::fs::rename(&edited, proxy.file(proxies::cutover::FILE)).expect("the same directory");
                until_active(to, proxy).await;
            }
            Way::InPlace => {
                std::fs::write(proxy.file(proxies::cutover::FILE), with_active(proxy, to)).expect("a file");
                until_active(to, proxy).await;
            }
            Way::Map => {
                let map = proxy.file(haproxy::MAP);
                let mut socket = UnixStream::connect(proxy.file(haproxy::SOCKET)).await.expect("the runtime socket");
                let command = format!("set map {} active {to}\n", map.display());
                socket.write_all(command.as_bytes()).await.expect("a command");
                let mut answer = String::new();
                socket.read_to_string(&mut answer).await.expect("an answer");
                assert_eq!(answer.trim(), "", "HAProxy is silent when it did what it was told");
            }
            Way::Reload => {
                std::fs::write(proxy.file(nginx::ACTIVE), nginx::active(to, Upstream::Http1)).expect("a file");
                let mut command = nginx::in_directory(&bench.programs, proxy.dir());
                command.args(["-s", "reload"]).stderr(Stdio::null());
                let status = tokio::process::Command::from(command).status().await.expect("nginx runs");
                assert!(status.success(), "{status}");
            }
            Way::Runtime => {
                let percent = if to == Color::Green { 100 } else { 0 };
                let request = format!(
                    "POST /runtime_modify?{}={percent} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    envoy::KEY,
                    proxy.admin,
                );
                let mut connection = TcpStream::connect(proxy.admin).await.expect("the admin API");
                connection.write_all(request.as_bytes()).await.expect("a request");
                let mut answer = String::new();
                connection.read_to_string(&mut answer).await.expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        }
    }

    fn row(self, seen: &[Seen], switches: &[Switch]) -> [String; 9] {
        let failed = seen.iter().filter(|request| request.color.is_none()).count();
        let stale: Vec<Duration> = seen.iter().filter_map(|request| stale_for(request, switches)).collect();
        let longest = stale.iter().max().copied().unwrap_or_default();
        let (mut near, mut far) = (Histogram::new(), Histogram::new());
        for request in seen.iter().filter(|request| request.color.is_some()) {
            let is_near = switches
                .iter()
                .any(|switch| request.done >= switch.began - NEAR && request.sent <= switch.answered + NEAR);
            let histogram = if is_near { &mut near } else { &mut far };
            histogram.record(request.done - request.sent);
        }
        let commands: Vec<f64> = switches.iter().map(|switch| millis(switch.answered - switch.began)).collect();
        [
            self.name().to_owned(),
            seen.len().to_string(),
            failed.to_string(),
            stale.len().to_string(),
            format!("{:.1}", millis(longest)),
            format!("{:.1}", median(&commands)),
            format!("{:.1}", commands.iter().copied().fold(0.0, f64::max)),
            format!("{:.2}", millis(near.percentile(99.0))),
            format!("{:.2}", millis(far.percentile(99.0))),
        ]
    }
}

/// How long after the answer to the last switch this was sent, if the color that was left behind answered it.
fn stale_for(request: &Seen, switches: &[Switch]) -> Option<Duration> {
    let (begun, later) = switches.split_at(switches.partition_point(|switch| switch.began <= request.sent));
    let last = begun.last()?;
    // Between command and answer either color is right, and also for what the next switch found under way.
    let since = request.sent.checked_duration_since(last.answered)?;
    let undisturbed = later.first().is_none_or(|next| request.done < next.began);
    (undisturbed && request.color == Some(last.to.other())).then_some(since)
}

/// Asks until it is told to stop, and notes everything. A request that fails is not made again.
async fn visit(to: SocketAddr, stop: Arc<AtomicBool>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut open: Option<(Connection, usize)> = None;
    while !stop.load(Ordering::Relaxed) {
        let usable = match open.take() {
            Some(usable) => Ok(usable),
            None => Connection::open(to).await.map(|connection| (connection, 0)),
        };
        let sent = Instant::now();
        let asked = async {
            let (mut connection, requests) = usable?;
            let answer = connection.ask(GET).await?;
            std::io::Result::Ok((connection, requests + 1, answer))
        };
        let color = match asked.await {
            Ok((connection, requests, answer)) => {
                open = Some((connection, requests)).filter(|_| !answer.close && requests < REQUESTS_PER_CONNECTION);
                answer.success()
            }
            Err(_) => None,
        };
        seen.push(Seen { sent, done: Instant::now(), color });
        if color.is_none() {
            // A proxy that is down is not asked as fast as this machine can.
            sleep(Duration::from_millis(1)).await;
        }
    }
    seen
}

/// Cutover's file with another order in it.
fn with_active(proxy: &Proxy, to: Color) -> String {
    let text = proxy.read(proxies::cutover::FILE);
    text.replacen(&format!("active = \"{}\"", to.other()), &format!("active = \"{to}\""), 1)
}

/// Asks each millisecond for what is active.
async fn until_active(to: Color, proxy: &Proxy) {
    let request = format!("GET /admin/status HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    let mut connection = Connection::open(proxy.admin).await.expect("the admin API");
    while ask(&mut connection, &request).await.1["active"] != to.as_str() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// An answer of the admin API, and what it says.
async fn ask(connection: &mut Connection, request: &str) -> (Answer, Value) {
    let answer = connection.ask(request.as_bytes()).await.expect("an answer");
    let body = serde_json::from_slice(connection.body(answer)).expect("JSON");
    (answer, body)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
