//! A state directory or ledger that is removed or replaced while the proxy runs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::pair;
use crate::application::Application;
use crate::proxy::Proxy;
use crate::until;

async fn with_two_switches() -> (Proxy, Application, Application) {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue"] {
        proxy.switch(color).await;
    }
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    (proxy, blue, green)
}

fn ledger(proxy: &Proxy) -> PathBuf {
    proxy.dir.path().join("state/ledger.jsonl")
}

/// Loses the ledger, moves on, kills the process: the restart has the move, the whole history, and a chain that holds.
async fn survives(lose: impl FnOnce(&Proxy, &Path)) {
    let (mut proxy, _blue, _green) = with_two_switches().await;
    let path = ledger(&proxy);
    lose(&proxy, &path);
    let answer = proxy.switch("green").await;
    assert_eq!(answer["durable"], true, "{answer}");
    proxy.until_logged("Ledger written anew").await;
    let status = proxy.status().await;
    assert_eq!(status["durable"], true, "{status}");
    let problem = &status["problems"][0];
    assert_eq!(problem["setting"], "state.dir", "{status}");
    assert!(problem["reason"].as_str().is_some_and(|reason| reason.contains("written anew at")), "{status}");
    let shown = proxy.cli(&["status"]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).contains("written anew"), "{shown:?}");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_ledger_rewrites_total 1\n"), "{}", metrics.text());
    proxy.kill_and_restart().await;
    assert_eq!((proxy.status().await["active"].clone(), proxy.color().await), (json!("green"), "green".to_owned()));
    let history = proxy.admin("GET", "/admin/history?kind=switch", "").await.json();
    assert_eq!(history["transitions"].as_array().map(Vec::len), Some(3), "{history}");
    let verified = proxy.admin("GET", "/admin/history/verify", "").await.json();
    assert_eq!((&verified["ok"], &verified["first"]), (&json!(true), &json!(1)), "{verified}");
}

#[tokio::test]
async fn a_ledger_that_is_removed_is_written_anew_whole() {
    survives(|_, path| fs::remove_file(path).expect("removes")).await;
}

#[tokio::test]
async fn a_state_directory_that_is_removed_is_made_anew_whole() {
    survives(|proxy, _| fs::remove_dir_all(proxy.dir.path().join("state")).expect("removes")).await;
}

#[tokio::test]
async fn a_state_directory_that_is_moved_away_is_made_anew_whole() {
    survives(|proxy, _| fs::rename(proxy.dir.path().join("state"), proxy.dir.path().join("old")).expect("renames"))
        .await;
}

fn older(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("reads");
    text.split_inclusive('\n').take(2).collect()
}

#[tokio::test]
async fn an_older_copy_by_rename_does_not_come_into_force() {
    survives(|proxy, path| {
        let copy = proxy.dir.path().join("copy");
        fs::write(&copy, older(path)).expect("writes");
        fs::rename(copy, path).expect("renames");
    })
    .await;
}

#[tokio::test]
async fn an_older_copy_in_place_does_not_come_into_force() {
    survives(|_, path| fs::write(path, older(path)).expect("writes")).await;
}

#[tokio::test]
async fn a_ledger_that_is_gone_is_noticed_without_a_new_line() {
    let (mut proxy, _blue, _green) = with_two_switches().await;
    let before = proxy.ledger();
    fs::remove_dir_all(proxy.dir.path().join("state")).expect("removes");
    until("it is back", async || fs::read_to_string(ledger(&proxy)).ok().filter(|now| now.starts_with(&before))).await;
    proxy.kill_and_restart().await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn while_the_ledger_can_not_be_written_anew_nothing_is_called_durable() {
    let (proxy, _blue, _green) = with_two_switches().await;
    let state = proxy.dir.path().join("state");
    fs::rename(&state, proxy.dir.path().join("old")).expect("renames");
    fs::write(&state, "in the way").expect("writes");
    let status = proxy.until("it is told", |status| status["durable"] == false).await;
    let reason = status["problems"][0]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("state"), "{reason}");
    let refused = proxy.post("/admin/switch", json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("not_durable")), "{}", refused.text());
    fs::remove_file(&state).expect("removes");
    proxy.until("it is on disk again", |status| status["durable"] == true).await;
    proxy.switch("green").await;
}
