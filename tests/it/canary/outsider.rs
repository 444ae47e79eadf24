//! A hostile population beside good users, in front of two healthy releases with a canary under way. Strangers must not be able to
//! have a release rolled back, an endpoint ejected, a canary held, or a good request lost; and they must not hide a real regression.
//!
//! The population is adaptive: it learns which color answers it, by a cookie that it chose or by the answer's head, and misbehaves
//! towards the candidate alone, because only a one-sided difference is evidence.

mod chooser;
mod good;
mod population;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::application::Application;
use crate::canary::outsider::good::Good;
use crate::canary::outsider::population::Population;
use crate::client::Connection;
use crate::http2::Endpoint;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// Short timeouts, so that each kind of stranger gets to them; quick ticks, so that each tick is judged.
fn config(sticky: &str, http2: bool) -> String {
    let protocol = if http2 { "http2" } else { "http1" };
    format!(
        "[upstream.default]\nprotocol = \"{protocol}\"\nidle_timeout = \"400ms\"\nresponse_timeout = \"3s\"\n\
         eject = {{ consecutive = 3, for = \"10s\" }}\n\
         [canary]\nsteps = [\"40%\"]\ndwell = \"1h\"\nmax_step = \"2h\"\nsticky = \"{sticky}\"\n\
         [analysis]\ntick = \"100ms\"\nwarmup = {{ requests = 0, time = \"0s\" }}\n"
    )
}

/// The endpoints of both colors, of one version.
enum Endpoints {
    Http1(Application, Application),
    Http2(Endpoint, Endpoint),
}

impl Endpoints {
    async fn start(http2: bool) -> Endpoints {
        if http2 {
            Endpoints::Http2(Endpoint::start("blue").await, Endpoint::start("green").await)
        } else {
            Endpoints::Http1(Application::start("blue").await, Application::start("green").await)
        }
    }

    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        match self {
            Endpoints::Http1(blue, green) => (blue.address, green.address),
            Endpoints::Http2(blue, green) => (blue.address, green.address),
        }
    }
}

/// Of endpoints between the parts of an answer, as the configuration of the test says.
const IDLE_TIMEOUT: Duration = Duration::from_millis(400);

/// From look to look at how late this test's runtime is.
const PAUSE: Duration = Duration::from_millis(5);

/// The slowest answer to a rollback, and how late the runtime of the test was meanwhile.
struct Slowest {
    rollback: Duration,
    late: Duration,
}

/// A proxy with a canary under way.
struct Site {
    proxy: Proxy,
    _endpoints: Endpoints,
}

impl Site {
    async fn start(sticky: &str, http2: bool) -> Site {
        let endpoints = Endpoints::start(http2).await;
        let (blue, green) = endpoints.addresses();
        let setup = Setup { more: config(sticky, http2), ..Setup::at(blue, green) };
        let proxy = setup.start().await;
        let is_up = |status: &Value, color: &str| endpoints_of(status, color).iter().all(|one| one["health"] == "up");
        proxy.until("both colors are up", |status| is_up(status, "blue") && is_up(status, "green")).await;
        let answer = proxy.post("/admin/canary", json!({ "reason": "release 2" })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Site { proxy, _endpoints: endpoints }
    }

    /// How long a rollback takes at most, asked for again and again. Each comes to the controller, and is for another generation.
    /// Asked on a thread of its own: this test's own runtime also plays strangers, users and endpoints, and is late itself.
    async fn slowest_rollback(&self) -> Slowest {
        let socket = self.proxy.dir.path().join("admin.sock");
        let (done, slowest) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = done.send(runtime.block_on(async {
                let mut slowest = Duration::ZERO;
                for _ in 0..100 {
                    let asked = Instant::now();
                    let mut connection = Connection::unix(&socket).await.expect("the admin socket");
                    let body = "{\"if_generation\":1000}";
                    let head = "POST /admin/rollback HTTP/1.1\r\nHost: localhost\r\n";
                    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
                    let answer = connection.answer().await;
                    assert_eq!(answer.status, 412, "{}", answer.text());
                    slowest = slowest.max(asked.elapsed());
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                slowest
            }));
        });
        let mut slowest = std::pin::pin!(slowest);
        let mut late = Duration::ZERO;
        loop {
            let slept = Instant::now();
            tokio::select! {
                rollback = &mut slowest => return Slowest { rollback: rollback.expect("it was asked"), late },
                () = tokio::time::sleep(PAUSE) => late = late.max(slept.elapsed().saturating_sub(PAUSE)),
            }
        }
    }

    /// By a rollback; or by an abort that names its errors, if pages that ask for files of both releases were found first.
    async fn has_ended_for_its_errors(&self) -> bool {
        let history = self.proxy.admin("GET", "/admin/history?limit=100", "").await.json();
        let transitions = history["transitions"].as_array().cloned().unwrap_or_default();
        transitions.iter().any(|transition| match transition["kind"].as_str() {
            Some("rollback") => true,
            Some("abort") => {
                let findings = transition["judgement"]["findings"].as_array().cloned().unwrap_or_default();
                findings.iter().any(|finding| finding["class"] == "error" && finding["route"] == "/broken")
            }
            _ => false,
        })
    }

    /// What happened, newest first; of what was judged, the finding.
    async fn kinds(&self) -> Vec<String> {
        let history = self.proxy.admin("GET", "/admin/history?limit=100", "").await.json();
        let transitions = history["transitions"].as_array().cloned().unwrap_or_default();
        let kind = |transition: &Value| match &transition["judgement"]["findings"][0] {
            Value::Null => transition["kind"].as_str().map(str::to_owned),
            finding => Some(format!("{} ({})", transition["kind"].as_str()?, finding["class"].as_str()?)),
        };
        transitions.iter().filter_map(kind).collect()
    }
}

fn endpoints_of(status: &Value, color: &str) -> Vec<Value> {
    let upstreams = status["colors"][color]["upstreams"].as_array().cloned().unwrap_or_default();
    upstreams.iter().flat_map(|upstream| upstream["endpoints"].as_array().cloned().unwrap_or_default()).collect()
}

/// What came of a population beside good users.
struct Outcome {
    row: String,
    answered: usize,
    lost: Vec<String>,
    ejections: usize,
    kinds: Vec<String>,
    status: Value,
    canary: Value,
    /// Requests that were charged to an endpoint or a release, from the access log.
    charged: Vec<String>,
    log: String,
}

/// Path, status, error and blame of a line of the access log.
fn summary(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("a line is JSON");
    format!("{} {} {} {}", line["path"], line["status"], line["error"], line["blame"])
}

/// Two healthy releases, strangers and good users.
async fn beside_strangers(sticky: &str, http2: bool) -> Outcome {
    let site = Site::start(sticky, http2).await;
    let good = Good::start(site.proxy.http, "/");
    let population = Population::run(site.proxy.http, sticky != "off");
    let (told, slowest) = tokio::join!(population, site.slowest_rollback());
    let before = good.answered();
    until("good users are served after the strangers", async || (good.answered() > before + 100).then_some(())).await;
    let (answered, lost) = good.end();
    let (status, kinds, log) = (site.proxy.status().await, site.kinds().await, site.proxy.log());
    let ejections = log.lines().filter(|line| line.contains("failed too often")).count();
    let canary = site.proxy.admin("GET", "/admin/canary", "").await.json()["canary"].clone();
    // To the color that serves: it takes the canary back, if there still is one.
    let back = site.proxy.post("/admin/switch", json!({ "to": "blue", "reason": "the way back works" })).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let row = format!(
        "| {} | {sticky} | {} acts of {} kinds | {answered} | {} | {ejections} | {} | {:.0?} ({:.0?}) |",
        if http2 { "HTTP/2" } else { "HTTP/1.1" },
        told.acts,
        told.kinds,
        lost.len(),
        kinds.join(", "),
        slowest.rollback,
        slowest.late,
    );
    let access = std::fs::read_to_string(site.proxy.dir.path().join("access.log")).unwrap_or_default();
    // The endpoints live in this test's runtime. Where that paused for about `idle_timeout`, they did so, too, and are
    // rightly charged with the answers that they left incomplete.
    let paused = slowest.late >= IDLE_TIMEOUT / 2;
    let is_charged = |line: &&str| {
        let charged = line.contains("\"blame\":\"endpoint\"") || line.contains("\"blame\":\"release\"");
        charged && !(paused && line.contains("http_response_incomplete"))
    };
    let charged = access.lines().filter(is_charged).map(summary).collect::<BTreeSet<_>>().into_iter().collect();
    Outcome { charged, row, answered, lost, ejections, kinds, status, canary, log }
}

impl Outcome {
    /// Nothing follows from what strangers do.
    fn is_harmless(&self) {
        assert_eq!(self.lost, Vec::<String>::new(), "good requests were lost");
        assert_eq!(self.charged, Vec::<String>::new(), "requests of strangers are charged");
        assert!(self.answered > 200, "only {} good requests", self.answered);
        assert_eq!(self.ejections, 0, "{}", self.log);
        for color in ["blue", "green"] {
            for endpoint in endpoints_of(&self.status, color) {
                assert_eq!(endpoint["health"], "up", "{endpoint}");
            }
        }
        // What was refused are the rollbacks that the test itself asks for.
        let quiet = |kind: &String| matches!(kind.as_str(), "start" | "canary" | "drained" | "refused");
        assert!(self.kinds.iter().all(quiet), "{:?}", self.kinds);
        assert!(!self.canary.is_null() && self.canary["held"].as_bool() != Some(true), "{}", self.canary);
    }
}

#[tokio::test]
async fn strangers_can_not_blame_a_release_over_http1() {
    let outcome = beside_strangers("off", false).await;
    println!("{}", outcome.row);
    outcome.is_harmless();
}

#[tokio::test]
async fn strangers_can_not_blame_a_release_over_http1_with_a_cookie_of_their_choice() {
    let outcome = beside_strangers("cookie:user", false).await;
    println!("{}", outcome.row);
    outcome.is_harmless();
}

#[tokio::test]
async fn strangers_can_not_blame_a_release_over_http2() {
    let outcome = beside_strangers("off", true).await;
    println!("{}", outcome.row);
    outcome.is_harmless();
}

#[tokio::test]
async fn strangers_can_not_blame_a_release_over_http2_with_a_cookie_of_their_choice() {
    let outcome = beside_strangers("cookie:user", true).await;
    println!("{}", outcome.row);
    outcome.is_harmless();
}

#[tokio::test]
async fn strangers_do_not_hide_a_regression() {
    let site = Site::start("off", false).await;
    let good = Good::start(site.proxy.http, "/broken?green");
    let population = tokio::spawn(Population::run(site.proxy.http, false));
    until("the release gets no more requests", async || site.has_ended_for_its_errors().await.then_some(())).await;
    population.abort();
    good.end();
}
