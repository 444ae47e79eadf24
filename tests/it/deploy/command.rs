//! `cutover deploy`: what it prints, where it ends, and its exit codes.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::application::Application;
use crate::cli::{document, done, failed};
use crate::deploy::{Stage, deploy, flowing};
use crate::proxy::command;
use crate::soon;

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_whitespace().next().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_deploy_tells_each_phase_in_a_line_and_what_may_be_stopped() {
    let stage = Stage::build().await;
    let text = done(&stage.deploy(&["--reason", "ticket 42"]).await);
    assert_eq!(lines(&text), ["stage", "gate", "move", "drain", "done"], "{text}");
    assert!(text.contains(&format!("stage  3.0 on green: {}, instead of 2.0\n", stage.next.address)), "{text}");
    assert!(text.contains("move   all traffic goes to green (3.0), generation 2, after "), "{text}");
    assert!(text.contains("drain  blue drained after ") && text.contains("nothing was cut off"), "{text}");
    assert!(text.ends_with("done   the processes of blue may be stopped\n"), "{text}");
    assert_eq!(stage.proxy.color().await, "next");
    let history = stage.proxy.admin("GET", "/admin/history?limit=1&kind=switch", "").await.json();
    assert_eq!(history["transitions"][0]["reason"], "ticket 42", "{history}");

    // Once more, and nothing is done again.
    let (ledger, file) = (stage.proxy.ledger(), stage.proxy.text());
    let text = done(&stage.deploy(&["--reason", "ticket 42"]).await);
    assert_eq!(lines(&text), ["stage", "move", "drain", "done"], "{text}");
    assert!(text.contains(", as before\n") && text.contains("move   green serves 3.0 already"), "{text}");
    assert_eq!((stage.proxy.ledger(), stage.proxy.text()), (ledger, file));
}

#[tokio::test]
async fn a_deploy_is_one_document_for_scripts() {
    let stage = Stage::build().await;
    let output = stage.deploy(&["--json"]).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let told = document(&output);
    assert_eq!((&told["changed"], &told["phase"], &told["color"]), (&json!(true), &json!("done"), &json!("green")));
    assert_eq!((&told["generation"], &told["active"], &told["release"]), (&json!(2), &json!("green"), &json!("3.0")));
    assert_eq!(told["replaced"], json!({ "release": "2.0", "endpoints": [stage.green.address.to_string()] }));
    assert_eq!((&told["drained"]["color"], &told["drained"]["cut_off"]), (&json!("blue"), &json!(0)), "{told}");
    assert_eq!(told["safe_to_stop"], json!({ "color": "blue", "safe": true, "needed_by": [] }));
    let told = document(&stage.deploy(&["--json"]).await);
    assert_eq!((&told["changed"], &told["generation"], &told["replaced"]), (&json!(false), &json!(2), &Value::Null));
}

#[tokio::test]
async fn a_gate_that_refuses_leaves_the_release_staged_and_ends_with_3() {
    let stage = Stage::build_with(|setup| setup.health.push_str("\nexpect = \"200\"")).await;
    stage.next.set_healthy(false);
    let text = stage.proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"500ms\"");
    stage.proxy.replace_file(&text);
    let (printed, said) = failed(&stage.deploy(&[]).await, 3);
    assert_eq!(lines(&printed), ["stage"], "{printed}");
    assert!(said.contains("unhealthy: green is not healthy") && said.contains("503"), "{said}");
    let status = stage.proxy.status().await;
    assert_eq!(
        (&status["active"], &status["generation"], &status["green"]["release"]),
        (&json!("blue"), &json!(1), &json!("3.0"))
    );
    let told = document(&stage.deploy(&["--json"]).await);
    assert_eq!(
        (&told["phase"], &told["problem"]["code"], &told["active"]),
        (&json!("gate"), &json!("unhealthy"), &json!("blue"))
    );
    stage.next.set_healthy(true);
    let text = done(&stage.deploy(&[]).await);
    assert!(text.contains(", as before\n") && text.contains("all traffic goes to green (3.0)"), "{text}");
}

#[tokio::test]
async fn the_timeout_of_a_deploy_is_the_time_of_the_gate_which_refuses_with_the_reason() {
    let stage = Stage::build_with(|setup| setup.health.push_str("\nexpect = \"200\"")).await;
    stage.next.set_healthy(false);
    // Shorter than `gate.timeout`, and both ways to move traffic.
    for options in [&["--timeout", "300ms"][..], &["--timeout", "300ms", "--canary"]] {
        let (printed, said) = failed(&stage.deploy(options).await, 3);
        assert_eq!(lines(&printed), ["stage"], "{printed}");
        let status = format!("{}  503", stage.next.address);
        assert!(said.starts_with("unhealthy: green is not healthy") && said.contains(&status), "{said}");
        let stays = "3.0 stays staged on green; blue keeps serving. Next: the same command again\n";
        assert!(said.ends_with(stays), "{said}");
    }
    let status = stage.proxy.status().await;
    assert_eq!(
        (&status["phase"], &status["active"], &status["green"]["release"]),
        (&json!("steady"), &json!("blue"), &json!("3.0"))
    );
    // Longer than `gate.timeout`.
    let text = stage.proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"100ms\"");
    stage.proxy.replace_file(&text);
    done(&stage.proxy.cli(&["reload"]).await);
    let child = begun(&stage, &["--timeout", "10m"]);
    stage.proxy.until("it has that time", |status| status["moving"]["ends_in_ms"].as_u64() > Some(60_000)).await;
    stage.next.set_healthy(true);
    let text = done(&soon("it moves", child.wait_with_output()).await.expect("it ran"));
    assert!(text.contains("gate   passed") && text.contains("all traffic goes to green (3.0)"), "{text}");
}

#[tokio::test]
async fn whoever_interrupts_a_deploy_at_the_gate_cancels_the_move() {
    let stage = Stage::build().await;
    stage.next.set_healthy(false);
    let child = begun(&stage, &[]);
    let pid = i32::try_from(child.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a pid");
    stage.proxy.until("it is at the gate", |status| status["phase"] == "gating").await;
    kill_process(pid, Signal::INT).expect("it runs");
    let output = soon("it ends", child.wait_with_output()).await.expect("it ran");
    let (_, said) = failed(&output, 130);
    assert!(said.contains("Cancelled; blue keeps serving."), "{said}");
    assert!(said.ends_with("3.0 stays staged on green; blue keeps serving. Next: the same command again\n"), "{said}");
    stage.next.set_healthy(true);
    let status = stage.proxy.status().await;
    assert_eq!((&status["phase"], &status["active"]), (&json!("steady"), &json!("blue")));
    let history = stage.proxy.admin("GET", "/admin/history?limit=5", "").await.json();
    let kinds: Vec<_> = history["transitions"].as_array().into_iter().flatten().map(|line| &line["kind"]).collect();
    assert!(!kinds.contains(&&json!("rollback")), "{history}");
}

#[tokio::test]
async fn whoever_interrupts_the_wait_for_known_good_leaves_the_traffic_there() {
    let stage = Stage::build_with(|setup| "[bake]\nduration = \"1h\"\n".clone_into(&mut setup.more)).await;
    let child = begun(&stage, &["--wait", "known-good"]);
    let pid = i32::try_from(child.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a pid");
    stage.proxy.until("it has moved", |status| status["active"] == "green" && status["draining"].is_null()).await;
    kill_process(pid, Signal::INT).expect("it runs");
    let (_, said) = failed(&soon("it ends", child.wait_with_output()).await.expect("it ran"), 130);
    // The signal may come while the answer of the move is on its way, which is told in a line before.
    assert!(said.contains("Stopped waiting; 3.0 on green keeps its traffic."), "{said}");
    assert_eq!(stage.proxy.status().await["active"], "green");
}

fn begun(stage: &Stage, options: &[&str]) -> Child {
    let address = stage.next.address.to_string();
    let mut deploying = command(&["deploy", "--release", "3.0", "--endpoint", &address]);
    deploying.args(options).env("CUTOVER_CONFIG", stage.proxy.file());
    deploying.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

#[tokio::test]
async fn what_is_only_staged_moves_nothing() {
    let stage = Stage::build().await;
    let text = done(&stage.deploy(&["--stage-only"]).await);
    assert!(text.contains("Nothing moved; blue serves.") && text.ends_with("Next: cutover switch green\n"), "{text}");
    assert_eq!(stage.proxy.color().await, "blue");
    let told = document(&stage.deploy(&["--stage-only", "--json"]).await);
    assert_eq!((&told["changed"], &told["phase"], &told["active"]), (&json!(false), &json!("done"), &json!("blue")));
    done(&stage.proxy.cli(&["switch", "green"]).await);
    assert_eq!(stage.proxy.color().await, "next");
}

#[tokio::test]
async fn a_drain_that_cuts_off_says_so() {
    let stage = Stage::build_with(|setup| "timeout = \"300ms\"".clone_into(&mut setup.drain)).await;
    let mut client = stage.proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    let text = done(&stage.deploy(&[]).await);
    assert!(text.contains("1 request was cut off"), "{text}");
    let mut client = stage.proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    let (_, said) = failed(&deploy(&stage.proxy, "4.0", &stage.green, &["--wait", "none", "--fail-on-cut"]).await, 1);
    assert!(said.contains("the drain of green cut off 1 of its requests; blue serves"), "{said}");
}

#[tokio::test]
async fn a_deploy_says_after_how_long_its_release_is_known_good() {
    let stage = Stage::build_with(|setup| "[bake]\nduration = \"1h\"\n".clone_into(&mut setup.more)).await;
    done(&stage.deploy(&["--known-good-after", "0s"]).await);
    let status = stage.proxy.status().await;
    assert!(status["known_good"].is_string(), "{status}");
}

#[tokio::test]
async fn an_endpoint_of_the_color_that_serves_is_refused_since_it_would_be_the_old_process() {
    let stage = Stage::build().await;
    let before = stage.proxy.text();
    let (_, said) = failed(&deploy(&stage.proxy, "4.0", &stage.blue, &[]).await, 3);
    let expected = format!("in_use: {} is an endpoint of blue (1.0), which serves", stage.blue.address);
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!((stage.proxy.color().await.as_str(), stage.proxy.text()), ("blue", before));
}

#[tokio::test]
async fn the_color_that_serves_and_the_way_back_are_refused_with_3() {
    let stage = Stage::build_with(|setup| "[bake]\nduration = \"1h\"\n".clone_into(&mut setup.more)).await;
    let (_, said) = failed(&stage.deploy(&["--color", "blue"]).await, 3);
    assert!(said.starts_with("in_use: blue (1.0) serves") && said.contains("Next: stage on green"), "{said}");
    let text = done(&stage.deploy(&[]).await);
    assert!(
        flowing(&text).contains("done Keep blue (1.0) running: it is the way back until 3.0 is known good at "),
        "{text}"
    );
    assert!(text.ends_with(" UTC.\n       Then: cutover wait --safe-to-stop blue\n"), "{text}");
    let (_, said) = failed(&stage.proxy.cli(&["wait", "--safe-to-stop", "blue", "--timeout", "100ms"]).await, 5);
    assert!(said.contains("blue is needed: a rollback goes to 1.0 there") && said.ends_with(" UTC\n"), "{said}");
    let text = done(&stage.proxy.cli(&["status"]).await);
    assert!(flowing(&text).contains("safe_to_stop blue: no, a rollback goes to 1.0 there while 3.0 is not "), "{text}");
    let again = deploy(&stage.proxy, "4.0", &stage.green, &[]).await;
    let (_, said) = failed(&again, 3);
    assert!(said.starts_with("way_back: a rollback goes to 1.0 on blue until 3.0 is known good"), "{said}");
    let text = done(&deploy(&stage.proxy, "4.0", &stage.green, &["--replace-way-back"]).await);
    assert!(text.contains("all traffic goes to blue (4.0)"), "{text}");
    assert_eq!(stage.proxy.color().await, "green");
    let text = stage.proxy.text().replace("duration = \"1h\"", "duration = \"0s\"");
    stage.proxy.replace_file(&text);
    done(&stage.proxy.cli(&["wait", "--safe-to-stop", "green"]).await);
}

#[tokio::test]
async fn a_canary_begins_with_its_share_and_the_next_deploy_gives_it_all_traffic() {
    let stage = Stage::build().await;
    let text = done(&stage.deploy(&["--canary", "5%", "--reason", "ticket 42"]).await);
    assert_eq!(lines(&text)[..3], ["stage", "gate", "canary"], "{text}");
    let status = stage.proxy.status().await;
    assert_eq!((&status["split"]["green"], &status["canary"]["release"]), (&json!(5.0), &json!("3.0")), "{status}");
    // The same again begins no second one.
    let text = done(&stage.deploy(&["--canary", "5%"]).await);
    assert!(text.contains("canary 3.0 on green has its share already"), "{text}");
    // Another release finds no color.
    let (_, said) = failed(&deploy(&stage.proxy, "4.0", &stage.green, &[]).await, 3);
    assert!(said.starts_with("in_use: green (3.0) gets 5 % of the requests"), "{said}");
    let text = done(&stage.deploy(&[]).await);
    assert!(text.contains("all traffic goes to green (3.0)"), "{text}");
}

#[tokio::test]
async fn what_forbids_a_move_leaves_the_release_staged() {
    let stage = Stage::build().await;
    let frozen = stage.proxy.post("/admin/freeze", json!({ "reason": "the fair" })).await;
    assert_eq!(frozen.status, 200);
    let (printed, said) = failed(&stage.deploy(&[]).await, 3);
    assert_eq!(lines(&printed), ["stage"], "{printed}");
    assert!(said.starts_with("frozen: ") && said.contains("the fair"), "{said}");
    assert_eq!(stage.proxy.status().await["green"]["release"], "3.0");
    assert_eq!(stage.proxy.admin("DELETE", "/admin/freeze", "").await.status, 200);
    done(&stage.deploy(&[]).await);
    // It was bad, and comes again.
    let back = stage.proxy.post("/admin/rollback", json!({ "quarantine": true, "reason": "errors" })).await;
    assert_eq!(back.status, 200, "{}", back.text());
    stage.proxy.until("green is drained", |status| status["draining"].is_null()).await;
    let (_, said) = failed(&stage.deploy(&[]).await, 3);
    assert!(said.starts_with("quarantined: release 3.0"), "{said}");
    assert_eq!(stage.proxy.color().await, "blue");
}

#[tokio::test]
async fn of_two_deploys_at_once_each_has_a_clear_end() {
    let stage = Stage::build().await;
    let other = Application::start("other").await;
    for round in 0..10 {
        let (mine, theirs) = (format!("m{round}"), format!("t{round}"));
        let (first, second) = tokio::join!(
            deploy(&stage.proxy, &mine, &stage.next, &["--json"]),
            deploy(&stage.proxy, &theirs, &other, &["--json"]),
        );
        let status = stage.proxy.status().await;
        let mut won = Vec::new();
        for (output, release) in [(&first, &mine), (&second, &theirs)] {
            let told = document(output);
            match output.status.code() {
                Some(0) => won.push(release.as_str()),
                Some(3) => {
                    let code = told["problem"]["code"].as_str().expect("a code");
                    assert!(["in_progress", "in_use", "target_changed", "way_back"].contains(&code), "{told}");
                }
                code => panic!("{code:?}: {told}"),
            }
        }
        // Whoever came second and found the traffic moved may have moved it on.
        let serves = status["release"].as_str().expect("a label");
        assert!(won.contains(&serves), "{serves} serves, and {won:?} were told that they do");
        let color = stage.proxy.color().await;
        assert_eq!(color, if serves == mine { "next" } else { "other" }, "{status}");
        stage.proxy.until("it is drained", |status| status["draining"].is_null()).await;
    }
}

#[tokio::test]
async fn further_upstreams_and_labels_of_stores_come_with_the_release() {
    let stage = Stage::build_with(|setup| {
        setup.blue.push_str("\n[blue.upstreams]\napi = [\"127.0.0.1:9\"]");
        setup.green.push_str("\n[green.upstreams]\napi = [\"127.0.0.1:9\"]");
    })
    .await;
    let api = format!("api={}", stage.green.address);
    let (_, said) = failed(&stage.deploy(&["--stage-only"]).await, 2);
    assert!(said.contains("api") && said.contains("nothing was staged"), "{said}");
    let orders = "orders={ needs = \">=41, <=43\", migrates_to = 43 }";
    done(&stage.deploy(&["--upstream", &api, "--schema", orders, "--stage-only"]).await);
    let text = stage.proxy.text();
    assert!(text.contains(&format!("api = [\"{}\"]", stage.green.address)), "{text}");
    assert!(text.contains("[green.schema]\norders = { needs = \">=41, <=43\", migrates_to = 43 }"), "{text}");
    done(&stage.deploy(&["--upstream", &api, "--schema", "none"]).await);
    assert!(!stage.proxy.text().contains("orders"), "{}", stage.proxy.text());
    for wrong in [
        &["--schema", "orders"][..],
        &["--schema", "orders={ needs = 1 }"],
        &["--upstream", "api"],
        &["--canary", "200%"],
    ] {
        failed(&stage.deploy(wrong).await, 2);
    }
}

#[tokio::test]
async fn a_deploy_waits_until_the_release_is_known_good() {
    let stage = Stage::build_with(|setup| "[bake]\nduration = \"1s\"\n".clone_into(&mut setup.more)).await;
    let text = done(&stage.deploy(&["--wait", "known-good"]).await);
    assert_eq!(lines(&text), ["stage", "gate", "move", "drain", "good", "done"], "{text}");
    assert!(text.ends_with("the processes of blue may be stopped\n"), "{text}");
    // One that is rolled back meanwhile.
    let text = stage.proxy.text().replace("duration = \"1s\"", "duration = \"1h\"");
    stage.proxy.replace_file(&text);
    let (output, ()) = tokio::join!(deploy(&stage.proxy, "4.0", &stage.green, &["--wait", "known-good"]), async {
        stage.proxy.until("it serves", |status| status["release"] == "4.0").await;
        stage.proxy.until("it is drained", |status| status["draining"].is_null()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stage.proxy.post("/admin/rollback", json!({})).await.status, 200);
    });
    let (_, said) = failed(&output, 3);
    assert!(said.contains("4.0 was taken back; green (3.0) serves"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_ends_with_4() {
    let stage = Stage::build().await;
    let Stage { mut proxy, next, .. } = stage;
    proxy.kill().await;
    failed(&deploy(&proxy, "3.0", &next, &[]).await, 4);
    let output = proxy.cli(&["deploy", "--release", "3.0"]).await;
    let (_, said) = failed(&output, 2);
    assert!(said.contains("--endpoint"), "{said}");
}

#[tokio::test]
async fn the_same_label_at_other_addresses_is_deployed_again() {
    let stage = Stage::build().await;
    done(&stage.deploy(&[]).await);
    let text = done(&deploy(&stage.proxy, "3.0", &stage.green, &[]).await);
    assert!(text.contains("all traffic goes to blue (3.0)"), "{text}");
    assert_eq!(stage.proxy.color().await, "green");
    let back = stage.proxy.post("/admin/rollback", json!({ "reason": "the new machine" })).await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(stage.proxy.color().await, "next");
}

#[tokio::test]
async fn a_deploy_while_a_switch_is_under_way_is_refused_and_only_asked_questions_are_not_logged() {
    let stage = Stage::build().await;
    stage.green.set_healthy(false);
    let (switched, ()) = tokio::join!(stage.proxy.post("/admin/switch", json!({ "to": "green" })), async {
        stage.proxy.until("it waits", |status| status["phase"] == "gating").await;
        let (printed, said) = failed(&stage.deploy(&[]).await, 3);
        assert_eq!(printed, "");
        assert!(said.starts_with("in_progress: "), "{said}");
        stage.green.set_healthy(true);
    });
    assert_eq!(switched.status, 200, "{}", switched.text());
    // The command asks first whether the release serves already.
    let refused = stage.proxy.log().matches("Staging refused").count();
    assert_eq!(refused, 1, "{}", stage.proxy.log());
    done(&stage.deploy(&[]).await);
    assert_eq!(stage.proxy.log().matches("Staging refused").count(), refused);
}

#[tokio::test]
async fn a_file_that_takes_no_orders_and_no_write_back_takes_a_release() {
    let stage = Stage::build().await;
    let text = stage.proxy.text().replace("[state]\n", "[state]\nwrite_back = false\nfile_orders = false\n");
    stage.proxy.replace_file(&text);
    done(&stage.deploy(&[]).await);
    assert_eq!(stage.proxy.color().await, "next");
    let text = stage.proxy.text();
    assert!(text.contains("active = \"blue\"") && text.contains("release = \"3.0\""), "{text}");
}

/// Completions and the manual page know it.
#[tokio::test]
async fn the_command_is_completed_and_described() {
    let stage = Stage::build().await;
    let options = crate::cli::offered(&stage.proxy, &["cutover", "deploy", "--"]).await;
    assert!(options.contains("--replace-way-back"), "{options}");
    let options = crate::cli::offered(&stage.proxy, &["cutover", "wait", "--"]).await;
    assert!(options.contains("--safe-to-stop"), "{options}");
    let dir = tempfile::tempdir().expect("a directory");
    done(&crate::cli::bare(&["man", &dir.path().display().to_string()]).await);
    let page = std::fs::read_to_string(dir.path().join("cutover-deploy.1")).expect("a page");
    assert!(page.contains("stage, gate, move and drain"), "{page}");
}
