//! `Idempotency-Key`: the same command with the same key is carried out once, and gets the same answer, for a day.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::application::pair;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};

async fn keyed(proxy: &Proxy, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n");
    connection.send(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await;
    connection.answer().await
}

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

async fn switches(proxy: &Proxy) -> usize {
    let history = proxy.admin("GET", "/admin/history?kind=switch", "").await.json();
    history["transitions"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_repeat_of_a_switch_to_the_other_color_is_no_toggle_also_after_kill_9() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let first = keyed(&proxy, "POST", "/admin/switch", "deploy-1", "").await;
    assert_eq!((first.status, &first.json()["active"]), (200, &json!("green")), "{}", first.text());
    assert!(!replayed(&first));
    for body in ["", "{}", " { } "] {
        let again = keyed(&proxy, "POST", "/admin/switch", "deploy-1", body).await;
        assert_eq!((again.status, again.text()), (200, first.text()));
        assert!(replayed(&again));
    }
    proxy.kill_and_restart().await;
    let again = keyed(&proxy, "POST", "/admin/switch", "deploy-1", "").await;
    assert_eq!((again.status, again.text()), (200, first.text()));
    assert!(replayed(&again));
    assert_eq!((proxy.color().await.as_str(), switches(&proxy).await), ("green", 1));

    // The key belongs to that command.
    for (path, body) in [("/admin/switch", "{\"to\":\"blue\"}"), ("/admin/rollback", "{}")] {
        let other = keyed(&proxy, "POST", path, "deploy-1", body).await;
        assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")), "{}", other.text());
    }
    let next = keyed(&proxy, "POST", "/admin/switch", "deploy-2", "").await;
    assert_eq!(next.json()["active"], "blue");
    for key in ["", &"x".repeat(256), "t\u{7f}ab"] {
        assert_eq!(keyed(&proxy, "POST", "/admin/switch", key, "").await.status, 400, "{key:?}");
    }
}

#[tokio::test]
async fn two_at_once_with_one_key_are_one_command_and_both_get_its_answer() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let both = async {
        tokio::join!(keyed(&proxy, "POST", "/admin/switch", "k", ""), keyed(&proxy, "POST", "/admin/switch", "k", ""))
    };
    let mends = async {
        proxy.until("it waits", |status| status["moving"]["to"] == "green").await;
        green.set_healthy(true);
    };
    let ((one, other), ()) = tokio::join!(both, mends);
    assert_eq!((one.status, one.text()), (200, other.text()));
    assert_eq!((proxy.color().await.as_str(), switches(&proxy).await), ("green", 1));
}

#[tokio::test]
async fn a_refusal_is_repeated_and_what_was_cancelled_may_be_tried_again_with_its_key() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text =
        Setup::new(&blue, &green).text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"100ms\"");
    let proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    let first = keyed(&proxy, "POST", "/admin/switch", "r", "").await;
    assert_eq!(first.status, 409, "{}", first.text());
    green.set_healthy(true);
    let again = keyed(&proxy, "POST", "/admin/switch", "r", "").await;
    assert_eq!((again.status, again.text()), (409, first.text()));
    assert_eq!(again.header("content-type"), Some("application/problem+json"));

    green.set_healthy(false);
    let body = json!({ "to": "green", "timeout": "1h" }).to_string();
    let mut client = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
    let head = "POST /admin/switch HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: c\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    proxy.until("it waits", |status| status["moving"]["to"] == "green").await;
    drop(client);
    proxy.until("it is called off", |status| status["moving"].is_null()).await;
    green.set_healthy(true);
    let again = keyed(&proxy, "POST", "/admin/switch", "c", &body).await;
    assert_eq!((again.status, replayed(&again)), (200, false), "{}", again.text());
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn every_mutation_of_the_document_takes_a_key() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = proxy.admin("GET", "/admin/openapi.json", "").await.json();
    let mut asked = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys().filter(|method| *method != "get") {
            let method = method.to_uppercase();
            let path = path.replace("{color}", "green");
            let body = if path.ends_with("/freeze") { json!({ "reason": "so" }) } else { json!({}) };
            let (key, body) = (format!("{method}-{path}"), body.to_string());
            let first = keyed(&proxy, &method, &path, &key, &body).await;
            let again = keyed(&proxy, &method, &path, &key, &body).await;
            assert_eq!((first.status, first.text()), (again.status, again.text()), "{method} {path}");
            let kept = matches!(first.status, 200 | 409 | 412 | 422);
            assert_eq!(replayed(&again), kept, "{method} {path}: {} {}", first.status, first.text());
            asked.insert(path);
        }
    }
    assert!(asked.len() >= 13, "{asked:?}");
    let look = keyed(&proxy, "GET", "/admin/status", "look", "").await;
    assert!(!replayed(&keyed(&proxy, "GET", "/admin/status", "look", "").await), "{}", look.text());
}

#[tokio::test]
async fn a_command_line_with_a_key_is_carried_out_once() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let args = ["switch", "--other", "--idempotency-key", "job 7", "--json"];
    let outputs = [proxy.cli(&args).await, proxy.cli(&args).await];
    let documents = outputs.map(|output| {
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    });
    assert_eq!(documents[0], documents[1]);
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_directory_that_takes_no_keys_stops_no_command() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    // In the place of the file: it can be neither written nor replaced.
    std::fs::create_dir_all(proxy.dir.path().join("state/answers.jsonl/x")).expect("a directory");
    let first = keyed(&proxy, "POST", "/admin/switch", "k", "").await;
    assert_eq!(first.json()["active"], "green");
    let again = keyed(&proxy, "POST", "/admin/switch", "k", "").await;
    assert_eq!(again.text(), first.text());
    proxy.until_logged("Answers of commands not written").await;
}

/// As a `kill -9` between the commit and its answer leaves it: the keys began, and none was answered.
fn forget_the_answers(proxy: &Proxy) {
    let path = proxy.dir.path().join("state/answers.jsonl");
    let text = std::fs::read_to_string(&path).expect("the answers");
    let mut begun = String::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line");
        if line.get("answer").is_none() {
            begun.push_str(&format!("{line}\n"));
        }
    }
    std::fs::write(&path, begun).expect("written");
}

#[tokio::test]
async fn a_command_that_was_killed_before_its_answer_is_answered_by_the_ledger() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let commands = [
        ("POST", "/admin/switch", json!({ "force": ["health"], "reason": "a" })),
        ("POST", "/admin/rollback", json!({ "reason": "b" })),
        ("POST", "/admin/canary", json!({ "weight": "5%", "reason": "c" })),
        ("POST", "/admin/canary/abort", json!({ "reason": "d" })),
        ("POST", "/admin/maintenance", json!({ "reason": "e" })),
        ("POST", "/admin/freeze", json!({ "reason": "f" })),
        ("POST", "/admin/switch", json!({ "reason": "g" })),
    ];
    let mut first = Vec::new();
    for (index, (method, path, body)) in commands.iter().enumerate() {
        let answer = keyed(&proxy, method, path, &format!("key {index}"), &body.to_string()).await;
        assert!(matches!(answer.status, 200 | 409), "{path}: {} {}", answer.status, answer.text());
        first.push((answer.status, answer.json()));
    }
    proxy.until("everything is on disk", |status| status["durable"] == true).await;
    let before = proxy.admin("GET", "/admin/history", "").await.json();
    proxy.kill().await;
    forget_the_answers(&proxy);
    proxy.restart().await;
    for (index, (method, path, body)) in commands.iter().enumerate() {
        for _ in 0..2 {
            let again = keyed(&proxy, method, path, &format!("key {index}"), &body.to_string()).await;
            let (status, first) = &first[index];
            assert_eq!(again.status, *status, "{path}: {}", again.text());
            let now = again.json();
            for key in
                ["changed", "active", "previous", "release", "generation", "overrode", "freeze", "code", "detail"]
            {
                assert_eq!(now.get(key), first.get(key), "{path}: {key} of {now} and {first}");
            }
        }
    }
    let after = proxy.admin("GET", "/admin/history", "").await.json();
    assert_eq!(before["transitions"], after["transitions"], "nothing was carried out twice");
}

#[tokio::test]
async fn the_history_lists_the_guards_that_were_overridden_also_after_a_restart() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let answer = proxy.post("/admin/switch", json!({ "force": ["health", "quarantine"], "reason": "now" })).await;
    assert_eq!(answer.json()["overrode"], json!(["health"]), "no release is quarantined");
    for _ in 0..2 {
        let history = proxy.admin("GET", "/admin/history?kind=switch", "").await.json();
        assert_eq!(history["transitions"][0]["overrode"], json!(["health"]), "{history}");
        let output = proxy.cli(&["history", "-n", "3"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("forced (overrode health): now"), "{text}");
        proxy.kill_and_restart().await;
    }
    proxy.write_file(&format!("{}\nnonsense = 1\n", proxy.text()));
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "force": ["file"], "reason": "past it" })).await;
    assert_eq!(answer.json()["overrode"], json!(["file"]), "{}", answer.text());
    let history = proxy.admin("GET", "/admin/history?kind=switch", "").await.json();
    assert_eq!(history["transitions"][0]["overrode"], json!(["file"]), "{history}");
}
