//! The headline of the status: what it says in each incident, that its commands work as they are printed, and `--check`.

use std::os::unix::fs::symlink;
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::application::pair;
use crate::proxy::{Proxy, Setup, command};
use crate::soon;

/// Waits until the headline has this code, and gives it.
async fn headline(proxy: &Proxy, code: &str) -> Value {
    let status = proxy.until(code, |status| status["headline"]["code"] == code).await;
    status["headline"].clone()
}

/// A condition, whether it is the headline or stands behind it.
async fn condition(proxy: &Proxy, code: &str) -> Value {
    let find = |status: &Value| {
        let headline = &status["headline"];
        let others = headline["others"].as_array().cloned().unwrap_or_default();
        [headline.clone()].into_iter().chain(others).find(|condition| condition["code"] == code)
    };
    let status = proxy.until(code, |status| find(status).is_some()).await;
    find(&status).expect("it was there")
}

/// Pastes a command into a shell, as an operator does whose variables name the proxy.
async fn paste(proxy: &Proxy, line: &str) -> Output {
    let bin = proxy.dir.path().join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).expect("a directory");
        symlink(env!("CARGO_BIN_EXE_cutover"), bin.join("cutover")).expect("a link");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("PATH", path).env("CUTOVER_CONFIG", proxy.file()).kill_on_drop(true);
    soon("the command ends", shell.output()).await.expect("it runs")
}

async fn pasted(proxy: &Proxy, condition: &Value) {
    let line = condition["next"].as_str().expect("a command");
    let output = paste(proxy, line).await;
    assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn when_the_live_color_dies_the_command_of_the_headline_brings_clients_back() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    assert_eq!(headline(&proxy, "ok").await["level"], "ok");
    // A first start has nowhere to roll back to.
    blue.set_healthy(false);
    let dead = headline(&proxy, "live_color_down").await;
    assert_eq!(dead["level"], "outage");
    let sentence = dead["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("no endpoint of blue is up, all requests get 503 ("), "{dead}");
    let shown = proxy.cli(&["status"]).await;
    assert!(text(&shown).starts_with("OUTAGE: no endpoint of blue is up"), "{shown:?}");
    assert_eq!(proxy.get("/").await.status, 503, "the sentence is true");
    pasted(&proxy, &dead).await;
    assert_eq!(proxy.color().await, "green");
    blue.set_healthy(true);
    headline(&proxy, "ok").await;
}

#[tokio::test]
async fn a_release_that_was_quarantined_comes_back_by_the_command_that_names_the_guard() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let output = proxy.cli(&["rollback", "--quarantine", "--reason", "errors"]).await;
    assert!(output.status.success(), "{output:?}");
    let note = condition(&proxy, "quarantined").await;
    assert_eq!(note["sentence"].as_str().map(|said| said.starts_with("2.0 is quarantined (")), Some(true), "{note}");
    blue.set_healthy(false);
    let dead = headline(&proxy, "live_color_down").await;
    assert!(dead["next"].as_str().is_some_and(|next| next.contains("switch green --force")), "{dead}");
    let refused = proxy.cli(&["switch", "green"]).await;
    assert_eq!(refused.status.code(), Some(3), "without the guard it is refused: {refused:?}");
    pasted(&proxy, &dead).await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn while_moves_are_frozen_the_way_out_of_an_outage_includes_the_end_of_the_freeze() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let frozen = proxy.post("/admin/freeze", json!({ "reason": "weekend" })).await;
    assert_eq!(frozen.status, 200);
    assert_eq!(headline(&proxy, "ok").await["others"][0]["code"], "frozen");
    blue.set_healthy(false);
    let dead = headline(&proxy, "live_color_down").await;
    pasted(&proxy, &dead).await;
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn with_both_colors_dead_the_page_for_clients_is_one_command_away() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    blue.set_healthy(false);
    green.set_healthy(false);
    proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    let dead = headline(&proxy, "live_color_down").await;
    assert!(dead["sentence"].as_str().is_some_and(|said| said.contains("green can't take over")), "{dead}");
    pasted(&proxy, &dead).await;
    let maintenance = headline(&proxy, "maintenance").await;
    blue.set_healthy(true);
    pasted(&proxy, &maintenance).await;
    headline(&proxy, "ok").await;
}

#[tokio::test]
async fn the_commands_of_chosen_states_end_them() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[canary]\ndwell = \"1h\"\nmax_step = \"2h\"".to_owned();
    let proxy = setup.start().await;
    assert!(proxy.cli(&["freeze", "--reason", "weekend"]).await.status.success());
    pasted(&proxy, &condition(&proxy, "frozen").await).await;
    assert_eq!(proxy.post("/admin/hold", json!({ "timeout": "60s" })).await.status, 200);
    let paused = headline(&proxy, "paused").await;
    assert_eq!(paused["level"], "warning");
    pasted(&proxy, &paused).await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert!(proxy.cli(&["canary", "start", "--weight", "5%"]).await.status.success());
    condition(&proxy, "canary").await;
    assert!(proxy.cli(&["canary", "hold", "--reason", "logs"]).await.status.success());
    pasted(&proxy, &condition(&proxy, "canary_paused").await).await;
    condition(&proxy, "canary").await;
    // The gate waits for an endpoint that gives no answer.
    assert!(proxy.cli(&["canary", "abort"]).await.status.success());
    green.set_silent(true);
    let waits = proxy.cli(&["switch", "green"]);
    let cancels = async {
        let moving = condition(&proxy, "moving").await;
        pasted(&proxy, &moving).await;
    };
    let (switched, ()) = tokio::join!(waits, cancels);
    assert_ne!(switched.status.code(), Some(0));
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_check_ends_with_1_when_the_headline_is_bad_and_prints_only_the_headline() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    headline(&proxy, "ok").await;
    let output = proxy.cli(&["status", "--check"]).await;
    assert_eq!(
        (output.status.code(), text(&output).as_str()),
        (Some(0), "OK: blue (1.0) serves, 1 of 1 endpoint up.\n")
    );
    // A state that somebody chose is no alarm.
    assert!(proxy.cli(&["freeze", "--reason", "weekend"]).await.status.success());
    assert_eq!(proxy.cli(&["status", "--check"]).await.status.code(), Some(0));
    proxy.replace_file(&proxy.text().replace("workers = 2", "workers = 2\nwrong = 1"));
    let wrong = headline(&proxy, "invalid_config").await;
    let output = proxy.cli(&["status", "--check"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).starts_with("WARNING: the configuration file is not valid") && output.stderr.is_empty());
    // The command shows every error.
    let shown = paste(&proxy, wrong["next"].as_str().expect("a command")).await;
    assert!(String::from_utf8_lossy(&shown.stderr).contains("wrong"), "{shown:?}");
    let output = proxy.cli(&["status", "--check", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["headline"]["code"], "invalid_config");
}

#[tokio::test]
async fn a_command_that_was_given_options_prints_commands_with_them() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    assert!(proxy.cli(&["freeze", "--reason", "weekend"]).await.status.success());
    let file = proxy.file().display().to_string();
    let mut by_option = command(&["status", "--config", &file]);
    let output = soon("it ends", by_option.output()).await.expect("it runs");
    assert!(text(&output).contains(&format!("To allow moves: cutover --config {file} unfreeze\n")), "{output:?}");
    let output = proxy.cli(&["status"]).await;
    let printed = text(&output);
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("To allow moves: ")).expect("a command");
    assert!(paste(&proxy, line).await.status.success(), "{line}");
}
