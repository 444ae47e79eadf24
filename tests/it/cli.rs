//! The command line over the real binary: what it prints, where it finds the proxy, and its exit codes.

mod canary;
mod check;
mod demo;
mod documents;
mod headline;
mod incident;
mod on_terminal;
mod terminal;
mod unreachable;
mod wait;

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::admin::{OPERATOR, VIEWER, over_tcp, with_tokens};
use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup, command};
use crate::soon;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// What it printed, and nothing on standard error; it has to end with 0.
pub(crate) fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    assert_eq!(stderr(output), "");
    let text = stdout(output);
    assert!(!text.contains('\u{1b}'), "no color where there is no terminal: {text:?}");
    text
}

/// Why it failed, on standard error; what it printed all the same.
pub(crate) fn failed(output: &Output, code: i32) -> (String, String) {
    let (printed, said) = (stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{printed}{said}");
    assert!(!said.trim().is_empty() && !said.contains("panicked"), "{said}");
    assert!(!said.contains('\u{1b}') && !printed.contains('\u{1b}'), "{said:?}");
    (printed, said)
}

/// One JSON document on one line.
pub(crate) fn document(output: &Output) -> Value {
    let text = stdout(output);
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// Runs it without any proxy's file.
pub(crate) async fn bare(args: &[&str]) -> Output {
    soon("the command ends", command(args).output()).await.expect("the command runs")
}

#[tokio::test]
async fn a_container_is_told_whether_the_proxy_is_ready() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let config = proxy.dir.path().join("cutover.toml");
    let config = config.to_str().expect("text");
    // No token, which it does not need.
    let text = done(&bare(&["healthcheck", "--config", config]).await);
    assert!(text.starts_with("ready: unix:") && text.lines().count() == 1, "{text}");
    let nobody = ["healthcheck", "--admin", "127.0.0.1:1"];
    let (printed, said) = failed(&bare(&nobody).await, 1);
    assert!(printed.is_empty() && said.contains("can't be reached at 127.0.0.1:1"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    let found = document(&bare(&["healthcheck", "--json", "--config", config]).await);
    assert_eq!(found["ready"], true);

    let proxy = Proxy::start(&blue, &green).await;
    let served = proxy.text().replace("http = \"127.0.0.1:0\"", &format!("http = \"{}\"", proxy.http));
    let copy = proxy.dir.path().join("copy.toml");
    std::fs::write(&copy, served).expect("a file");
    let traffic = ["healthcheck", "--traffic", "--config", copy.to_str().expect("text")];
    let text = done(&bare(&traffic).await);
    assert!(text.contains("/.cutover/ready"), "{text}");
    proxy.signal(rustix::process::Signal::STOP);
    let (_, said) = failed(&bare(&[&traffic[..], &["--timeout", "50ms"]].concat()).await, 1);
    assert!(said.contains("no answer in 50ms"), "{said}");
    proxy.signal(rustix::process::Signal::CONT);
}

#[tokio::test]
async fn a_switch_and_the_way_back_are_told_in_one_line() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let text = done(&proxy.cli(&["switch", "green", "--dry-run"]).await);
    assert!(text.starts_with("Would switch to green (release 2.0)"), "{text}");
    assert_eq!(proxy.color().await, "blue");
    let text = done(&proxy.cli(&["switch", "green", "--reason", "release 2"]).await);
    assert!(text.starts_with("Switched to green (release 2.0) in ") && text.contains("generation 2."), "{text}");
    assert_eq!(proxy.color().await, "green");
    let text = done(&proxy.cli(&["switch", "green"]).await);
    assert!(text.starts_with("green serves already") && text.ends_with("nothing changed.\n"), "{text}");
    let text = done(&proxy.cli(&["rollback", "--dry-run"]).await);
    assert!(text.starts_with("Would roll back to blue (release 1.0)"), "{text}");
    assert_eq!(proxy.color().await, "green");
    let text = done(&proxy.cli(&["rollback", "-r", "errors"]).await);
    assert!(text.starts_with("Rolled back to blue (release 1.0) in "), "{text}");
    failed(&proxy.cli(&["rollback", "--dry-run"]).await, 3);
    let text = done(&proxy.cli(&["switch", "--other"]).await);
    assert!(text.starts_with("Switched to green"), "without a color it is the other one: {text}");

    let text = done(&proxy.cli(&["history"]).await);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("no  when                     gen  event"), "{text}");
    assert!(lines[1].contains(" UTC  4    switched blue 1.0 -> green 2.0 in "), "{text}");
    assert!(lines[3].contains("rolled back green 2.0 -> blue 1.0 in ") && lines[4].ends_with(": errors"), "{text}");
    assert!(lines[5].contains("switched blue 1.0 -> green 2.0 in ") && lines[6].ends_with(": release 2"), "{text}");
    let text = done(&proxy.cli(&["history", "-n", "2"]).await);
    let before = text.lines().last().and_then(|line| line.strip_prefix("older ones: --before ")).expect("a hint");
    let rest = done(&proxy.cli(&["history", "--before", before]).await);
    assert_eq!(rest.lines().skip(1).collect::<Vec<_>>(), &lines[5..], "{rest}");
    let one = done(&proxy.cli(&["history", "--before", before, "-n", "1"]).await);
    assert_eq!(one.lines().nth(1), Some(lines[5]), "{one}");
    assert_eq!(done(&proxy.cli(&["history", "--actor", "nobody"]).await), "Nothing matches.\n");
}

#[tokio::test]
async fn everything_that_prints_data_prints_it_as_json() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let would = document(&proxy.cli(&["switch", "green", "--dry-run", "--json"]).await);
    assert_eq!((&would["changed"], &would["dry_run"], &would["active"]), (&json!(true), &json!(true), &json!("green")));
    let answer = document(&proxy.cli(&["--json", "switch", "green"]).await);
    assert_eq!((&answer["active"], &answer["generation"]), (&json!("green"), &json!(2)));
    let answer = document(&proxy.cli(&["rollback", "--json"]).await);
    assert_eq!((&answer["active"], &answer["release"]), (&json!("blue"), &json!("1.0")));
    let status = document(&proxy.cli(&["status", "--json"]).await);
    assert_eq!((&status["active"], &status["http_address"]), (&json!("blue"), &json!(proxy.http.to_string())));
    let history = document(&proxy.cli(&["history", "--json"]).await);
    assert_eq!(history["transitions"][0]["kind"], "rollback");
    let waited = document(&proxy.cli(&["wait", "--json"]).await);
    assert_eq!(waited["active"], "blue");
    let reloaded = document(&proxy.cli(&["reload", "--json"]).await);
    assert_eq!(reloaded, json!({ "changed": false, "order": "done" }));
    // A refusal is data too; the sentence is for people.
    let output = proxy.cli(&["rollback", "--json"]).await;
    let (_, said) = failed(&output, 3);
    assert_eq!(document(&output)["code"], "no_known_good");
    assert!(said.starts_with("no_known_good: "), "{said}");
}

#[tokio::test]
async fn the_status_shows_both_environments() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy
        .until("both are up", |status| {
            ["blue", "green"].iter().all(|color| status[color]["endpoints"][0]["health"] == "up")
        })
        .await;
    let text = done(&proxy.cli(&["status"]).await);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "OK: blue (1.0) serves, 1 of 1 endpoint up.");
    assert!(lines[2].starts_with("serving      blue 1.0 · generation 1 · since "), "{text}");
    assert!(lines[3].starts_with("rollback     impossible: "), "{text}");
    assert!(text.contains("\nblue         1.0 · 1/1 up · 0 in flight"), "{text}");
    assert!(text.contains(&format!("\n             default  {}  up        200, for ", blue.address)), "{text}");
    assert!(text.contains("\ngreen        2.0 · 1/1 up"), "{text}");
    assert!(text.contains("active = \"blue\" (in force)"), "{text}");
    assert!(text.contains(&format!("\nproxy        serves on {} · up ", proxy.http)), "{text}");

    proxy.replace_file("active = 7\n");
    proxy.until("the file is wrong", |status| status["file"]["error"].is_string()).await;
    let mut command = command(&["status", "--admin", &format!("unix:{}/admin.sock", proxy.dir.path().display())]);
    let text = done(&soon("it ends", command.output()).await.expect("it runs"));
    assert!(text.contains("not valid; the last good configuration stays in force"), "{text}");
}

#[tokio::test]
async fn a_refusal_ends_with_3_and_says_which_endpoint_answered_what() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"20s\"".to_owned();
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"100ms\"");
    let proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    let (printed, said) = failed(&proxy.cli(&["switch", "--other"]).await, 3);
    assert_eq!(printed, "");
    assert!(said.starts_with("unhealthy: green is not healthy: 1 of 1 endpoints failed"), "{said}");
    assert!(said.contains(&format!("\n  default  {}  503 (at ", green.address)), "{said}");
    let (_, said) = failed(&proxy.cli(&["switch", "green", "--if-generation", "7"]).await, 3);
    assert!(said.starts_with("stale_generation: ") && said.contains("generation 7 was expected, but 1"), "{said}");
    let (_, said) = failed(&proxy.cli(&["rollback"]).await, 3);
    assert!(said.starts_with("no_known_good: "), "{said}");
    let text = done(&proxy.cli(&["switch", "green", "--force"]).await);
    assert!(text.starts_with("WARNING: 0 of 1 endpoints of green are up; clients get 502 or 503."), "{text}");
    assert!(text.contains("\nSwitched to green"), "{text}");
    assert!(done(&proxy.cli(&["history", "--kind", "switch", "-n1"]).await).contains(", forced"));
}

#[tokio::test]
async fn what_can_not_be_understood_ends_with_2() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (args, part) in [
        (&["switch", "red"][..], "red"),
        (&["swich"], "swich"),
        (&["switch", "--now"], "--now"),
        (&["switch", "green", "--timeout", "soon"], "soon"),
        (&["switch", "green", "--dry-run", "--wait", "drained"], "--wait"),
        (&["wait", "--active", "red"], "red"),
        (&["history", "-n", "0"], "0"),
        (&["history", "--before", "x"], "x"),
        (&["completions", "tcsh"], "tcsh"),
        (&[], "Usage"),
        (&["status", "--admin", "nonsense"], "HOST:PORT"),
        (&["status", "--admin", "tcp://127.0.0.1:9900"], "HOST:PORT"),
        (&["status", "--token-file", "/nowhere/token"], "/nowhere/token"),
        (&["switch", "green", "--reason", "two\nlines"], "control characters"),
    ] {
        let (printed, said) = failed(&proxy.cli(args).await, 2);
        assert!(said.contains(part), "{part:?} is not in {said} for {args:?}");
        assert_eq!(printed, "");
    }
    assert_eq!(proxy.status().await["generation"], 1);
    let output = bare(&["status", "--config", "/nowhere/cutover.toml"]).await;
    let (_, said) = failed(&output, 2);
    assert!(said.contains("/nowhere/cutover.toml") && said.contains("--admin"), "{said}");
    let output = bare(&["run", "--config", "/nowhere/cutover.toml"]).await;
    let (_, said) = failed(&output, 2);
    assert!(said.contains("/nowhere/cutover.toml"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_ends_with_4_and_one_that_fails_with_1() {
    let dir = tempfile::tempdir().expect("a directory");
    let nobody = format!("unix:{}/admin.sock", dir.path().display());
    for args in [&["status"][..], &["switch", "green"], &["rollback"], &["history"], &["reload"]] {
        let output = bare(&[&["--admin", &nobody], args].concat()).await;
        let (printed, said) = failed(&output, 4);
        assert!(said.contains(&nobody) && said.contains("can't be reached"), "{said}");
        assert_eq!(printed, "");
    }
    // Somebody is there, but not the admin API.
    let application = Application::start("blue").await;
    let output = bare(&["status", "--admin", &application.address.to_string()]).await;
    let (_, said) = failed(&output, 1);
    assert!(said.contains(&application.address.to_string()), "{said}");
    let (_, said) = failed(&bare(&["man", "/nowhere/at/all"]).await, 1);
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_given_up() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.signal(rustix::process::Signal::STOP);
    let (_, said) = failed(&proxy.cli(&["switch", "green"]).await, 4);
    assert!(said.contains("no answer in 5s"), "{said}");
    // A shorter time for the gate changes nothing: nothing was asked for, so nothing is pending.
    let (_, said) = failed(&proxy.cli(&["switch", "green", "--timeout", "1s"]).await, 4);
    assert!(said.contains("no answer in 5s, so nothing was asked for"), "{said}");
    proxy.signal(rustix::process::Signal::CONT);
}

#[tokio::test]
async fn the_address_comes_from_the_option_the_variable_or_the_file() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let here = format!("unix:{}/admin.sock", proxy.dir.path().display());
    done(&bare(&["status", "--admin", &here]).await);
    let nowhere = "unix:/nowhere/admin.sock";
    let with = async |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = command(args);
        command.envs(variables.iter().copied());
        soon("the command ends", command.output()).await.expect("the command runs")
    };
    let file = proxy.file().display().to_string();
    done(&with(&["status"], &[("CUTOVER_ADMIN", &here)]).await);
    done(&with(&["status"], &[("CUTOVER_CONFIG", &file)]).await);
    done(&with(&["status", "--config", &file], &[]).await);
    done(&with(&["status", "-c", &file], &[("CUTOVER_ADMIN", "")]).await);
    // The nearer word wins.
    done(&with(&["status", "--admin", &here], &[("CUTOVER_ADMIN", nowhere), ("CUTOVER_CONFIG", "/nowhere")]).await);
    failed(&with(&["status"], &[("CUTOVER_ADMIN", nowhere), ("CUTOVER_CONFIG", &file)]).await, 4);

    // Also while the file is not valid: that is when people need it.
    let good = proxy.text();
    for broken in [
        good.replace("active = \"blue\"", "active = \"blue"),
        format!("<<<<<<< HEAD\n{good}"),
        good.replace("[green]", "[green"),
        good.replace("[drain]", "[drian]"),
    ] {
        proxy.write_file(&broken);
        let text = done(&proxy.cli(&["status"]).await);
        assert!(text.contains("\nserving      blue "), "{text}");
    }
    proxy.write_file("nothing = 1\n");
    let (_, said) = failed(&proxy.cli(&["status"]).await, 2);
    assert!(said.contains("listen.admin") && said.contains("--admin"), "{said}");
}

#[tokio::test]
async fn over_tcp_the_address_may_be_a_name_or_a_url() {
    let (blue, green) = pair().await;
    let proxy = over_tcp(&Setup::new(&blue, &green)).await;
    let port = proxy.admin.rsplit(':').next().expect("a port");
    for admin in [
        proxy.admin.clone(),
        format!("http://{}/", proxy.admin),
        format!("localhost:{port}"),
        format!("0.0.0.0:{port}"),
    ] {
        let output = bare(&["switch", "green", "--admin", &admin]).await;
        done(&output);
    }
}

#[tokio::test]
async fn the_token_comes_from_the_variable_or_a_file() {
    let (blue, green) = pair().await;
    let proxy = with_tokens(&Setup::new(&blue, &green)).await;
    let run = async |args: &[&str], token: Option<&str>| {
        let mut command = command(args);
        command.env("CUTOVER_ADMIN", &proxy.admin);
        if let Some(token) = token {
            command.env("CUTOVER_TOKEN", token);
        }
        soon("the command ends", command.output()).await.expect("the command runs")
    };
    let (_, said) = failed(&run(&["status"], None).await, 6);
    assert!(said.starts_with("unauthorized: ") && said.contains("CUTOVER_TOKEN or --token-file"), "{said}");
    failed(&run(&["status"], Some("")).await, 6);
    for args in [&["status"][..], &["status", "--watch"], &["wait"], &["history"]] {
        let (_, said) = failed(&run(args, Some("wrong")).await, 6);
        assert!(said.starts_with("unauthorized: ") && !said.contains("wrong"), "{said}");
    }
    done(&run(&["status"], Some(VIEWER)).await);
    let (_, said) = failed(&run(&["switch", "green"], Some(VIEWER)).await, 6);
    assert!(said.starts_with("forbidden: ") && said.contains("screen"), "{said}");
    assert!(said.contains("may only read") && said.contains("role operator"), "{said}");
    let file = proxy.dir.path().join("operator").display().to_string();
    done(&run(&["switch", "green", "--token-file", &file], Some(VIEWER)).await);
    assert!(done(&run(&["history", "-n1"], Some(VIEWER)).await).contains("api deploy"));
    let (_, said) = failed(&run(&["status"], Some("two\nlines")).await, 2);
    assert!(said.contains("token") && !said.contains("lines"), "{said}");
    for text in [OPERATOR, VIEWER] {
        assert!(!said.contains(text));
    }
}

#[tokio::test]
async fn color_is_for_terminals_unless_it_is_asked_for() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let run = async |variables: &[(&str, &str)]| {
        let mut command = command(&["status"]);
        command.env("CUTOVER_CONFIG", proxy.file()).env_remove("NO_COLOR").envs(variables.iter().copied());
        stdout(&soon("the command ends", command.output()).await.expect("the command runs"))
    };
    assert!(!run(&[]).await.contains('\u{1b}'));
    assert!(
        !run(&[("NO_COLOR", "1"), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]).await.contains('\u{1b}')
    );
    // The way of other programs to ask for it shows that there is any.
    assert!(run(&[("CLICOLOR_FORCE", "1")]).await.contains('\u{1b}'));
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).await.contains('\u{1b}'));
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for args in [&["history"][..], &["status"], &["status", "--json"], &["completions", "bash"], &["man"], &["--help"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(args);
        command.env("CUTOVER_CONFIG", proxy.file()).stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        // It holds the pipe's other end.
        drop(command);
        let output = soon("the command ends", child.wait_with_output()).await.expect("it ends");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    }
    // One that only watches ends with its reader.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = command(&["status", "--watch"]);
    command.env("CUTOVER_CONFIG", proxy.file()).stdout(writer).stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    drop(command);
    drop(reader);
    let output = soon("the command ends", child.wait_with_output()).await.expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_switch_waits_for_the_drain_if_it_is_told_to() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    let output = proxy.cli(&["switch", "green", "--wait", "drained", "--timeout", "2s"]).await;
    let (printed, said) = failed(&output, 5);
    assert!(
        printed.starts_with("Switched to green") && printed.contains("Draining blue: 0 requests, 1 stream"),
        "{printed}"
    );
    assert!(said.starts_with("green serves; blue is not drained after 2s: blue: 0 requests, 1 stream"), "{said}");
    assert_eq!(proxy.color().await, "green", "the switch stands");

    // Of a script, too, nothing is kept back.
    let output = proxy.cli(&["switch", "green", "--wait", "drained", "--timeout", "2s", "--json"]).await;
    failed(&output, 5);
    let answer = document(&output);
    assert_eq!((&answer["changed"], &answer["draining"]["streams"]), (&json!(false), &json!(1)), "{answer}");

    let waits = async { proxy.cli(&["switch", "green", "--wait", "drained"]).await };
    let opens = async {
        proxy.until("it drains", |status| status["draining"]["streams"] == 1).await;
        blue.open_gate();
    };
    let (output, ()) = tokio::join!(waits, opens);
    let text = done(&output);
    assert!(text.contains("Drained") && text.contains("has no requests"), "{text}");
    let output = proxy.cli(&["switch", "blue", "--wait", "drained", "--json"]).await;
    assert_eq!((output.status.code(), document(&output).get("draining")), (Some(0), None));
}

#[tokio::test]
async fn a_reload_says_whether_there_was_anything_new_and_what_is_wrong() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    assert_eq!(done(&proxy.cli(&["reload"]).await), "Nothing new: the proxy already runs this version of the file.\n");
    let good = proxy.text();
    proxy.replace_file(&good.replace("workers = 2", "workers = 3\nmax_conections = 7"));
    let (printed, said) = failed(&proxy.cli(&["reload"]).await, 2);
    assert_eq!(printed, "");
    assert!(said.contains("max_conections") && said.contains("max_connections"), "{said}");
    assert!(said.contains("cutover.toml:"), "{said}");
    let output = proxy.cli(&["reload", "--json"]).await;
    failed(&output, 2);
    assert!(document(&output)["errors"][0]["line"].is_u64());
    proxy.replace_file(&good);
    done(&proxy.cli(&["reload"]).await);
}

#[tokio::test]
async fn the_status_can_be_watched_also_while_the_proxy_is_away() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut command = command(&["status", "--watch", "--json"]);
    command.env("CUTOVER_CONFIG", proxy.file()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut statuses = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut complaints = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut until_active = async |color: &str| loop {
        let line = soon("a status", statuses.next_line()).await.expect("text").expect("a line");
        let status: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        if status["active"] == color {
            break;
        }
    };
    until_active("blue").await;
    proxy.switch("green").await;
    until_active("green").await;
    proxy.signal(rustix::process::Signal::TERM);
    proxy.ended().await;
    let complaint = soon("a complaint", complaints.next_line()).await.expect("text").expect("a line");
    assert!(complaint.contains("can't be reached"), "{complaint}");
    proxy.restart().await;
    until_active("green").await;
    child.kill().await.expect("it runs");
}

#[tokio::test]
async fn help_pages_and_completions_are_there_for_every_command() {
    let commands = [
        "run",
        "check",
        "switch",
        "rollback",
        "canary",
        "replay",
        "status",
        "wait",
        "history",
        "reload",
        "demo",
        "completions",
        "man",
    ];
    let help = done(&bare(&["--help"]).await);
    for command in commands {
        assert!(help.contains(&format!("  {command} ")), "{command} is not in {help}");
        let own = done(&bare(&[command, "--help"]).await);
        assert!(own.contains(&format!("Usage: cutover {command}")), "{own}");
    }
    assert!(help.contains("3 refused by a guard"), "{help}");
    assert_eq!(done(&bare(&["--version"]).await), format!("cutover {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let script = done(&bare(&["completions", shell]).await);
        assert!(script.contains("COMPLETE") && script.contains("cutover"), "{shell}: {script}");
    }
    let page = done(&bare(&["man"]).await);
    for section in [".TH", ".SH NAME", ".SH EXAMPLES", ".SH \"ENVIRONMENT\"", ".SH \"EXIT STATUS\""] {
        assert!(page.contains(section), "{section} is not in {page}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    done(&bare(&["man", &dir.path().display().to_string()]).await);
    for command in commands {
        let page = std::fs::read_to_string(dir.path().join(format!("cutover-{command}.1"))).expect("a page");
        assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES"), "{command}");
    }
    assert!(dir.path().join("cutover.1").exists());
    let file = std::fs::read_to_string(dir.path().join("cutover.toml.5")).expect("a page");
    assert!(file.contains(".TH \"cutover.toml\" 5") && file.contains("fail_without_endpoints"), "{file}");
}

/// What a shell offers at the end of a line.
pub(crate) async fn offered(proxy: &Proxy, line: &[&str]) -> String {
    let mut asked = command(&[]);
    asked.arg("--").args(line).env("COMPLETE", "fish").env("CUTOVER_CONFIG", proxy.file());
    let output = soon("the shell is answered", asked.output()).await.expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    stdout(&output)
}

#[tokio::test]
async fn completions_know_colors_generations_and_deployments_of_the_moment() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let colors = offered(&proxy, &["cutover", "switch", ""]).await;
    assert!(colors.contains("blue\t1.0, serves\n") && colors.contains("green\t2.0"), "{colors}");
    let generation = offered(&proxy, &["cutover", "switch", "--if-generation", ""]).await;
    assert_eq!(generation.trim_end(), "1\tin force: blue 1.0");
    done(&proxy.cli(&["canary", "start", "--weight", "5%"]).await);
    let deployments = offered(&proxy, &["cutover", "replay", ""]).await;
    assert!(deployments.contains("dep-2"), "{deployments}");
    assert!(offered(&proxy, &["cutover", "sta"]).await.starts_with("status"), "commands as well");
    // Where nobody answers there are still both colors, and no error.
    proxy.signal(rustix::process::Signal::TERM);
    proxy.ended().await;
    let colors = offered(&proxy, &["cutover", "wait", "--active", ""]).await;
    assert!(colors.contains("blue") && colors.contains("green"), "{colors}");
}
