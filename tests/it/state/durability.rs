//! What was answered is in force after `kill -9`; and what a disk that can't be written costs.

mod lost;

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::application::pair;
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// What a client was told, and what it had asked for when the process was killed.
#[derive(Clone, Debug)]
struct Known {
    generation: u64,
    active: String,
    asked: Option<String>,
}

fn other(color: &str) -> &'static str {
    if color == "blue" { "green" } else { "blue" }
}

/// One order after the other, until the process is gone.
async fn switch_until_killed(dir: &std::path::Path, by_file: bool, known: &std::sync::Mutex<Known>) {
    let socket = dir.join("admin.sock");
    let file = dir.join("cutover.toml");
    let ask = async |method: &str, path: &str, body: &str| {
        let mut connection = Connection::unix(&socket).await.ok()?;
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.try_send(request).await.ok()?;
        let answer = connection.try_answer(false).await?;
        answer.complete.then_some(answer)
    };
    for round in 0.. {
        let (generation, active) = {
            let known = known.lock().expect("no panic while it is held");
            (known.generation, known.active.clone())
        };
        let to = other(&active);
        known.lock().expect("no panic while it is held").asked = Some(to.to_owned());
        let told = if by_file {
            let text = std::fs::read_to_string(&file).expect("the file is always there");
            let next = text.replace(&format!("active = \"{active}\""), &format!("active = \"{to}\""));
            if round % 2 == 0 {
                std::fs::write(&file, next).expect("a write");
            } else {
                std::fs::write(dir.join("next"), next).expect("a write");
                std::fs::rename(dir.join("next"), &file).expect("a rename");
            }
            loop {
                let Some(answer) = ask("GET", "/admin/status", "").await else { return };
                let status = answer.json();
                if status["active"] == to && status["file"]["order"] == "done" {
                    break status;
                }
            }
        } else {
            let path = if round % 3 == 2 { "/admin/rollback" } else { "/admin/switch" };
            let Some(answer) = ask("POST", path, "{}").await else { return };
            match answer.status {
                200 => answer.json(),
                409 => continue,
                status => panic!("{status} {}", answer.text()),
            }
        };
        let mut known = known.lock().expect("no panic while it is held");
        let now = told["generation"].as_u64().expect("a number");
        assert!(now >= generation, "generations only grow: {now} after {generation}");
        // A rollback that could not be written in time says so; then only the one before is promised.
        if told["durable"] == true {
            *known =
                Known { generation: now, active: told["active"].as_str().expect("a color").to_owned(), asked: None };
        }
    }
}

async fn kill_rounds(by_file: bool, rounds: u64) {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = String::new();
    let mut proxy = setup.start().await;
    let mut known = Known { generation: 1, active: "blue".to_owned(), asked: None };
    for round in 0..rounds {
        let shared = std::sync::Mutex::new(known.clone());
        // Sometimes before anything is answered, sometimes after many.
        let life = Duration::from_micros(fastrand::u64(0..60_000));
        let dir = proxy.dir.path().to_owned();
        tokio::select! {
            () = switch_until_killed(&dir, by_file, &shared) => panic!("it ended by itself:\n{}", proxy.log()),
            () = tokio::time::sleep(life) => proxy.kill().await,
        }
        known = shared.into_inner().expect("no panic while it was held");
        proxy.restart().await;
        // A file that was edited at the last moment is an order for the next process.
        let status = until("it has settled", async || {
            let status = proxy.status().await;
            let settled = ["steady", "baking"].contains(&status["phase"].as_str().unwrap_or_default())
                && status["file"]["disagrees"] == false;
            settled.then_some(status)
        })
        .await;
        let (generation, active) =
            (status["generation"].as_u64().expect("a number"), status["active"].as_str().expect("a color"));
        let what = format!("round {round}: told {known:?}, then killed after {life:?}; now {active} at {generation}");
        assert!(generation >= known.generation, "{what}\n{}", proxy.ledger());
        let allowed = active == known.active || known.asked.as_deref() == Some(active);
        assert!(allowed, "{what}\n{}", proxy.ledger());
        assert!(generation > known.generation || active == known.active, "{what}\n{}", proxy.ledger());
        assert_eq!(proxy.color().await, active, "{what}");
        known = Known { generation, active: active.to_owned(), asked: None };
    }
}

/// `CUTOVER_KILL_ROUNDS=1000` for the long run.
fn rounds() -> u64 {
    std::env::var("CUTOVER_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(24) / 2
}

#[tokio::test]
async fn what_was_answered_is_in_force_after_kill_9_in_the_midst_of_switches_by_the_api() {
    kill_rounds(false, rounds()).await;
}

#[tokio::test]
async fn what_was_shown_is_in_force_after_kill_9_in_the_midst_of_edits_of_the_file() {
    kill_rounds(true, rounds()).await;
}

/// From now on no file of the process may grow beyond so many bytes: every write to the ledger fails.
fn limit_files(proxy: &Proxy, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(proxy.pid()).expect("a pid")).expect("a pid");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a child's limit");
}

#[tokio::test]
async fn with_a_disk_that_takes_nothing_a_switch_is_refused_with_the_reason_and_a_rollback_works() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    limit_files(&proxy, Some(1));

    let rollback = proxy.post("/admin/rollback", json!({})).await;
    let answer = rollback.json();
    assert_eq!(
        (rollback.status, &answer["changed"], &answer["durable"]),
        (200, &json!(true), &json!(false)),
        "{answer}"
    );
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(proxy.status().await["durable"], false);
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_durable 0\n"), "{}", metrics.text());

    let refused = proxy.post("/admin/switch", json!({})).await;
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"]), (503, &json!("not_durable")), "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains("ledger.jsonl") && detail.contains("File too large"), "{detail}");
    assert_eq!(proxy.color().await, "blue");
    let file = &proxy.status().await["file"];
    assert!(file["disagrees"] == true && file["write_back_error"].is_string(), "{file}");

    // Trying says it as well, and the headline since when and why.
    let tried = proxy.post("/admin/switch", json!({ "dry_run": true })).await;
    assert_eq!((tried.status, &tried.json()["code"]), (503, &json!("not_durable")), "{}", tried.text());
    let headline = proxy.status().await["headline"].clone();
    assert_eq!(headline["code"], "not_durable", "{headline}");
    let sentence = headline["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("NOT SAVED for ") && sentence.contains("File too large"), "{sentence}");

    limit_files(&proxy, None);
    proxy.until("it is on disk", |status| status["durable"] == true).await;
    proxy.until_logged("Ledger writable again").await;
    let tried = proxy.post("/admin/switch", json!({ "dry_run": true })).await;
    assert_eq!(tried.status, 200, "{}", tried.text());
    proxy.kill_and_restart().await;
    assert_eq!((proxy.status().await["active"].clone(), proxy.color().await), (json!("blue"), "blue".to_owned()));
    proxy.switch("green").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
}

#[tokio::test]
async fn an_order_in_the_file_that_cannot_be_written_down_is_refused_and_tried_again_by_the_next_edit() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    limit_files(&proxy, Some(1));
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "not_durable", "{status}");
    assert_eq!(proxy.color().await, "blue");
    limit_files(&proxy, None);
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green" })).await.status, 200);
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn two_processes_do_not_share_a_ledger() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = proxy.text().replace("admin.sock", "other.sock");
    std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
    let (code, said) = crate::proxy::refused_start(dir.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another cutover") && said.contains(&proxy.pid().to_string()), "{said}");
}
