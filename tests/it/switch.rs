//! The switch: all traffic moves between two requests, by every way in, and nothing fails.

mod drain;
mod giving_up;
mod hold;
mod operators;
mod schema;
mod streams;
mod told;
pub(crate) mod tunnel;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// Before the first answer of an endpoint nothing more is known than that the gate asks.
fn refused_once(status: &Value) -> bool {
    status["moving"]["waits_for"].as_str().is_some_and(|first| first != "health checks")
}

/// A proxy whose gate lasts as long as a test needs.
async fn patient(blue: &Application, green: &Application) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        Setup::new(blue, green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"10m\"");
    Proxy::start_in(dir, &text).await
}

/// A GET that is sent, and not answered yet.
pub(crate) async fn ask(proxy: &Proxy, path: &str) -> Connection {
    let mut client = proxy.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client
}

/// Closed-loop clients that check every answer against what was promised before they asked.
pub(crate) struct Load {
    /// Odd: `green` is promised, even: `blue`; with `MOVING`: either.
    promise: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Tally>>,
}

#[derive(Default)]
struct Tally {
    answered: u64,
    failed: Vec<String>,
    stale: u64,
}

const MOVING: u64 = 1 << 63;

impl Load {
    fn start(proxy: &Proxy, clients: usize) -> Load {
        let http = proxy.http;
        Load::start_by(clients, move || crate::client::Connection::tcp(http))
    }

    /// With connections that are made in another way.
    pub(crate) fn start_by<F>(clients: usize, connect: impl Fn() -> F + Clone + Send + 'static) -> Load
    where
        F: Future<Output = crate::client::Connection> + Send,
    {
        let promise = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients)
            .map(|_| {
                let (promise, stop, connect) = (Arc::clone(&promise), Arc::clone(&stop), connect.clone());
                tokio::spawn(async move {
                    let mut tally = Tally::default();
                    while !stop.load(Ordering::SeqCst) {
                        let mut connection = connect().await;
                        for _ in 0..50 {
                            let before = promise.load(Ordering::SeqCst);
                            if let Err(error) = connection.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await {
                                tally.failed.push(error.to_string());
                                break;
                            }
                            let Some(answer) = connection.try_answer(false).await else {
                                tally.failed.push("closed without an answer".to_owned());
                                break;
                            };
                            if answer.status != 200 {
                                tally.failed.push(format!("{} {}", answer.status, answer.text()));
                                continue;
                            }
                            tally.answered += 1;
                            let promised = if before % 2 == 0 { "blue" } else { "green" };
                            let still = promise.load(Ordering::SeqCst) == before && before & MOVING == 0;
                            if still && answer.text() != promised {
                                tally.stale += 1;
                            }
                        }
                    }
                    tally
                })
            })
            .collect();
        Load { promise, stop, clients }
    }

    /// A move begins: until it is done, either color may answer.
    pub(crate) fn moving(&self) {
        self.promise.fetch_or(MOVING, Ordering::SeqCst);
    }

    /// It is done: whoever asks from now on gets the new color.
    pub(crate) fn moved(&self) {
        let now = self.promise.load(Ordering::SeqCst) & !MOVING;
        self.promise.store(now + 1, Ordering::SeqCst);
    }

    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let (mut answered, mut stale, mut failed) = (0, 0, Vec::new());
        for client in self.clients {
            let tally = client.await.expect("no client panics");
            answered += tally.answered;
            stale += tally.stale;
            failed.extend(tally.failed);
        }
        assert!(failed.is_empty(), "{} of {answered} failed: {:?}", failed.len(), &failed[..failed.len().min(5)]);
        assert_eq!(stale, 0, "of {answered} answers came from the old color after the switch was answered");
        assert!(answered > 500, "there was load: {answered}");
    }
}

/// Some more answers, so that each promise is put to the test.
async fn a_while(proxy: &Proxy) {
    for _ in 0..10 {
        proxy.color().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_switches_by_the_api_under_load_fail_nothing_and_leave_nothing_behind() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let load = Load::start(&proxy, 32);
    for _ in 0..20 {
        load.moving();
        let answer = proxy.post("/admin/switch", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        load.moved();
        a_while(&proxy).await;
    }
    load.end().await;
}

async fn twenty_edits(edit: fn(&Proxy, &str)) {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let load = Load::start(&proxy, 32);
    for color in ["green", "blue"].into_iter().cycle().take(20) {
        load.moving();
        edit(&proxy, &proxy.ordering(color));
        proxy.until_color(color).await;
        load.moved();
        a_while(&proxy).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_edits_by_rename_under_load_fail_nothing_and_leave_nothing_behind() {
    twenty_edits(Proxy::replace_file).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_edits_in_place_under_load_fail_nothing_and_leave_nothing_behind() {
    twenty_edits(Proxy::write_file).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_and_reloads_in_a_loop_under_load_fail_nothing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let load = Load::start(&proxy, 16);
    load.moving();
    for round in 0..40 {
        let text = proxy.text();
        let timeout = format!("timeout = \"{}s\"", 20 + round % 2);
        proxy.replace_file(&text.replace("timeout = \"20s\"", &timeout).replace("timeout = \"21s\"", &timeout));
        let switched = async { proxy.post("/admin/switch", json!({})).await.status };
        let rolled = async { proxy.post("/admin/rollback", json!({})).await.status };
        let (switched, rolled) = tokio::join!(switched, rolled);
        assert!([200, 409].contains(&switched) && [200, 409].contains(&rolled), "{switched} {rolled}");
    }
    load.end().await;
}

#[tokio::test]
async fn a_switch_answers_what_it_did() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let answer = proxy.post("/admin/switch", json!({ "reason": "release 2" })).await.json();
    assert_eq!(answer["changed"], true);
    assert_eq!((&answer["active"], &answer["previous"]), (&json!("green"), &json!("blue")));
    assert_eq!((&answer["generation"], &answer["release"]), (&json!(2), &json!("2.0")));
    assert!(answer["took_us"].as_u64().is_some() && answer["at"].is_string(), "{answer}");
    assert_eq!(proxy.color().await, "green");
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    let last = &history["transitions"][0];
    assert_eq!(
        (&last["kind"], &last["reason"], &last["trigger"]),
        (&json!("switch"), &json!("release 2"), &json!("api"))
    );
    let user = std::process::Command::new("id").arg("-un").output().expect("id runs");
    assert_eq!(last["actor"], String::from_utf8(user.stdout).expect("text").trim());
}

#[tokio::test]
async fn a_switch_to_the_live_color_changes_nothing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let ledger = proxy.ledger();
    let answer = proxy.switch("blue").await;
    assert_eq!((&answer["changed"], &answer["generation"]), (&json!(false), &json!(1)));
    assert_eq!(proxy.ledger(), ledger);
}

#[tokio::test]
async fn a_stale_generation_is_412_and_names_the_one_in_force() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "if_generation": 1 })).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (412, json!("stale_generation")));
    assert_eq!(answer.json()["generation"], 2);
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "if_generation": 2 })).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_unhealthy_target_is_refused_with_endpoint_status_and_time() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let answer = proxy.post("/admin/switch", json!({})).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("unhealthy")), "{problem}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let endpoint = &problem["endpoints"][0];
    assert_eq!(endpoint["endpoint"], green.address.to_string());
    assert_eq!((&endpoint["detail"], &endpoint["passed"]), (&json!("503"), &json!(false)));
    assert!(endpoint["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{endpoint}");
    assert_eq!(proxy.color().await, "blue");

    let answer = proxy.post("/admin/switch", json!({ "force": true, "reason": "I know" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    assert_eq!(history["transitions"][0]["forced"], true, "{history}");
}

#[tokio::test]
async fn the_gate_asks_now_and_does_not_go_by_memory() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    // Probed at the start and then not for an hour.
    setup.more = String::new();
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("interval = \"100ms\"", "interval = \"1h\"");
    let proxy = Proxy::start_in(dir, &text).await;
    proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    green.set_healthy(false);
    assert_eq!(proxy.post("/admin/switch", json!({})).await.status, 409);
    green.set_healthy(true);
    assert_eq!(proxy.post("/admin/switch", json!({})).await.status, 200);
}

#[tokio::test]
async fn a_dry_run_asks_the_gate_and_changes_nothing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (ledger, probes) = (proxy.ledger(), green.probes());
    let answer = proxy.post("/admin/switch", json!({ "dry_run": true })).await;
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!("green")));
    assert!(green.probes() > probes);
    green.set_healthy(false);
    assert_eq!(proxy.post("/admin/switch", json!({ "dry_run": true })).await.status, 409);
    assert_eq!((proxy.color().await.as_str(), proxy.ledger()), ("blue", ledger));
}

#[tokio::test]
async fn of_two_switches_at_once_one_wins_and_a_rollback_calls_a_pending_one_off() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_silent(true);
    let first = async { proxy.post("/admin/switch", json!({ "to": "green" })).await };
    let others = async {
        proxy.until("it is at the gate", |status| status["phase"] == "gating").await;
        let second = proxy.post("/admin/switch", json!({ "to": "green" })).await;
        assert_eq!((second.status, &second.json()["code"]), (409, &json!("in_progress")));
        let rollback = proxy.post("/admin/rollback", json!({})).await;
        assert_eq!((rollback.status, &rollback.json()["changed"]), (200, &json!(false)), "{}", rollback.text());
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!((first.status, &first.json()["code"]), (409, &json!("withdrawn")));
    green.set_silent(false);
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_detached_client_that_hangs_up_does_not_cut_a_switch_in_half() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_silent(true);
    let mut client = crate::client::Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    client.send("POST /admin/switch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n{\"detach\":true}").await;
    proxy.until("it is at the gate", |status| status["phase"] == "gating").await;
    drop(client);
    green.set_silent(false);
    proxy.until_color("green").await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_rollback_goes_to_what_served_before_and_a_second_one_has_nowhere_to_go() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let status = proxy.status().await;
    assert_eq!(status["rollback"]["possible"], false, "{status}");
    let refused = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("no_known_good")));
    proxy.switch("green").await;
    let status = proxy.status().await;
    assert_eq!((&status["rollback"]["possible"], &status["rollback"]["release"]), (&json!(true), &json!("1.0")));
    let answer = proxy.post("/admin/rollback", json!({ "reason": "errors" })).await.json();
    assert_eq!(
        (&answer["active"], &answer["release"], &answer["changed"]),
        (&json!("blue"), &json!("1.0"), &json!(true))
    );
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.json()["code"], "no_known_good");
}

#[tokio::test]
async fn a_rollback_to_a_release_that_was_replaced_is_refused_and_says_what_is_there() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    until("the file says green", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    proxy.replace_file(&proxy.text().replace("release = \"1.0\"", "release = \"3.0\""));
    proxy.until("the edit is in force", |status| status["blue"]["release"] == "3.0").await;
    let answer = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("no_known_good")));
    let detail = answer.json()["detail"].as_str().expect("a sentence").to_owned();
    assert!(detail.contains("1.0") && detail.contains("3.0"), "{detail}");
}

#[tokio::test]
async fn both_colors_are_probed_always() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue"] {
        let (before_blue, before_green) = (blue.probes(), green.probes());
        until("both were probed again", async || {
            (blue.probes() > before_blue + 2 && green.probes() > before_green + 2).then_some(())
        })
        .await;
        proxy.switch(color).await;
    }
}

#[tokio::test]
async fn a_color_that_serves_by_force_is_asked_although_no_check_passes() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    blue.set_healthy(false);
    proxy.until("blue is known to be down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    assert_eq!(proxy.cli(&["rollback"]).await.status.code(), Some(3));
    let forced = proxy.cli(&["rollback", "--force", "--reason", "only its check is broken"]).await;
    assert!(forced.status.success(), "{forced:?}");
    assert_eq!(proxy.color().await, "blue");
    // What is written in the file by then is the same order.
    proxy.until("it is written", |status| status["file"]["disagrees"] == false && status["durable"] == true).await;
    proxy.kill_and_restart().await;
    proxy.until("blue is known to be down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(proxy.status().await["by_force"], true);

    proxy.switch("green").await;
    assert_eq!(proxy.status().await["by_force"], false);
    green.set_healthy(false);
    proxy.until("green is known to be down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    assert_eq!(proxy.get("/").await.status, 503);
}
