//! The command line, as people and scripts use it: what it prints, and its exit codes.

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::application::Application;
use crate::proxy::{Proxy, Setup, command};
use crate::{soon, until};

async fn pair() -> (Application, Application) {
    (Application::start("blue").await, Application::start("green").await)
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

#[track_caller]
fn check(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "out: {}\nerr: {}", out(output), err(output));
    for text in [out(output), err(output)] {
        assert!(!text.contains("panicked") && !text.contains('\x1b'), "no terminal, no colors: {text}");
    }
}

fn parsed(output: &Output) -> Value {
    serde_json::from_str(out(output)).unwrap_or_else(|error| panic!("{error}: {}", out(output)))
}

#[tokio::test]
async fn a_day_of_an_operator_reads_well_and_exits_with_0() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy
        .until("both are up", |s| {
            s["blue"]["endpoints"][0]["health"] == "up" && s["green"]["endpoints"][0]["health"] == "up"
        })
        .await;
    let status = proxy.cli(&["status"]).await;
    check(&status, 0);
    for part in ["active     blue · release 1.0 · generation 1", "1/1 up", "rollback   not possible", "says blue"] {
        assert!(out(&status).contains(part), "{part} is not in\n{}", out(&status));
    }
    let dry = proxy.cli(&["switch", "--dry-run"]).await;
    check(&dry, 0);
    assert!(out(&dry).starts_with("Would switch to green (release 2.0)"), "{}", out(&dry));
    let switch = proxy.cli(&["switch", "green", "--reason", "release 2"]).await;
    check(&switch, 0);
    assert!(out(&switch).starts_with("Switched to green (release 2.0) in "), "{}", out(&switch));
    let again = proxy.cli(&["switch", "green"]).await;
    check(&again, 0);
    assert!(out(&again).contains("nothing was touched"), "{}", out(&again));
    let back = proxy.cli(&["rollback", "-r", "errors"]).await;
    check(&back, 0);
    assert!(out(&back).starts_with("Rolled back to blue (release 1.0) in "), "{}", out(&back));
    let history = proxy.cli(&["history"]).await;
    check(&history, 0);
    let lines: Vec<&str> = out(&history).lines().collect();
    assert!(lines[0].contains("rolled back green 2.0 -> blue 1.0") && lines[0].ends_with("errors"), "{lines:?}");
    assert!(lines[1].contains("switched blue 1.0 -> green 2.0") && lines[1].ends_with("release 2"), "{lines:?}");
    assert!(lines[2].contains("first start on blue 1.0"), "{lines:?}");
    check(&proxy.cli(&["reload"]).await, 0);
    check(&proxy.cli(&["wait"]).await, 0);
    check(&proxy.cli(&["wait", "--active", "blue", "--healthy", "green", "--drained"]).await, 0);
}

#[tokio::test]
async fn everything_that_prints_data_prints_it_as_json_too() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    assert_eq!(parsed(&proxy.cli(&["status", "--json"]).await)["active"], "blue");
    assert_eq!(parsed(&proxy.cli(&["switch", "--json"]).await)["changed"], true);
    assert_eq!(parsed(&proxy.cli(&["--json", "rollback"]).await)["active"], "blue");
    assert_eq!(parsed(&proxy.cli(&["history", "--json", "-n", "1"]).await)["transitions"][0]["kind"], "rollback");
    assert_eq!(parsed(&proxy.cli(&["reload", "--json"]).await)["changed"], false);
    assert_eq!(parsed(&proxy.cli(&["wait", "--json"]).await)["active"], "blue");
    assert_eq!(parsed(&proxy.cli(&["check", "--json"]).await)["changes"], json!([]));
    let refused = proxy.cli(&["rollback", "--json"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(parsed(&refused)["code"], "no_known_good");
}

#[tokio::test]
async fn a_guard_that_refuses_is_3_and_says_why() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let refused = proxy.cli(&["switch"]).await;
    check(&refused, 3);
    assert!(
        err(&refused).contains("unhealthy") && err(&refused).contains(&green.address.to_string()),
        "{}",
        err(&refused)
    );
    assert!(err(&refused).contains("503"), "{}", err(&refused));
    let stale = proxy.cli(&["switch", "--if-generation", "7"]).await;
    check(&stale, 3);
    assert!(err(&stale).contains("generation 7 was expected, but 1 is in force"), "{}", err(&stale));
    let nothing = proxy.cli(&["rollback"]).await;
    check(&nothing, 3);
    check(&proxy.cli(&["switch", "--force", "--reason", "I know"]).await, 0);
}

#[tokio::test]
async fn usage_is_2_and_names_the_mistake() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (args, said) in [
        (&["switch", "teal"][..], "teal"),
        (&["swich"], "switch"),
        (&["history", "-n", "0"], "0"),
        (&["switch", "--timeout", "3"], "3"),
        (&["status", "--admin", "nonsense"], "nonsense"),
        (&["status", "--token-file", "/nonexistent"], "/nonexistent"),
        (&["status", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&[], "Usage"),
    ] {
        let output = proxy.cli(args).await;
        check(&output, 2);
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
    }
    for (args, said) in [(&["--help"][..], "Exit codes"), (&["--version"], env!("CARGO_PKG_VERSION"))] {
        let output = proxy.cli(args).await;
        check(&output, 0);
        assert!(out(&output).contains(said), "{args:?}: {}", out(&output));
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_4_also_behind_a_file_that_is_not_valid() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    // What is wrong with the file at the moment must not stand between an operator and a rollback.
    proxy.replace_file(&format!("{}\nnonsense = = 1\n[[[", proxy.text()));
    proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    check(&proxy.cli(&["switch", "green"]).await, 0);
    check(&proxy.cli(&["rollback"]).await, 0);
    proxy.kill().await;
    let gone = proxy.cli(&["status"]).await;
    check(&gone, 4);
    assert!(err(&gone).contains("can't be reached at unix:"), "{}", err(&gone));
}

#[tokio::test]
async fn the_admin_address_is_found_by_option_variable_or_file() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let admin = format!("unix:{}/admin.sock", proxy.dir.path().display());
    let by_option = soon("status", command(&["status", "--admin", &admin]).output()).await.expect("it runs");
    check(&by_option, 0);
    let by_variable =
        soon("status", command(&["status"]).env("CUTOVER_ADMIN", &admin).output()).await.expect("it runs");
    check(&by_variable, 0);
    let file = proxy.file().display().to_string();
    let by_file = soon("status", command(&["-c", &file, "status"]).output()).await.expect("it runs");
    check(&by_file, 0);
}

#[tokio::test]
async fn tokens_come_from_a_variable_or_a_file() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("token");
    std::fs::write(&secret, "s3cret\n").expect("a file");
    let mut setup = Setup::new(&blue, &green);
    setup.more = format!("[admin]\ntokens = [{{ name = \"ann\", role = \"operator\", file = {secret:?} }}]\n");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_by_log(dir, &text).await;
    let without = proxy.cli(&["status"]).await;
    check(&without, 1);
    assert!(err(&without).contains("CUTOVER_TOKEN"), "{}", err(&without));
    check(&proxy.cli(&["status", "--token-file", secret.to_str().expect("text")]).await, 0);
    let mut with = command(&["switch", "green"]);
    with.env("CUTOVER_CONFIG", proxy.file()).env("CUTOVER_TOKEN", "s3cret");
    check(&soon("a switch", with.output()).await.expect("it runs"), 0);
    // A valid file is valid, whether or not the running proxy tells what it has.
    let checked = proxy.cli(&["check"]).await;
    check(&checked, 0);
    assert!(out(&checked).contains("is valid") && out(&checked).contains("token"), "{}", out(&checked));
}

#[tokio::test]
async fn a_switch_waits_for_the_drain_and_gives_up_with_5() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    let gave_up = proxy.cli(&["switch", "green", "--wait", "drained", "--timeout", "200ms"]).await;
    check(&gave_up, 5);
    assert!(out(&gave_up).contains("Switched to green"), "{}", out(&gave_up));
    assert!(err(&gave_up).contains("green serves; blue is not drained after 200ms"), "{}", err(&gave_up));
    let waiting = async { proxy.cli(&["wait", "--drained"]).await };
    let opening = async { blue.open_gate() };
    let (waited, ()) = tokio::join!(waiting, opening);
    check(&waited, 0);
    let drained = proxy.cli(&["switch", "blue", "--wait", "drained"]).await;
    check(&drained, 0);
    assert!(
        out(&drained).ends_with("Drained: nothing is left on the color that served before.\n"),
        "{}",
        out(&drained)
    );
}

#[tokio::test]
async fn wait_comes_back_when_an_edit_is_in_force_refused_or_too_late() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.replace_file(&proxy.ordering("green"));
    check(&proxy.cli(&["wait", "--active", "green"]).await, 0);
    blue.set_healthy(false);
    let waiting = async { proxy.cli(&["wait", "--active", "blue"]).await };
    let edit = async { proxy.replace_file(&proxy.ordering("blue")) };
    let (refused, ()) = tokio::join!(waiting, edit);
    check(&refused, 3);
    assert!(err(&refused).contains("unhealthy"), "{}", err(&refused));
    let late = proxy.cli(&["wait", "--healthy", "blue", "--timeout", "200ms"]).await;
    check(&late, 5);
    assert!(err(&late).contains("503"), "it says what it waited for: {}", err(&late));
}

#[tokio::test]
async fn wait_is_patient_with_a_proxy_that_is_about_to_start() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.kill().await;
    let file = proxy.file();
    let waiting = tokio::spawn(async move {
        let mut wait = command(&["wait", "--active", "blue"]);
        wait.env("CUTOVER_CONFIG", file).output().await.expect("it runs")
    });
    proxy.restart().await;
    check(&soon("wait", waiting).await.expect("no panic"), 0);
}

#[tokio::test]
async fn check_tells_what_is_wrong_and_what_would_change() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let same = proxy.cli(&["check"]).await;
    check(&same, 0);
    assert!(out(&same).contains("is what the running proxy has in force"), "{}", out(&same));
    let other = proxy.dir.path().join("other.toml");
    let text = proxy.ordering("green").replace("timeout = \"20s\"", "timeout = \"30s\"");
    std::fs::write(&other, &text).expect("a file");
    let other_name = other.display().to_string();
    let changes = proxy.cli(&["check", "--config", &other_name]).await;
    check(&changes, 0);
    for part in ["drain.timeout: \"20s\" -> \"30s\"", "orders a switch from blue to green (release 2.0)"] {
        assert!(out(&changes).contains(part), "{part} is not in\n{}", out(&changes));
    }
    std::fs::write(&other, text.replace("rise = 1", "rise = 0\nfal = 1")).expect("a file");
    let wrong = proxy.cli(&["check", "--config", &other_name]).await;
    check(&wrong, 2);
    assert!(err(&wrong).contains("other.toml:") && err(&wrong).contains("fal"), "{}", err(&wrong));
    let wrong = proxy.cli(&["check", "--json", "--config", &other_name]).await;
    assert_eq!(parsed(&wrong)["errors"].as_array().map(Vec::len), Some(2), "{}", out(&wrong));
    proxy.kill().await;
    let alone = proxy.cli(&["check"]).await;
    check(&alone, 0);
    assert!(out(&alone).contains("No proxy runs"), "{}", out(&alone));
}

#[tokio::test]
async fn the_demo_shows_a_switch_and_a_rollback_under_traffic() {
    let output = soon("the demo", command(&["demo", "--once"]).output()).await.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    for part in ["Switched to green (release 2.14.0)", "Rolled back to blue (release 2.13.0)", ", 0 failed"] {
        assert!(out(&output).contains(part), "{part} is not in\n{}", out(&output));
    }
}

#[tokio::test]
async fn completions_and_manual_pages_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let output = soon("a script", command(&["completions", shell]).output()).await.expect("it runs");
        check(&output, 0);
        assert!(out(&output).contains("rollback"), "{shell}");
    }
    let page = soon("a page", command(&["man"]).output()).await.expect("it runs");
    check(&page, 0);
    assert!(out(&page).contains(".TH cutover 1"), "{}", out(&page));
    let dir = tempfile::tempdir().expect("a directory");
    let pages = soon("pages", command(&["man", dir.path().to_str().expect("text")]).output()).await.expect("it runs");
    check(&pages, 0);
    assert!(dir.path().join("cutover-switch.1").exists());
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_failure() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut child = command(&["status", "--watch", "--json"]);
    child.env("CUTOVER_CONFIG", proxy.file()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("it runs");
    drop(child.stdout.take());
    let output = soon("it ends", child.wait_with_output()).await.expect("it was started");
    check(&output, 0);
    assert_eq!(err(&output), "");
}

#[tokio::test]
async fn status_watch_goes_on_while_the_proxy_is_away() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut child = command(&["status", "--watch"]);
    child.env("CUTOVER_CONFIG", proxy.file()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut until_said = async |part: &str| {
        until(&format!("it says {part}"), async || {
            soon("a line", lines.next_line()).await.ok()??.contains(part).then_some(())
        })
        .await;
    };
    until_said("active     blue").await;
    proxy.kill().await;
    until_said("can't be reached").await;
    proxy.restart().await;
    until_said("active     blue").await;
}
