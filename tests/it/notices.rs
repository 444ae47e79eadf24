//! Notices: told to those who are to know, signed, again where a receiver fails, never twice under two ids, and not lost.

mod kill;
mod proxied;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::application::Application;
use crate::certificates::Authority;
use crate::proxy::{Proxy, Setup};
use crate::receiver::{Manner, Received, Receiver};
use crate::until;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// What no log, status or error may show.
const SECRETS: [&str; 4] = ["whsec_", "MfKQ9r8G", "hidden-", "AAAAAAAA"];

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).expect("a file");
    path.display().to_string()
}

/// A `[[notify]]` of a webhook.
fn webhook(dir: &Path, name: &str, receiver: &Receiver, more: &str) -> String {
    let (url, secret) = (receiver.url_file(dir, name), write(&dir.join(format!("{name}.secret")), SECRET));
    format!(
        "[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl_file = \"{url}\"\nsecret_files = [\"{secret}\"]\n{more}\n"
    )
}

const QUICK: &str = "retry = [\"100ms\"]\ntimeout = \"1s\"";

struct Bench {
    blue: Application,
    green: Application,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        Bench { blue: Application::start("blue").await, green: Application::start("green").await, dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn text(&self, sinks: &str) -> String {
        let mut setup = Setup::new(&self.blue, &self.green);
        setup.more = format!("[service]\nname = \"shop\"\nenvironment = \"prod\"\ninstance = \"edge-1\"\n{sinks}");
        setup.text(self.dir.path())
    }

    async fn start(self, sinks: &str) -> (Proxy, Application, Application) {
        let text = self.text(sinks);
        (Proxy::start_in(self.dir, &text).await, self.blue, self.green)
    }
}

/// Verifies as the specification says.
fn is_signed_with(received: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let timestamp = received.header("webhook-timestamp").expect("a timestamp");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(now.abs_diff(timestamp.parse().expect("seconds")) < 300, "it is the time of the attempt: {timestamp}");
    let signed = format!("{}.{timestamp}.{}", received.id(), received.body);
    let signatures = received.header("webhook-signature").expect("a signature");
    signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| {
        let signature = STANDARD.decode(signature).expect("base64");
        hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
    })
}

fn sink<'a>(status: &'a Value, name: &str) -> &'a Value {
    let sinks = status["notify"].as_array().map(Vec::as_slice).unwrap_or_default();
    sinks.iter().find(|sink| sink["sink"] == name).unwrap_or(&Value::Null)
}

async fn assert_shows_no_secret(proxy: &Proxy) {
    let config = proxy.admin("GET", "/admin/config", "").await;
    let shown = format!("{}{}{}", proxy.log(), proxy.status().await, config.text());
    // The names of files are no secrets.
    let shown = shown.replace("hidden-", "").replace("url_file", "");
    for secret in SECRETS.iter().filter(|secret| **secret != "hidden-") {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    assert!(!proxy.log().contains("hidden-") && !proxy.status().await.to_string().contains("hidden-"));
}

#[tokio::test]
async fn a_switch_and_a_rollback_are_told_with_their_numbers_and_signed() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, "");
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    let answer = proxy.post("/admin/switch", json!({ "to": "green", "reason": "release 2.0" })).await;
    assert_eq!(answer.status, 200);
    let switched = receiver.until("the switch is told", |r| r.event() == "deployment.promoted").await;
    for _ in 0..3 {
        proxy.get("/").await;
    }
    assert_eq!(proxy.post("/admin/rollback", json!({ "reason": "errors" })).await.status, 200);
    let rolled_back = receiver.until("the rollback is told", |r| r.event() == "deployment.rolled_back").await;
    assert!(is_signed_with(&switched, SECRET) && is_signed_with(&rolled_back, SECRET));
    assert!(!is_signed_with(&switched, NEXT_SECRET));
    assert_eq!(switched.header("content-type"), Some("application/json; charset=utf-8"));

    let data = &switched.json()["data"];
    assert_eq!(data["event_id"], switched.id());
    assert_eq!(
        (&data["service"], &data["environment"], &data["instance"]),
        (&json!("shop"), &json!("prod"), &json!("edge-1"))
    );
    assert_eq!(data["to"], json!({ "color": "green", "release": "2.0" }));
    let rollback = json!({ "possible": true, "color": "blue", "release": "1.0", "safe": "unknown" });
    let told = data["rollback"].as_object().expect("an object");
    assert!(rollback.as_object().expect("an object").iter().all(|(key, value)| told[key] == *value), "{told:?}");
    assert_eq!((&data["severity"], &data["durable"], &data["forced"]), (&json!("info"), &json!(true), &json!(false)));
    let data = &rolled_back.json()["data"];
    assert_eq!(data["from"], json!({ "color": "green", "release": "2.0" }));
    assert_eq!(
        (&data["severity"], &data["reason"], &data["trigger"]),
        (&json!("error"), &json!("errors"), &json!("api"))
    );
    assert_eq!((&data["exposure"]["requests"], &data["exposure"]["errors"]), (&json!(3), &json!(0)), "{data}");
    assert_eq!(data["now"], json!({ "endpoints_up": 1, "endpoints": 1 }));
    let summary = data["summary"].as_str().expect("a sentence");
    assert!(
        summary.starts_with("Rolled back from 2.0 (green) to 1.0 (blue) by ") && summary.contains("3 requests"),
        "{summary}"
    );

    // What followed is told too; each once.
    receiver.until("the drain is told", |r| r.event() == "deployment.drained").await;
    let status = proxy.until("nothing waits", |status| sink(status, "log")["pending"] == 0).await;
    assert_eq!(sink(&status, "log")["state"], "well");
    let mut ids: Vec<_> = receiver.received().iter().map(Received::id).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert_shows_no_secret(&proxy).await;
}

#[tokio::test]
async fn slack_gets_a_text_that_stands_alone_and_blocks_with_links_only() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let url = receiver.url_file(bench.path(), "slack");
    let sinks = format!(
        "[service.links]\nDiff = \"https://git.example.com/compare/{{from}}...{{to}}\"\n[[notify]]\nname = \"chat\"\nkind = \"slack\"\nurl_file = \"{url}\"\n"
    );
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    let reason = "fixes <!channel> & more";
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green", "reason": reason })).await.status, 200);
    let message = receiver.until("Slack is told", |r| r.body.contains("Switched from")).await;
    assert!(message.head.starts_with("POST /hidden-slack HTTP/1.1\r\n"), "{}", message.head);
    assert!(message.header("webhook-signature").is_none());
    let json = message.json();
    let text = json["text"].as_str().expect("a text");
    assert!(text.contains("shop/prod: Switched from 1.0 (blue) to 2.0 (green)"), "{text}");
    assert!(text.contains("fixes &lt;!channel&gt; &amp; more"), "{text}");
    let buttons = json["blocks"].as_array().expect("blocks").iter().find(|block| block["type"] == "actions");
    let button = &buttons.expect("buttons")["elements"][0];
    assert_eq!(button["url"], "https://git.example.com/compare/1.0...2.0");
    assert!(button.get("action_id").is_none());
}

#[tokio::test]
async fn what_a_receiver_does_not_take_comes_again_under_the_same_id_until_it_does() {
    for (manner, why) in [
        (Manner::Says(500, ""), "answered 500"),
        (Manner::Says(302, "Location: http://127.0.0.1:1/\r\n"), "redirects are not followed"),
        (Manner::Dies, "broke off in the middle of its answer"),
        (Manner::Hangs, "no answer within 1s"),
    ] {
        let bench = Bench::new().await;
        let receiver = Receiver::start().await;
        let sinks = webhook(bench.path(), "log", &receiver, QUICK);
        let (proxy, _blue, _green) = bench.start(&sinks).await;
        receiver.behaves(manner);
        proxy.switch("green").await;
        let told = |r: &Received| r.event() == "deployment.promoted";
        let first = receiver.until("it is tried", told).await;
        let failing = |status: &Value| {
            let sink = sink(status, "log");
            sink["state"] == "failing" && sink["last_error"].as_str().is_some_and(|error| error.contains(why))
        };
        let status = proxy.until("it is failing", failing).await;
        assert!(sink(&status, "log")["pending"].as_u64() > Some(0), "{status}");
        receiver.behaves(Manner::Takes);
        let taken = receiver.until("it is taken", |r| told(r) && matches!(r.manner, Manner::Takes)).await;
        assert_eq!((taken.id(), &taken.json()), (first.id(), &first.json()));
        proxy.until("nothing waits", |status| sink(status, "log")["pending"] == 0).await;
        let metrics = proxy.admin("GET", "/metrics", "").await;
        let failures =
            metrics.text().lines().find_map(|line| line.strip_prefix("cutover_notify_failures_total{sink=\"log\"} "));
        assert!(failures.and_then(|count| count.parse::<u64>().ok()) > Some(0), "{failures:?}");
        assert!(metrics.text().contains("cutover_notify_pending{sink=\"log\"} 0\n"));
        assert_shows_no_secret(&proxy).await;
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_patience_is_not_asked_before() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, QUICK);
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    receiver.behaves(Manner::Says(429, "Retry-After: 2\r\n"));
    proxy.switch("green").await;
    proxy.until("it is told so", |status| sink(status, "log")["failures"] == 1).await;
    receiver.behaves(Manner::Takes);
    let asked = std::time::Instant::now();
    receiver.until("it is taken", |r| matches!(r.manner, Manner::Takes)).await;
    assert!(asked.elapsed() > Duration::from_secs(1), "the schedule said 100 ms, the receiver 2 s");
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_no_more_until_its_address_changes() {
    let bench = Bench::new().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let sinks = webhook(bench.path(), "log", &receiver, QUICK) + &webhook(bench.path(), "other", &other, "");
    let (mut proxy, _blue, _green) = bench.start(&sinks).await;
    receiver.behaves(Manner::Says(410, ""));
    proxy.switch("green").await;
    let status = proxy.until("it is disabled", |status| sink(status, "log")["state"] == "disabled").await;
    assert_eq!((&sink(&status, "log")["pending"], &sink(&status, "other")["state"]), (&json!(0), &json!("well")));
    let failed = other.until("the other one hears of it", |r| r.event() == "notify.failed").await;
    assert_eq!(failed.json()["data"]["sink"], "log");

    // Neither by another notice nor by a restart.
    receiver.behaves(Manner::Takes);
    let asked = receiver.received().len();
    proxy.switch("blue").await;
    other.until("the other one is told", |r| r.json()["data"]["to"]["color"] == "blue").await;
    proxy
        .until("it is remembered", |_| {
            std::fs::read_to_string(proxy.dir.path().join("state/notify-log.json"))
                .is_ok_and(|text| text.contains("gone"))
        })
        .await;
    proxy.kill_and_restart().await;
    proxy.switch("green").await;
    assert_eq!(sink(&proxy.status().await, "log")["state"], "disabled");
    crate::until("the other one is told of this one too", async || {
        let green = |told: &Received| told.json()["data"]["to"]["color"] == "green";
        (other.received().iter().filter(|told| told.event() == "deployment.promoted" && green(told)).count() >= 2)
            .then_some(())
    })
    .await;
    assert_eq!(receiver.received().len(), asked);

    // A new address is a new chance.
    write(&proxy.dir.path().join("log"), &format!("http://{}/new", receiver.address));
    proxy.switch("blue").await;
    // The drain of the move before may still be told.
    let new = |r: &Received| r.head.starts_with("POST /new ") && r.event() == "deployment.promoted";
    let came = receiver.until("it is told", new).await;
    assert_eq!(came.json()["data"]["to"]["color"], "blue", "and not what it missed");
    proxy.until("it is well", |status| sink(status, "log")["state"] == "well").await;
}

#[tokio::test]
async fn a_test_that_gets_through_ends_the_end_of_a_receiver() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, QUICK);
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    receiver.behaves(Manner::Says(410, ""));
    proxy.switch("green").await;
    proxy.until("it is disabled", |status| sink(status, "log")["state"] == "disabled").await;
    assert_eq!(proxy.cli(&["notify", "test"]).await.status.code(), Some(1));
    receiver.behaves(Manner::Takes);
    assert_eq!(proxy.cli(&["notify", "test"]).await.status.code(), Some(0));
    proxy.until("it is well", |status| sink(status, "log")["state"] == "well").await;
}

#[tokio::test]
async fn one_dead_sink_holds_up_no_other_and_no_switch() {
    let bench = Bench::new().await;
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.behaves(Manner::Hangs);
    let sinks = webhook(bench.path(), "dead", &dead, "") + &webhook(bench.path(), "alive", &alive, "");
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    for round in 0..6 {
        let color = if round % 2 == 0 { "green" } else { "blue" };
        let generation = proxy.switch(color).await["generation"].clone();
        alive.until("it is told", |r| r.json()["data"]["generation"] == generation).await;
    }
    let status = proxy.status().await;
    assert!(sink(&status, "dead")["pending"].as_u64() >= Some(6), "{status}");
    assert_eq!(dead.received().len(), 1, "one attempt at a time");
}

#[tokio::test]
async fn a_sink_hears_of_what_it_asked_for_and_of_nothing_else() {
    let bench = Bench::new().await;
    let (all, named, group, bad) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let sinks = [
        webhook(bench.path(), "all", &all, ""),
        webhook(bench.path(), "named", &named, "events = [\"deployment.rolled_back\"]"),
        webhook(bench.path(), "group", &group, "events = [\"target.*\"]"),
        webhook(bench.path(), "bad", &bad, "min_severity = \"error\""),
    ];
    let (proxy, _blue, green) = bench.start(&sinks.concat()).await;
    proxy.switch("green").await;
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    green.set_healthy(false);
    all.until("the endpoint is told", |r| r.event() == "target.unhealthy").await;
    let refused = proxy.post("/admin/switch", json!({ "to": "green" })).await;
    assert_eq!(refused.status, 409);
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 409);
    green.set_healthy(true);
    all.until("it is up again", |r| r.event() == "target.healthy").await;
    all.until("the refusal is told", |r| r.event() == "deployment.refused").await;
    all.until("the other refusal too", |r| r.event() == "deployment.rollback_blocked").await;
    let blocked = bad.until("and where it matters", |r| r.event() == "deployment.rollback_blocked").await;
    assert_eq!(blocked.json()["data"]["refusal"]["code"], "no_known_good");
    group.until("the group heard it", |r| r.event() == "target.healthy").await;
    let events = |receiver: &Receiver| {
        let mut events: Vec<_> = receiver.received().iter().map(Received::event).collect();
        events.sort();
        events.dedup();
        events
    };
    assert_eq!(events(&named), ["deployment.rolled_back"]);
    assert_eq!(events(&group), ["target.healthy", "target.unhealthy"]);
    assert_eq!(events(&bad), ["deployment.rollback_blocked", "deployment.rolled_back"]);
}

#[tokio::test]
async fn what_waits_is_told_after_a_restart_under_the_same_ids_and_what_was_told_is_not() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, QUICK);
    let (mut proxy, _blue, _green) = bench.start(&sinks).await;
    proxy.switch("green").await;
    let promoted = |color: &'static str| {
        move |r: &Received| r.event() == "deployment.promoted" && r.json()["data"]["to"]["color"] == color
    };
    receiver.until("the first is told", promoted("green")).await;
    until("it is remembered", async || {
        let text = std::fs::read_to_string(proxy.dir.path().join("state/notify-log.json")).ok()?;
        let memory: Value = serde_json::from_str(&text).ok()?;
        (memory["cursor"]["sequence"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    receiver.behaves(Manner::Says(503, ""));
    proxy.switch("blue").await;
    let tried = receiver.until("the second is tried", promoted("blue")).await;
    proxy.kill().await;
    receiver.behaves(Manner::Takes);
    let before = receiver.received().len();
    proxy.restart().await;
    let taken = receiver.until("it is taken", |r| promoted("blue")(r) && matches!(r.manner, Manner::Takes)).await;
    assert_eq!(taken.id(), tried.id());
    assert_eq!(taken.json()["data"]["exposure"]["requests"], Value::Null, "what the moment knew is gone");
    proxy.until("nothing waits", |status| sink(status, "log")["pending"] == 0).await;
    assert!(receiver.received()[before..].iter().all(|r| !promoted("green")(r)));
}

#[tokio::test]
async fn a_new_sink_hears_of_what_happens_from_now_on() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let (late, with) = (bench.text(""), bench.text(&webhook(bench.path(), "log", &receiver, "")));
    let proxy = Proxy::start_in(bench.dir, &late).await;
    proxy.switch("green").await;
    proxy.switch("blue").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&with);
    proxy.until("it is there", |status| sink(status, "log")["state"] == "well").await;
    let generation = proxy.switch("green").await["generation"].clone();
    receiver.until("it is told", |r| r.json()["data"]["generation"] == generation).await;
    let switches = receiver.received().iter().filter(|r| r.event() == "deployment.promoted").count();
    assert_eq!(switches, 1);
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(proxy.text().split("[[notify]]").next().expect("a text"));
    proxy.until("it is not there any more", |status| sink(status, "log").is_null()).await;
}

#[tokio::test]
async fn a_secret_is_rotated_by_its_file_without_a_reload() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, "events = [\"deployment.promoted\"]");
    let second = write(&bench.path().join("second.secret"), NEXT_SECRET);
    let both = sinks.replace("secret_files = [", &format!("secret_files = [\"{second}\", "));
    let (text, dir) = (bench.text(&both), bench.path().to_owned());
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    proxy.switch("green").await;
    let first = receiver.until("it is told", |_| true).await;
    assert!(is_signed_with(&first, SECRET) && !is_signed_with(&first, NEXT_SECRET));

    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&text.replace("active = \"blue\"", "active = \"green\""));
    proxy.until("it is in force", |status| status["file"]["order"] == "done").await;
    until("both sign", async || {
        proxy.switch("blue").await;
        proxy.switch("green").await;
        let all = receiver.received();
        all.iter().any(|r| is_signed_with(r, SECRET) && is_signed_with(r, NEXT_SECRET)).then_some(())
    })
    .await;

    // One file alone, replaced under the sink.
    write(&dir.join("log.secret"), NEXT_SECRET);
    let generation = proxy.switch("blue").await["generation"].clone();
    let last = receiver.until("it is told", |r| r.json()["data"]["generation"] == generation).await;
    assert!(is_signed_with(&last, NEXT_SECRET) && !is_signed_with(&last, SECRET));
    assert_shows_no_secret(&proxy).await;
}

#[tokio::test]
async fn a_rollback_that_the_disk_does_not_take_is_told_at_once_and_keeps_its_id() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, "events = [\"deployment.*\"]");
    let (mut proxy, _blue, _green) = bench.start(&sinks).await;
    proxy.switch("green").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    let limit = |proxy: &Proxy, bytes: Option<u64>| {
        let pid = Pid::from_raw(i32::try_from(proxy.pid()).expect("a pid")).expect("a pid");
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a child's limit");
    };
    limit(&proxy, Some(1));
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.json()["durable"], false);
    let rolled_back = |r: &Received| r.event() == "deployment.rolled_back";
    let early = receiver.until("it is told", rolled_back).await;
    assert_eq!((&early.json()["data"]["durable"], &early.json()["data"]["sequence"]), (&json!(false), &Value::Null));
    proxy.until("the attempt after it failed too", |status| status["durable"] == false).await;
    limit(&proxy, None);
    proxy.until("it is on disk", |status| status["durable"] == true).await;
    proxy.until("nothing waits", |status| sink(status, "log")["pending"] == 0).await;
    assert_eq!(receiver.received().iter().filter(|r| rolled_back(r)).count(), 1, "once");

    // The memory of the sink lost, the line comes again from the ledger: the same id, and now with its number.
    proxy.kill().await;
    write(&proxy.dir.path().join("state/notify-log.json"), "damaged");
    proxy.restart().await;
    let again = receiver.until("it comes again", |r| rolled_back(r) && r.json()["data"]["durable"] == true).await;
    assert_eq!(again.id(), early.id());
}

#[tokio::test]
async fn over_tls_a_receiver_is_told_that_the_system_believes_and_no_other() {
    let bench = Bench::new().await;
    let (believed, stranger) = (Authority::new(), Authority::new());
    let receiver =
        |authority: &Authority| Receiver::with_tls(authority.server(&authority.issue(&["127.0.0.1"]), &[], false));
    let (good, bad) = (receiver(&believed).await, receiver(&stranger).await);
    let sinks = webhook(bench.path(), "good", &good, QUICK) + &webhook(bench.path(), "bad", &bad, QUICK);
    let text = bench.text(&sinks);
    // Where the system's authorities are, as OpenSSL has it.
    let authorities = write(&bench.path().join("authorities.pem"), &believed.pem());
    let proxy = Proxy::start_as(bench.dir, &text, Stdio::null(), &[("SSL_CERT_FILE", &authorities)]).await;
    proxy.switch("green").await;
    let told = good.until("it is told", |r| r.event() == "deployment.promoted").await;
    assert!(is_signed_with(&told, SECRET));
    let unknown =
        |status: &Value| sink(status, "bad")["last_error"].as_str().is_some_and(|e| e.contains("unknown issuer"));
    proxy.until("the other one is not believed", unknown).await;
    assert!(bad.received().is_empty());
    assert_shows_no_secret(&proxy).await;
}

#[tokio::test]
async fn a_test_sends_every_kind_of_notice_and_says_what_came_back() {
    let bench = Bench::new().await;
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    bad.behaves(Manner::Says(404, ""));
    let sinks =
        webhook(bench.path(), "good", &good, "min_severity = \"page\"") + &webhook(bench.path(), "bad", &bad, "");
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    let output = proxy.cli(&["notify", "test", "--all", "--sink", "good"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told: Vec<_> = good.received().iter().map(Received::event).collect();
    assert_eq!(told.len(), 30, "whatever it hears of otherwise: {told:?}");
    assert!(good.received().iter().all(|r| is_signed_with(r, SECRET) && r.json()["data"]["test"] == true));
    assert!(told.iter().all(|event| text.contains(event.as_str())) && bad.received().is_empty(), "{text}");

    let output = proxy.cli(&["notify", "test", "--all", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of = |name: &'static str| {
        answer["notices"].as_array().expect("a list").iter().filter(move |n| n["sink"] == name).cloned()
    };
    assert!(of("good").count() == 30 && of("good").all(|notice| notice["delivered"] == true), "{answer}");
    assert!(
        of("bad").count() == 30 && of("bad").all(|notice| notice["detail"] == "the receiver answered 404"),
        "{answer}"
    );
    assert_eq!(answer["delivered"], false);

    // By default one each, and of what the sink is told.
    let before = good.received().len();
    let output = proxy.cli(&["notify", "test"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(good.received().len(), before + 1);
    assert_eq!(good.received()[before].json()["data"]["severity"], "page");

    let output = proxy.cli(&["notify", "test", "--sink", "nobody"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody"), "{output:?}");
    assert_shows_no_secret(&proxy).await;
}

#[tokio::test]
async fn a_test_of_a_receiver_that_is_not_there_is_two_lines_and_no_page() {
    let bench = Bench::new().await;
    let gone = Receiver::start().await;
    let sinks = webhook(bench.path(), "gone", &gone, "");
    // Where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    write(Path::new(&gone.url_file(bench.path(), "gone")), &format!("http://{nobody}/"));
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    let output = proxy.cli(&["notify", "test", "--all"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.ends_with(" notices not tried\n"), "{text}");
}

#[tokio::test]
async fn that_notices_get_through_again_is_logged_as_their_failure_was() {
    let bench = Bench::new().await;
    let receiver = Receiver::start().await;
    let sinks = webhook(bench.path(), "log", &receiver, QUICK);
    let (proxy, _blue, _green) = bench.start(&sinks).await;
    receiver.behaves(Manner::Says(500, ""));
    proxy.switch("green").await;
    proxy.until_logged("Notice not delivered").await;
    receiver.behaves(Manner::Takes);
    proxy.until_logged("Notices get through again").await;
}
