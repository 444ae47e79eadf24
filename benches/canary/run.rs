//! One run: a proxy, two shops, a load, one canary, and what became of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::load::Load;
use crate::scenarios::Scenario;
use crate::shop::{PAGES, Shop};

/// What was under way at the rollback has ended by then.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) taken_back: Option<TakenBack>,
    pub(crate) suspected: bool,
    pub(crate) baseline_unhealthy: bool,
    pub(crate) known_good: bool,
    /// Requests to the candidate, as last seen.
    pub(crate) assigned: Option<u64>,
    /// What the evidence clock says at the end: requests, and seconds.
    pub(crate) clock: Option<(f64, Option<f64>)>,
    pub(crate) lost: u64,
    /// To the candidate, after it was taken back.
    pub(crate) after: u64,
    pub(crate) last_words: String,
}

pub(crate) struct TakenBack {
    pub(crate) words: String,
    pub(crate) exposed: u64,
    pub(crate) harmed: u64,
    /// Of `/checkout`, to the candidate.
    pub(crate) on_page: u64,
    pub(crate) seconds: f64,
}

/// Ends it with the run.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn run(scenario: &Scenario) -> Outcome {
    let blue = Shop::open("blue", scenario.before).await.expect("a port");
    let green = Shop::open("green", scenario.before).await.expect("a port");
    let dir = tempfile::tempdir().expect("a directory");
    let (_proxy, http) = start(dir.path(), scenario, &blue, &green).await;
    let load = Load::start(http, scenario.rate, &PAGES, 0);
    tokio::time::sleep(scenario.usual).await;
    blue.behaves(scenario.stable);
    green.behaves(scenario.candidate);
    let began = Instant::now();
    let started = admin(dir.path(), "POST", "/admin/canary", "{}").await;
    assert_eq!(started["changed"], true, "{started}");
    let mut outcome = Outcome::default();
    while began.elapsed() < scenario.lasts {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let canary = admin(dir.path(), "GET", "/admin/canary", "").await["canary"].clone();
        if canary.is_null() {
            break;
        }
        outcome.assigned = canary["routes"][0]["candidate"]["assigned"].as_u64().or(outcome.assigned);
        let next = &canary["next"];
        outcome.clock = next["needs_requests"].as_f64().map(|requests| (requests, next["needs_s"].as_f64()));
        outcome.last_words = canary["judgement"]["words"].as_str().unwrap_or_default().to_owned();
    }
    let transitions = history(dir.path()).await;
    let of = |kind: &str| transitions.iter().find(|transition| transition["kind"] == kind);
    outcome.suspected = of("suspect").is_some();
    outcome.baseline_unhealthy = of("baseline_unhealthy").is_some();
    outcome.known_good = of("known_good").is_some();
    if let Some(rollback) = of("rollback") {
        let judgement = &rollback["judgement"];
        tokio::time::sleep(SETTLED).await;
        let before = green.requests();
        tokio::time::sleep(SETTLED).await;
        outcome.after = green.requests() - before;
        let number = |key: &str| judgement[key].as_u64().unwrap_or_default();
        outcome.taken_back = Some(TakenBack {
            words: judgement["words"].as_str().unwrap_or_default().to_owned(),
            exposed: number("exposed"),
            harmed: number("harmed"),
            on_page: load.seen().green.checkouts,
            seconds: between(&started["at"], &rollback["at"]),
        });
        outcome.last_words = format!("{} ({})", judgement["words"], rollback["reason"]);
    }
    outcome.lost = load.seen().lost;
    outcome
}

/// What happened, newest first. What was taken back is seen before it is on disk, and in the history after.
async fn history(dir: &Path) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let history = admin(dir, "GET", "/admin/history?limit=100", "").await;
        let transitions = history["transitions"].as_array().cloned().unwrap_or_default();
        let newest = transitions.iter().find(|transition| transition["kind"] != "drained");
        let on_its_way = admin(dir, "GET", "/admin/canary", "").await["canary"].is_object();
        let told = newest.is_some_and(|newest| newest["canary"].is_object()) == on_its_way;
        if told || began.elapsed() > Duration::from_secs(5) {
            return transitions;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Seconds from one time to another.
fn between(from: &Value, to: &Value) -> f64 {
    let [from, to] = [from, to].map(|at| at.as_str().and_then(|at| humantime::parse_rfc3339(at).ok()).expect("a time"));
    to.duration_since(from).unwrap_or_default().as_secs_f64()
}

async fn start(dir: &Path, scenario: &Scenario, blue: &Shop, green: &Shop) -> (Proxy, SocketAddr) {
    let text = format!(
        "active = \"blue\"\n[listen]\nhttp = \"127.0.0.1:0\"\nadmin = \"unix:{0}/admin.sock\"\nworkers = 2\n\
         [state]\ndir = \"{0}/state\"\n[health]\npath = \"/healthz\"\n[log]\naccess = \"off\"\n\
         [blue]\nrelease = \"1\"\nendpoints = [\"{1}\"]\n[green]\nrelease = \"2\"\nendpoints = [\"{2}\"]\n{3}",
        dir.display(),
        blue.address,
        green.address,
        scenario.config,
    );
    std::fs::write(dir.join("cutover.toml"), text).expect("a file");
    let log = std::fs::File::create(dir.join("log")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(["run", "--config"]).arg(dir.join("cutover.toml")).stdout(Stdio::null()).stderr(log);
    let mut proxy = Proxy(command.spawn().expect("the binary was built"));
    while UnixStream::connect(dir.join("admin.sock")).await.is_err() {
        if let Ok(Some(ended)) = proxy.0.try_wait() {
            panic!("it ended with {ended}: {}", std::fs::read_to_string(dir.join("log")).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = admin(dir, "GET", "/admin/status", "").await;
    (proxy, status["http_address"].as_str().and_then(|address| address.parse().ok()).expect("an address"))
}

async fn admin(dir: &Path, method: &str, path: &str, body: &str) -> Value {
    let mut stream = UnixStream::connect(dir.join("admin.sock")).await.expect("the admin socket");
    let length = body.len();
    let asked = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(asked.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
