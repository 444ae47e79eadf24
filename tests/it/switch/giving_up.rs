//! Giving up cancels: whoever stops waiting for a move learns whether it was called off, and that is what happened.

use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{patient, refused_once};
use crate::application::pair;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup, command};
use crate::{soon, until};

/// A command that runs beside the test.
fn beside(proxy: &Proxy, args: &[&str]) -> tokio::process::Child {
    let mut command = command(args);
    command.env("CUTOVER_CONFIG", proxy.file()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

fn interrupt(child: &tokio::process::Child, signal: Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("it runs");
}

async fn ended(child: tokio::process::Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = soon("the command ends", child.wait_with_output()).await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

async fn waits(proxy: &Proxy) -> Value {
    proxy.until("the gate has refused once", refused_once).await
}

async fn steady(proxy: &Proxy) -> Value {
    proxy.until("nothing moves", |status| status["moving"].is_null()).await
}

/// A request with an id of its own, or a key.
async fn with_head(proxy: &Proxy, path: &str, head: &str, body: &Value) -> Connection {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
    let body = body.to_string();
    let length = body.len();
    connection
        .send(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {length}\r\n\r\n{body}"))
        .await;
    connection
}

async fn refused(proxy: &Proxy) -> Value {
    until("the history has it", async || {
        let history = proxy.admin("GET", "/admin/history?kind=refused", "").await.json();
        Some(history["transitions"][0].clone()).filter(|line| !line.is_null())
    })
    .await
}

#[tokio::test]
async fn ctrl_c_while_the_gate_waits_cancels_the_switch_and_says_who_keeps_serving() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    green.set_healthy(false);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let child = beside(&proxy, &["switch", "green", "--reason", "release 2"]);
        let status = waits(&proxy).await;
        let moving = &status["moving"];
        assert_eq!((&moving["kind"], &moving["to"]), (&json!("switch"), &json!("green")), "{moving}");
        assert_eq!((&moving["release"], &moving["reason"]), (&json!("2.0"), &json!("release 2")), "{moving}");
        assert_eq!(moving["waits_for"], format!("{} 503", green.address), "{moving}");
        assert!(moving["ends_in_ms"].as_u64().is_some_and(|left| left > 60_000), "{moving}");
        // It listens for signals before it sends anything, so this one finds it.
        interrupt(&child, signal);
        let (ends_with, printed, said) = ended(child).await;
        assert_eq!((ends_with, printed.as_str()), (Some(code), ""), "{said}");
        assert!(said.contains("Cancelled; blue keeps serving."), "{said}");
        assert_eq!(steady(&proxy).await["active"], "blue");
    }
    let line = refused(&proxy).await;
    assert!(line["refusal"].as_str().is_some_and(|said| said.starts_with("cancelled: ")), "{line}");
    // A healthy target later moves nothing: the switch is gone.
    green.set_healthy(true);
    proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_timeout_is_the_time_for_the_gate_and_tells_what_it_waited_for() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let (code, printed, said) = ended(beside(&proxy, &["switch", "green", "--timeout", "2s"])).await;
    assert_eq!((code, printed.as_str()), (Some(5), ""), "{said}");
    let waiting = format!("Waiting for green: {} 503", green.address);
    assert!(said.contains(&waiting) && said.contains(" s left"), "{said}");
    let over = format!("Cancelled after 2s; blue keeps serving. It waited for green: {} 503.", green.address);
    assert!(said.contains(&over), "{said}");
    // A timeout longer than gate.timeout gives the gate that time.
    let child = beside(&proxy, &["switch", "green", "--timeout", "10m"]);
    let left = waits(&proxy).await["moving"]["ends_in_ms"].as_u64();
    assert!(left.is_some_and(|left| left > 60_000), "{left:?}");
    green.set_healthy(true);
    let (code, printed, said) = ended(child).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("Switched to green"), "{printed}");
    // The API takes it as well, and refuses at its end as at that of `gate.timeout`.
    blue.set_healthy(false);
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "timeout": "300ms" })).await;
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("unhealthy")));
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "timeout": "soon" })).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn a_client_that_hangs_up_calls_its_switch_off_and_no_other_one() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    green.set_healthy(false);
    let client = with_head(&proxy, "/admin/switch", "", &json!({ "to": "green" })).await;
    waits(&proxy).await;
    // Another client with nothing to do says that it is there, and leaves it alone.
    let other = proxy.post("/admin/switch", json!({ "to": "blue" })).await.json();
    assert_eq!((&other["changed"], &other["pending"]["to"]), (&json!(false), &json!("green")), "{other}");
    drop(proxy.connect().await);
    assert_eq!(proxy.status().await["moving"]["to"], "green");
    drop(client);
    assert_eq!(steady(&proxy).await["active"], "blue");
    // With `detach` it goes on, as it did before.
    let client = with_head(&proxy, "/admin/switch", "", &json!({ "to": "green", "detach": true })).await;
    waits(&proxy).await;
    drop(client);
    green.set_healthy(true);
    proxy.until_color("green").await;
    // And so does a rollback, whose client may well be lost in an incident.
    blue.set_silent(true);
    let client = with_head(&proxy, "/admin/rollback", "", &json!({})).await;
    proxy.until("its gate asks", |status| status["moving"]["kind"] == "rollback").await;
    drop(client);
    blue.set_silent(false);
    proxy.until_color("blue").await;
}

#[tokio::test]
async fn detached_a_command_stops_waiting_and_the_switch_goes_on() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    green.set_healthy(false);
    let (code, _, said) = ended(beside(&proxy, &["switch", "green", "--detach", "--timeout", "1s"])).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("Stopped waiting after 1s, but the command is still pending."), "{said}");
    assert!(said.contains("`cutover status`") && said.contains("`cutover rollback`"), "{said}");
    assert_eq!(proxy.status().await["moving"]["to"], "green");
    green.set_healthy(true);
    proxy.until_color("green").await;
}

#[tokio::test]
async fn a_switch_without_overlap_is_cancelled_while_it_holds_requests_and_they_go_on() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[pause]\ntimeout = \"10m\"".to_owned();
    setup.drain = "timeout = \"20m\"".to_owned();
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let child = beside(&proxy, &["switch", "green", "--no-overlap"]);
    proxy.until("it holds", |status| status["phase"] == "holding" && status["moving"]["waits_for"].is_string()).await;
    let mut held = proxy.connect().await;
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("one is held", |status| status["hold"]["requests"] == 1).await;
    interrupt(&child, Signal::INT);
    let (code, _, said) = ended(child).await;
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("Cancelled; blue keeps serving."), "{said}");
    assert_eq!(held.answer().await.text(), "blue");
    blue.open_gate();
    assert_eq!(late.answer().await.text(), "blue");
}

#[tokio::test]
async fn a_cancel_and_a_commit_at_once_have_one_outcome_and_the_answer_says_which() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    let (mut cancelled, mut too_late) = (0, 0);
    for round in 0..60_u64 {
        let active = proxy.status().await["active"].as_str().expect("a color").to_owned();
        let to = if active == "blue" { "green" } else { "blue" };
        let id = format!("round-{round}");
        let head = format!("X-Request-Id: {id}\r\n");
        let mut switch = with_head(&proxy, "/admin/switch", &head, &json!({ "to": to })).await;
        tokio::time::sleep(std::time::Duration::from_micros(round * 150)).await;
        proxy.post("/admin/cancel", json!({ "request_id": id })).await;
        let answer: Answer = switch.answer().await;
        let serves = proxy.color().await;
        match answer.status {
            200 => {
                too_late += 1;
                assert_eq!(serves, to, "round {round}: {}", answer.text());
            }
            409 => {
                cancelled += 1;
                assert_eq!(answer.json()["code"], "cancelled", "{}", answer.text());
                assert_eq!(answer.json()["detail"], format!("Cancelled; {active} keeps serving"));
                assert_eq!(serves, active, "round {round}: {}", answer.text());
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(cancelled + too_late, 60);
    assert!(too_late > 0, "each cancel came first");
    let answer = proxy.post("/admin/cancel", json!({ "request_id": "nobody" })).await;
    assert_eq!(answer.json(), json!({ "found": false }));
    assert_eq!(proxy.post("/admin/cancel", json!({})).await.status, 400);
}
