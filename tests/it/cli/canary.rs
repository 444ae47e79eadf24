//! `cutover canary` and `cutover replay`: what they print, and their exit codes.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::cli::{document, done, failed, pair, stderr, stdout};
use crate::proxy::{Proxy, Setup, command};
use crate::{soon, until};

/// A command that runs beside the test.
struct Beside {
    child: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    printed: String,
}

impl Beside {
    fn run(proxy: &Proxy, args: &[&str]) -> Beside {
        let mut command = command(args);
        command.env("CUTOVER_CONFIG", proxy.file()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Beside { child, lines, printed: String::new() }
    }

    /// Until it prints a line with this.
    async fn until(mut self, text: &str) -> Beside {
        soon(text, async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                self.printed.push_str(&format!("{line}\n"));
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended without {text:?}: {}", self.printed);
        })
        .await;
        self
    }

    async fn ended(mut self) -> Output {
        let output = soon("the command ends", async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                self.printed.push_str(&format!("{line}\n"));
            }
            self.child.wait_with_output().await.expect("it ends")
        })
        .await;
        Output { stdout: self.printed.into_bytes(), ..output }
    }
}

#[tokio::test]
async fn a_canary_is_begun_held_advanced_and_called_off_in_a_line_or_two_each() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let text = done(&proxy.cli(&["canary", "status"]).await);
    assert_eq!(text, "No canary is running; blue (release 1.0) has all of the traffic.\n");
    let plan = ["--steps", "10%,50%", "--dwell", "1h", "--max-step", "2h", "--holdback", "0%"];
    let args = [&["canary", "start", "-r", "release 2"][..], &plan[..]].concat();
    let text = done(&proxy.cli(&args).await);
    assert!(text.starts_with("Started: green 2.0 gets 10 % of the requests (step 1 of 2), generation 2.\n"), "{text}");
    let text = done(&proxy.cli(&["canary", "status"]).await);
    assert!(text.starts_with("canary       dep-2 · green 2.0 against blue 1.0 · enforce\n"), "{text}");
    assert!(text.contains(" 10 % · step 1 of 2, next 50 %") && text.contains(" of at least 60 min"), "{text}");
    let text = done(&proxy.cli(&["status"]).await);
    assert!(text.contains("\ncanary       green 2.0 gets 10 % · step 1 of 2, next 50 %; "), "{text}");
    assert!(!text.contains("switching"), "{text}");

    let text = done(&proxy.cli(&["canary", "pause", "-r", "lunch"]).await);
    assert!(text.starts_with("Paused: green 2.0 gets 10 % of the requests (step 1 of 2, held)"), "{text}");
    let text = done(&proxy.cli(&["canary", "status"]).await);
    assert!(text.contains(": lunch; to continue: cutover canary resume"), "{text}");
    assert!(done(&proxy.cli(&["canary", "hold"]).await).starts_with("Nothing changed: "));
    assert!(done(&proxy.cli(&["canary", "resume"]).await).starts_with("Resumed: green 2.0 gets 10 %"));
    let text = done(&proxy.cli(&["canary", "advance"]).await);
    assert!(text.starts_with("Advanced: green 2.0 gets 50 % of the requests (step 2 of 2)"), "{text}");
    let text = done(&proxy.cli(&["canary", "advance"]).await);
    assert!(text.starts_with("Advanced: green 2.0 has the traffic and is watched"), "{text}");
    assert_eq!(proxy.color().await, "green");
    assert!(done(&proxy.cli(&["status"]).await).contains("\nbake         green 2.0 has 100 %; "));
    let text = done(&proxy.cli(&["canary", "abort", "-r", "slow"]).await);
    assert!(text.starts_with("Aborted: blue (release 1.0) has all of the traffic, generation "), "{text}");
    assert_eq!(proxy.color().await, "blue");

    let text = done(&proxy.cli(&["history"]).await);
    for said in [
        "canary of green 2.0 began at 10 %",
        "green 2.0 paused at 10 %",
        "green 2.0 resumed from 10 %",
        "green 2.0 gets 50 %",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }
    let answer = document(&proxy.cli(&["canary", "start", "--weight", "0.5%", "--json"]).await);
    assert_eq!((&answer["changed"], &answer["split"]["green"]), (&json!(true), &json!(0.5)), "{answer}");
    assert_eq!(answer["canary"]["plan"]["steps"], json!([0.5, 5.0, 25.0, 50.0]), "{answer}");
    assert_eq!(document(&proxy.cli(&["canary", "status", "--json"]).await)["canary"]["weight"], 0.5);
    let answer = document(&proxy.cli(&["canary", "abort", "--quarantine", "--json"]).await);
    assert_eq!((&answer["canary"], &answer["split"]["blue"]), (&Value::Null, &json!(100.0)), "{answer}");
    let (_, said) = failed(&proxy.cli(&["canary", "start"]).await, 3);
    assert!(said.starts_with("quarantined: "), "{said}");
    done(&proxy.cli(&["canary", "start", "--force"]).await);
}

#[tokio::test]
async fn what_can_not_be_is_refused_with_its_code() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for verb in ["advance", "pause", "resume"] {
        let (_, said) = failed(&proxy.cli(&["canary", verb]).await, 3);
        assert!(said.starts_with("no_canary: "), "{verb}: {said}");
    }
    let (_, said) = failed(&proxy.cli(&["canary", "watch"]).await, 1);
    assert!(said.contains("no canary is running"), "{said}");
    for args in
        [["--weight", "5"], ["--steps", "5%,many"], ["--dwell", "soon"], ["--mode", "maybe"], ["--steps", "50%,25%"]]
    {
        failed(&proxy.cli(&[&["canary", "start"][..], &args[..]].concat()).await, 2);
    }
    let (_, said) = failed(&proxy.cli(&["canary", "start", "--if-generation", "9"]).await, 3);
    assert!(said.starts_with("stale_generation: "), "{said}");
    done(&proxy.cli(&["freeze", "-r", "the fair"]).await);
    let output = proxy.cli(&["canary", "start", "--json"]).await;
    failed(&output, 3);
    assert_eq!(document(&output)["code"], "frozen");
    done(&proxy.cli(&["unfreeze"]).await);
    done(&proxy.cli(&["canary", "start"]).await);
    let (_, said) = failed(&proxy.cli(&["canary", "start"]).await, 3);
    assert!(said.starts_with("in_progress: "), "{said}");
    let (_, said) = failed(&proxy.cli(&["replay", "dep-99"]).await, 1);
    assert!(said.starts_with("not_recorded: "), "{said}");
    failed(&proxy.cli(&["replay", "yesterday"]).await, 2);
    failed(&proxy.cli(&["replay", "--alpha", "2"]).await, 2);
}

#[tokio::test]
async fn who_waits_gets_0_when_it_took_the_traffic_and_3_when_it_was_taken_back() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let waiting = Beside::run(&proxy, &["canary", "start", "--wait"]).until("green 2.0 · 5 %").await;
    done(&proxy.cli(&["canary", "abort", "-r", "slow"]).await);
    let (printed, said) = failed(&waiting.ended().await, 3);
    assert!(printed.starts_with("Started: green 2.0 gets 5 %"), "{printed}");
    assert!(
        printed.contains("Taken back: green 2.0 gets no more requests.\n  canary of green 2.0 aborted · api "),
        "{printed}"
    );
    assert!(printed.contains(": slow\n") && said.contains("release 2.0 was taken back; 1.0 serves"), "{printed}{said}");

    done(&proxy.cli(&["canary", "start", "--holdback", "0%"]).await);
    let watching = Beside::run(&proxy, &["canary", "watch", "--until", "traffic"]).until("green 2.0").await;
    let as_json = Beside::run(&proxy, &["canary", "watch", "--until", "traffic", "--json"]).until("\"canary\":{").await;
    done(&proxy.cli(&["canary", "advance"]).await);
    done(&proxy.cli(&["canary", "advance", "--full"]).await);
    let text = done(&watching.ended().await);
    assert!(text.starts_with("green 2.0 · "), "{text}");
    assert!(text.contains("Done: green 2.0 has the traffic; it is not known good yet.\n"), "{text}");
    let lines = done(&as_json.ended().await);
    let last: Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["outcome"], &last["active"]), (&json!("took_traffic"), &json!("green")), "{lines}");

    let watching = Beside::run(&proxy, &["canary", "watch"]).until("100 % · bake").await;
    done(&proxy.cli(&["rollback"]).await);
    let (printed, _) = failed(&watching.ended().await, 3);
    assert!(printed.contains("rolled back green 2.0 -> blue 1.0"), "{printed}");
}

#[tokio::test]
async fn a_bad_release_is_taken_back_and_what_was_recorded_says_why_again_and_again() {
    let (blue, green) = pair().await;
    let more = "[canary]\nsteps = [\"50%\"]\n[analysis]\ntick = \"100ms\"\n".to_owned();
    let proxy = Setup { more, ..Setup::new(&blue, &green) }.start().await;
    let waiting = Beside::run(&proxy, &["canary", "start", "--wait"]).until("green 2.0 · 50 %").await;
    let mut client = proxy.connect().await;
    until("it is taken back", async || {
        for _ in 0..10 {
            client.get("/broken?green").await;
        }
        proxy.status().await["canary"].is_null().then_some(())
    })
    .await;
    let (printed, _) = failed(&waiting.ended().await, 3);
    for said in ["rolled back green 2.0 -> blue 1.0", " · automatic ", "errors on "] {
        assert!(printed.contains(said), "{said:?} is not in\n{printed}");
    }
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["quarantine"][0]["release"]), (&json!("blue"), &json!("2.0")), "{status}");
    let history = proxy.admin("GET", "/admin/history?kind=rollback", "").await.json();
    let judgement = &history["transitions"][0]["judgement"];
    assert_eq!(
        (&judgement["verdict"], &judgement["findings"][0]["class"]),
        (&json!("fail"), &json!("error")),
        "{history}"
    );
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("cutover_rollbacks_total{trigger=\"automatic\"} 1\n"), "{}", metrics.text());
    let (_, said) = failed(&proxy.cli(&["canary", "start", "--json"]).await, 3);
    assert!(said.starts_with("quarantined: ") || said.starts_with("cooling_down: "), "{said}");

    // The judge is a pure function of what was recorded.
    let replayed = until("the record is on disk", async || {
        let output = proxy.cli(&["replay", "dep-2", "--json"]).await;
        let again: Value = serde_json::from_str(&stdout(&output)).ok()?;
        (again["recorded"]["verdict"] == "fail").then_some(again)
    })
    .await;
    assert_eq!(replayed["recorded"]["judgement"]["verdict"], "fail", "{replayed}");
    assert!(replayed["recorded"]["fail"]["requests"].as_u64().is_some_and(|requests| requests > 0), "{replayed}");
    let record = proxy.admin("GET", "/admin/deployments/dep-2/record", "").await;
    assert_eq!((record.status, record.header("content-type")), (200, Some("application/jsonl")));
    let copy = proxy.dir.path().join("dep-2.jsonl");
    std::fs::write(&copy, record.text()).expect("a file");
    let path = copy.to_str().expect("text");
    let text = done(&super::bare(&["replay", "--file", path, "--floor", "50%", "--ratio", "100"]).await);
    assert!(text.starts_with("dep-2 · 2.0 against 1.0: "), "{text}");
    let blocks: Vec<_> = text.split("\nreplayed").collect();
    assert!(blocks[0].contains("worse     after ") && blocks[1].contains("worse     never"), "{text}");
    let text = done(&proxy.cli(&["canary", "aa", "--runs", "20"]).await);
    assert!(
        text.starts_with("dep-2 · 1.0 against itself, 20 times: ") && text.contains("rolled back   0 of 20"),
        "{text}"
    );
    let aa = document(&super::bare(&["canary", "aa", "--file", path, "--runs", "20", "--json"]).await);
    assert_eq!((&aa["runs"], &aa["alarms"]), (&json!(20), &json!(0)), "{aa}");
    let known = proxy.admin("GET", "/admin/deployments", "").await.json();
    assert_eq!(known["deployments"][0]["outcome"], "rolled_back", "{known}");
    assert_eq!(known["deployments"][0]["recorded"], true, "{known}");
    assert_eq!(stderr(&proxy.cli(&["canary", "status"]).await), "");
}
