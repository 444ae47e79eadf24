//! A disk that hangs, and a log that nobody reads: neither holds up a rollback, a request, or the end of the process.

mod library;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::application::pair;
use crate::proxy::{Proxy, Setup};

/// A proxy whose disk hangs while `sick` is there.
async fn start(setup: &Setup) -> (Proxy, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let sick = dir.path().join("sick");
    let text = setup.text(dir.path());
    (Proxy::start_as(dir, &text, Stdio::null(), &library::environment(&sick)).await, sick)
}

/// What makes a process find its disk full, while the file `full` is there.
pub(crate) fn full(full: &Path) -> [(&'static str, &str); 2] {
    [("LD_PRELOAD", library::library()), ("FULL_DISK", full)].map(|(name, path)| (name, path.to_str().expect("UTF-8")))
}

fn fall_sick(sick: &Path) {
    std::fs::write(sick, "").expect("a file");
}

fn get_well(sick: &Path) {
    std::fs::remove_file(sick).expect("it was there");
}

#[tokio::test]
async fn with_a_disk_that_hangs_a_rollback_is_in_force_at_once_and_becomes_durable_when_the_disk_is_well() {
    let (blue, green) = pair().await;
    let (mut proxy, sick) = start(&Setup::new(&blue, &green)).await;
    proxy.switch("green").await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    fall_sick(&sick);
    let answer = proxy.post("/admin/rollback", json!({ "reason": "errors" })).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["changed"], &told["durable"]), (200, &json!(true), &json!(false)), "{told}");
    assert_eq!(proxy.color().await, "blue");
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["durable"]), (&json!("blue"), &json!(false)), "{status}");
    // It is told apart from one that works, and does not hold up what needs no disk.
    assert_eq!(proxy.admin("GET", "/livez", "").await.status, 200);
    assert_eq!(proxy.post("/admin/freeze", json!({ "reason": "the disk" })).await.json()["durable"], false);
    get_well(&sick);
    proxy.until("it is on disk", |status| status["durable"] == true).await;
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["freeze"]["reason"]), (&json!("blue"), &json!("the disk")), "{status}");
}

#[tokio::test]
async fn a_switch_that_waits_for_a_disk_that_hangs_is_called_off_by_a_rollback() {
    let (blue, green) = pair().await;
    let (proxy, sick) = start(&Setup::new(&blue, &green)).await;
    fall_sick(&sick);
    let (switch, rollback) = tokio::join!(proxy.post("/admin/switch", json!({})), async {
        proxy.until("it waits for the disk", |status| status["phase"] == "committing").await;
        assert_eq!(proxy.color().await, "blue");
        proxy.post("/admin/rollback", json!({})).await
    });
    assert_eq!((switch.status, &switch.json()["code"]), (409, &json!("withdrawn")), "{}", switch.text());
    assert_eq!((rollback.status, &rollback.json()["changed"]), (200, &json!(false)), "{}", rollback.text());
    get_well(&sick);
    proxy.until("it is on disk", |status| status["durable"] == true).await;
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn it_ends_when_it_is_told_to_although_the_disk_hangs() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    // Notices have a file of their own to write.
    setup.more = "[[notify]]\nname = \"log\"\nkind = \"slack\"\nurl_env = \"NOWHERE\"\n".to_owned();
    let dir = tempfile::tempdir().expect("a directory");
    let sick = dir.path().join("sick");
    let text = setup.text(dir.path());
    let [library, sickness] = library::environment(&sick);
    let env = [library, sickness, ("NOWHERE", "http://127.0.0.1:9/")];
    let mut proxy = Proxy::start_as(dir, &text, Stdio::null(), &env).await;
    proxy.switch("green").await;
    fall_sick(&sick);
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.json()["durable"], false);
    proxy.signal(Signal::TERM);
    let ended = proxy.ended().await;
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_command_and_no_request() {
    let (blue, green) = pair().await;
    let (kept, full) = std::io::pipe().expect("a pipe");
    rustix::pipe::fcntl_setpipe_size(&full, 4096).expect("a small pipe");
    let setup = Setup::new(&blue, &green);
    let mut proxy = Proxy::start_deaf(&setup, full.into()).await;
    // Each is a line of the log.
    for _ in 0..100 {
        assert_eq!(proxy.post("/admin/switch", json!({ "if_generation": 99 })).await.status, 412);
    }
    proxy.switch("green").await;
    let told = proxy.post("/admin/rollback", json!({ "reason": "errors" })).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(proxy.color().await, "blue");
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    drop(kept);
}
