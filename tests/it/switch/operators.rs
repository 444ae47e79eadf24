//! Two operators, and one who believes what a command says: whose move it is, what was overridden, and what is not well.

use serde_json::{Value, json};

use super::{patient, refused_once};
use crate::application::{Application, pair};
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup, command};
use crate::soon;

/// Exit code, standard output, standard error.
async fn cli(proxy: &Proxy, args: &[&str]) -> (Option<i32>, String, String) {
    let output = proxy.cli(args).await;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Over the socket, as somebody who became root by `sudo`.
async fn by(proxy: &Proxy, user: &str, method: &str, path: &str, body: Value) -> Answer {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
    let body = body.to_string();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nCutover-Sudo-User: {user}\r\n");
    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    connection.answer().await
}

/// A switch to green that waits at its gate, by somebody.
async fn pending(proxy: &Proxy, user: &'static str, reason: &str) -> Connection {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the admin socket");
    let body = json!({ "to": "green", "reason": reason }).to_string();
    let head = format!("POST /admin/switch HTTP/1.1\r\nHost: localhost\r\nCutover-Sudo-User: {user}\r\n");
    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    proxy.until("it waits at the gate", refused_once).await;
    connection
}

#[tokio::test]
async fn the_actor_on_a_unix_socket_is_a_name_and_the_one_behind_sudo() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let name = std::process::Command::new("id").arg("-un").output().expect("id runs");
    let name = String::from_utf8(name.stdout).expect("text").trim().to_owned();
    proxy.switch("green").await;
    let last =
        async || proxy.admin("GET", "/admin/history?limit=1", "").await.json()["transitions"][0]["actor"].clone();
    assert_eq!(last().await, name);
    let root = rustix::process::getuid().is_root();
    let mut back = command(&["rollback"]);
    back.env("CUTOVER_CONFIG", proxy.file()).env("SUDO_USER", "alice");
    assert!(soon("it ends", back.output()).await.expect("it runs").status.success());
    assert_eq!(last().await, if root { "alice (sudo)".to_owned() } else { name.clone() });
    // What is no name of a user is none.
    for (user, shown) in [("bob", root), ("b ob", false), ("<b>", false)] {
        let to = json!({ "to": if last().await == name { "green" } else { "blue" } });
        by(&proxy, user, "POST", "/admin/switch", json!({})).await;
        assert_eq!(last().await, if shown { format!("{user} (sudo)") } else { name.clone() }, "{user} {to}");
    }
}

#[tokio::test]
async fn who_moves_what_since_when_and_why_is_told_to_whoever_comes_second() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    green.set_healthy(false);
    let mut first = pending(&proxy, "alice", "deploy 2.0").await;
    let (code, _, said) = cli(&proxy, &["switch", "green"]).await;
    assert_eq!(code, Some(3), "{said}");
    for part in
        ["in_progress: ", "'s switch to green (2.0) runs since 20", "(reason: deploy 2.0)", "`cutover rollback`"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    // Nothing to do, and nothing done to the other one.
    let (code, printed, _) = cli(&proxy, &["switch", "blue"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("blue serves already"), "{printed}");
    assert!(printed.contains("'s switch to green (2.0) is still pending, since 20"), "{printed}");
    assert!(
        printed.contains("reason: deploy 2.0") && printed.contains("To cancel it: `cutover rollback`"),
        "{printed}"
    );
    assert_eq!(proxy.status().await["moving"]["to"], "green");

    let (code, printed, said) = cli(&proxy, &["rollback", "--reason", "not now"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        printed.starts_with("Cancelled ") && printed.ends_with("'s switch to green (2.0); blue (1.0) keeps serving.\n"),
        "{printed}"
    );
    let answer = first.answer().await.json();
    assert_eq!(answer["code"], "withdrawn", "{answer}");
    let detail = answer["detail"].as_str().expect("words");
    assert!(
        detail.contains("cancelled by ") && detail.ends_with("'s rollback (not now) before any traffic moved"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_freeze_of_somebody_else_is_replaced_only_if_that_is_said_and_names_what_it_cancelled() {
    let (blue, green) = pair().await;
    let proxy = patient(&blue, &green).await;
    green.set_healthy(false);
    let mut first = pending(&proxy, "alice", "deploy").await;
    let (code, printed, _) = cli(&proxy, &["freeze", "--reason", "the fair"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("Cancelled ") && printed.contains("'s switch to green (2.0)."), "{printed}");
    assert_eq!(first.answer().await.json()["code"], "frozen");
    let (code, _, said) = cli(&proxy, &["freeze", "--reason", "an audit"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("already_frozen: ") && said.contains("the fair") && said.contains("--replace"), "{said}");
    let (code, printed, _) = cli(&proxy, &["freeze", "--reason", "the fair"]).await;
    assert_eq!(code, Some(0), "the same again is no other one: {printed}");
    let answer = proxy.post("/admin/freeze", json!({ "reason": "an audit", "replace": true })).await.json();
    assert_eq!((&answer["replaced"]["reason"], &answer["freeze"]["reason"]), (&json!("the fair"), &json!("an audit")));
    let (code, printed, _) = cli(&proxy, &["freeze", "--replace", "--reason", "a third"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("It replaced the freeze of ") && printed.contains(": an audit."), "{printed}");
    let (code, _, said) = cli(&proxy, &["freeze"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cutover freeze --reason"), "{said}");
}

#[tokio::test]
async fn a_switch_without_a_color_prints_both_commands_and_what_they_would_do() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for args in [&["switch"][..], &["switch", "--dry-run"], &["switch", "--force"]] {
        let (code, printed, said) = cli(&proxy, args).await;
        assert_eq!((code, printed.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains("To move all traffic to green (2.0): cutover switch green\n"), "{said}");
        assert!(said.contains("To change nothing, because blue (1.0) serves: cutover switch blue\n"), "{said}");
        assert!(said.contains("--other") && said.contains("--to-release"), "{said}");
    }
    let (code, printed, said) = cli(&proxy, &["switch", "--to-release", "2.0"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("Switched to green (release 2.0)"), "{printed}");
    let (code, printed, _) = cli(&proxy, &["switch", "--to-release", "2.0"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.starts_with("green serves already"), "{printed}");
    let (code, _, said) = cli(&proxy, &["switch", "--to-release", "3.0"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("unknown_release: no color has release 3.0: blue has 1.0, green has 2.0"), "{said}");
    assert!(said.contains("`cutover deploy --release 3.0 --endpoint ADDRESS`"), "{said}");
    let (code, _, said) = cli(&proxy, &["switch", "green", "--other"]).await;
    assert_eq!(code, Some(2), "{said}");
    let both = proxy.post("/admin/switch", json!({ "to": "blue", "to_release": "1.0" })).await;
    assert_eq!(both.status, 400, "{}", both.text());
    let (code, printed, _) = cli(&proxy, &["switch", "--other"]).await;
    assert_eq!((code, printed.starts_with("Switched to blue")), (Some(0), true), "{printed}");
}

#[tokio::test]
async fn a_forced_rollback_to_a_dead_color_is_done_and_warns_first() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    blue.set_healthy(false);
    let status = proxy.until("blue is down", |status| status["blue"]["endpoints"][0]["health"] == "down").await;
    let back = &status["rollback"];
    assert_eq!((&back["possible"], &back["would_need"]), (&json!(false), &json!("force")), "{back}");
    assert_eq!((&back["guards"], &back["command"]), (&json!(["health"]), &json!("cutover rollback --force=health")));
    assert!(back["why"].as_str().is_some_and(|why| why.contains("1 of 1 endpoints of blue is down")), "{back}");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("cutover_rollback_possible 0"), "{}", metrics.text());
    let (code, _, said) = cli(&proxy, &["rollback"]).await;
    assert_eq!(code, Some(3), "{said}");
    // The command that the status names works.
    let (code, printed, said) = cli(&proxy, &["rollback", "--force=health"]).await;
    assert_eq!(code, Some(0), "{said}");
    let warning = "WARNING: 0 of 1 endpoints of blue are up; clients get 502 or 503. To undo: `cutover switch green`\n";
    assert!(printed.starts_with(&format!("{warning}Rolled back to blue")), "{printed}");
    assert!(printed.contains("--force overrode: health (no endpoint was probed)."), "{printed}");
    let (code, _, said) = cli(&proxy, &["switch", "green"]).await;
    assert_eq!(code, Some(0), "{said}");
    let answer = proxy.post("/admin/switch", json!({ "to": "blue", "force": true })).await.json();
    assert_eq!(
        answer["warnings"][0],
        "0 of 1 endpoints of blue are up; clients get 502 or 503. To undo: `cutover switch green`"
    );
    assert_eq!(answer["overrode"], json!(["health"]));
}

#[tokio::test]
async fn a_force_overrides_the_guards_that_it_names_and_prints_those_that_it_did() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let (code, ..) = cli(&proxy, &["rollback", "--quarantine", "--reason", "errors"]).await;
    assert_eq!(code, Some(0));
    for args in [&["switch", "green"][..], &["switch", "green", "--force=health"]] {
        let (code, _, said) = cli(&proxy, args).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("quarantined: ") && said.contains("--force=quarantine"), "{said}");
    }
    green.set_healthy(false);
    let (code, _, said) = cli(&proxy, &["switch", "green", "--force=quarantine", "--timeout", "1s"]).await;
    assert_eq!(code, Some(5), "the gate still stands: {said}");
    let (code, printed, said) = cli(&proxy, &["switch", "green", "--force=quarantine,health"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("--force overrode: health (no endpoint was probed), quarantine."), "{printed}");
    let (code, _, said) = cli(&proxy, &["switch", "blue", "--force=everything"]).await;
    assert_eq!(code, Some(2), "{said}");
    let wrong = proxy.post("/admin/switch", json!({ "to": "blue", "force": ["everything"] })).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let (code, printed, _) = cli(&proxy, &["switch", "blue", "--force"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("--force overrode: health (no endpoint was probed).\n"), "{printed}");
}

#[tokio::test]
async fn a_drain_that_cut_requests_off_says_so_everywhere() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let late = async |path: &str| {
        let mut client = proxy.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        proxy
            .until("it is under way", |status| status["blue"]["requests"] == 1 || status["green"]["requests"] == 1)
            .await;
        client
    };
    let mut client = late("/late").await;
    let (code, printed, said) = cli(&proxy, &["switch", "green", "--wait", "drained"]).await;
    assert_eq!(code, Some(0), "{said}");
    let last = printed.lines().last().expect("a line");
    assert!(last.starts_with("Drained after ") && last.ends_with("; 1 request cut off."), "{printed}");
    assert_eq!(client.answer().await.status, 504);
    let line = crate::until("the access log has it", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).ok()?;
        log.lines().find(|line| line.contains("/late")).map(str::to_owned)
    })
    .await;
    assert!(line.contains("\"error\":\"drain_timeout\""), "{line}");
    let status = proxy.status().await;
    assert_eq!((&status["last_drain"]["cut_off"], &status["last_drain"]["color"]), (&json!(1), &json!("blue")));

    let mut client = late("/late").await;
    let (code, printed, said) = cli(&proxy, &["switch", "blue", "--fail-on-cut", "--json"]).await;
    assert_eq!(code, Some(1), "{said}");
    let answer: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&answer["active"], &answer["drained"]["cut_off"]), (&json!("blue"), &json!(1)), "{answer}");
    assert!(said.contains("the drain of green cut off 1 of its requests; blue serves"), "{said}");
    assert_eq!(client.answer().await.status, 504);
    let (code, printed, _) = cli(&proxy, &["switch", "green", "--fail-on-cut"]).await;
    assert_eq!(code, Some(0), "nothing was under way: {printed}");
    assert!(printed.contains("Drained after ") && printed.contains("blue has no requests"), "{printed}");
}

#[tokio::test]
async fn a_frequent_deployer_has_a_way_back_by_one_more_word() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (code, _, said) = cli(&proxy, &["rollback"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("Nothing to roll back to") && said.contains("`cutover switch green`"), "{said}");
    assert_eq!(proxy.status().await["rollback"]["command"], "cutover switch green");
    // 2.0 never served, so no rollback leads to it, whatever a freeze says.
    let (code, _, said) = cli(&proxy, &["rollback", "--to", "green"]).await;
    assert_eq!((code, said.contains("no_known_good: ")), (Some(3), true), "{said}");
    proxy.switch("green").await;
    proxy.switch("blue").await;
    // green served for a moment only.
    let (code, _, said) = cli(&proxy, &["rollback"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("green (2.0) served for less than bake.duration"), "{said}");
    assert!(said.contains("to go to green (2.0): `cutover rollback --to green`"), "{said}");
    let (code, printed, said) = cli(&proxy, &["rollback", "--to", "green"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("Rolled back to green (release 2.0)"), "{printed}");
    let last = proxy.admin("GET", "/admin/history?limit=1", "").await.json();
    assert_eq!(last["transitions"][0]["kind"], "rollback");
    let (code, printed, _) = cli(&proxy, &["rollback", "--to", "green"]).await;
    assert_eq!((code, printed.starts_with("green serves already")), (Some(0), true), "{printed}");
    // Also while moves are frozen: it is a rollback.
    cli(&proxy, &["freeze", "--reason", "the fair"]).await;
    let (code, _, said) = cli(&proxy, &["rollback", "--to", "blue", "--quarantine", "--reason", "errors"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = cli(&proxy, &["rollback", "--to", "green"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("quarantined: "), "{said}");
    assert_eq!(proxy.status().await["rollback"]["command"], "cutover rollback --to green --force=quarantine");
    let (code, _, said) = cli(&proxy, &["rollback", "--to", "green", "--force=quarantine"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_deploy_says_after_how_long_its_release_is_known_good() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (code, _, said) = cli(&proxy, &["switch", "green", "--known-good-after", "1s"]).await;
    assert_eq!(code, Some(0), "{said}");
    let left = proxy.status().await["known_good_in_s"].as_f64();
    assert!(left.is_none_or(|left| left <= 1.0), "{left:?}");
    proxy.until("green is known good", |status| status["known_good"].is_string()).await;
    let (code, _, said) = cli(&proxy, &["switch", "blue", "--known-good-after", "0s"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, printed, said) = cli(&proxy, &["rollback"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("Rolled back to green"), "{printed}");
    let wrong = proxy.post("/admin/switch", json!({ "to": "blue", "known_good_after": "2d" })).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}

#[tokio::test]
async fn an_abort_with_nothing_to_abort_is_done_and_a_plain_switch_blocks_no_canary() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (code, printed, said) = cli(&proxy, &["canary", "abort"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(printed, "Nothing changed: no canary is running, and blue (release 1.0) has all of the traffic.\n");
    let answer = proxy.post("/admin/canary/abort", json!({})).await;
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(false)));
    proxy.switch("green").await;
    let (code, printed, said) = cli(&proxy, &["canary", "start", "--weight", "5%"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.starts_with("Started: blue 1.0 gets 5 %"), "{printed}");
    let (code, printed, said) = cli(&proxy, &["switch", "blue"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("The canary of 1.0 at 5 % ended; it has all traffic."), "{printed}");
}

/// The file orders green, which is not healthy, and nobody puts the file right.
async fn refused_by_the_gate() -> (Application, Application, Proxy) {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("[state]\n", "[state]\nwrite_back = false\n");
    let text = text.replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"200ms\"");
    let proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    proxy.replace_file(&proxy.ordering("green"));
    (blue, green, proxy)
}

#[tokio::test]
async fn a_reload_whose_order_was_refused_ends_with_3_and_one_line() {
    let (_blue, green, proxy) = refused_by_the_gate().await;
    for _ in 0..2 {
        let (code, printed, said) = cli(&proxy, &["reload"]).await;
        assert_eq!((code, printed.as_str()), (Some(3), ""), "{said}");
        assert!(said.contains("its order was refused: unhealthy: green is not healthy"), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    let answer = proxy.post("/admin/reload", json!({})).await.json();
    assert_eq!((&answer["order"], &answer["refusal"]["code"]), (&json!("refused"), &json!("unhealthy")), "{answer}");
    green.set_healthy(true);
    proxy.replace_file(&format!("{}\n# once more\n", proxy.ordering("blue")));
    let (code, _, said) = cli(&proxy, &["reload"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_wait_after_a_restart_knows_that_the_order_was_refused() {
    let (_blue, _green, mut proxy) = refused_by_the_gate().await;
    proxy.until("it is refused", |status| status["file"]["order"] == "refused").await;
    crate::until("it is on disk", async || proxy.ledger().contains("\"seen\"").then_some(())).await;
    proxy.kill_and_restart().await;
    let (code, _, said) = cli(&proxy, &["wait", "--active", "green", "--timeout", "25s"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("unhealthy: green is not healthy"), "{said}");
}

#[tokio::test]
async fn a_quarantine_right_after_an_edit_of_the_live_label_is_of_the_release_that_serves() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    proxy.until("the file is put right", |status| status["file"]["active"] == "green").await;
    proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.1\""));
    let (code, _, said) = cli(&proxy, &["rollback", "--quarantine", "--reason", "errors"]).await;
    assert_eq!(code, Some(0), "{said}");
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["quarantine"][0]["release"]), (&json!("blue"), &json!("2.1")), "{status}");
    assert_eq!(status["quarantine"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_pause_of_somebody_else_is_replaced_only_if_that_is_said() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    by(&proxy, "alice", "POST", "/admin/pause", json!({ "timeout": "1h", "reason": "move the disk" })).await;
    let refused = by(&proxy, "bob", "POST", "/admin/pause", json!({ "timeout": "1s", "reason": "an audit" })).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("in_progress")));
    let (code, _, said) = cli(&proxy, &["pause", "--reason", "mine"]).await;
    assert_eq!(code, Some(3), "{said}");
    for part in ["in_progress: ", " paused traffic at 20", ": move the disk (", " s left)", "`cutover pause --replace`"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert_eq!(proxy.status().await["hold"]["reason"], "move the disk");
    let longer = by(&proxy, "alice", "POST", "/admin/pause", json!({ "timeout": "2h" })).await.json();
    assert_eq!((&longer["changed"], &longer["hold"]["reason"]), (&json!(true), &json!("move the disk")));
    let (code, printed, said) = cli(&proxy, &["pause", "--replace", "--reason", "mine"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("It replaced the pause of ") && printed.contains(": move the disk."), "{printed}");
    let answer =
        proxy.post("/admin/pause", json!({ "timeout": "1h", "reason": "a third", "replace": true })).await.json();
    assert_eq!((&answer["replaced"]["reason"], &answer["hold"]["reason"]), (&json!("mine"), &json!("a third")));
}

#[tokio::test]
async fn a_move_says_that_requests_are_held_and_by_whom() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.post("/admin/pause", json!({ "timeout": "1h", "reason": "db" })).await;
    let (code, printed, _) = cli(&proxy, &["switch", "green"]).await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("WARNING: requests are held (") && printed.contains(": db) for "), "{printed}");
    assert!(printed.contains(": `cutover unpause`\n") && printed.contains("Switched to green"), "{printed}");
    let address = blue.address.to_string();
    let deploy = ["deploy", "--release", "3.0", "--endpoint", &address, "--replace-way-back"];
    let (code, printed, said) = cli(&proxy, &deploy).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("WARNING: requests are held (") && printed.contains("`cutover unpause`"), "{printed}");
    let (code, printed, _) = cli(&proxy, &[&deploy[..], &["--json"]].concat()).await;
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&printed).expect("one document");
    let warning = report["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("requests are held (") && warning.ends_with("`cutover unpause`"), "{warning}");
    proxy.admin("DELETE", "/admin/pause", "").await;
    let (_, printed, _) = cli(&proxy, &["switch", "green"]).await;
    assert!(!printed.contains("WARNING"), "{printed}");
    proxy.post("/admin/maintenance", json!({})).await;
    let (_, printed, _) = cli(&proxy, &["switch", "blue"]).await;
    assert!(
        printed.contains("WARNING: maintenance is on") && printed.contains("`cutover maintenance off`"),
        "{printed}"
    );
}

#[tokio::test]
async fn an_abort_of_a_bake_without_a_rollback_target_names_the_command_that_goes_back() {
    let (blue, green) = pair().await;
    let more = "[bake]\nduration = \"1h\"\n".to_owned();
    let proxy = Setup { more, ..Setup::new(&blue, &green) }.start().await;
    proxy.switch("green").await;
    // Nothing that stood on either color is known good then.
    let address = blue.address.to_string();
    let deploy = ["deploy", "--release", "3.0", "--endpoint", &address, "--replace-way-back"];
    let (code, _, said) = cli(&proxy, &deploy).await;
    assert_eq!(code, Some(0), "{said}");
    let status = proxy.status().await;
    assert_eq!((&status["phase"], &status["rollback"]["possible"]), (&json!("baking"), &json!(false)), "{status}");
    let (code, _, said) = cli(&proxy, &["canary", "abort"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("no_known_good: 3.0 on blue has all traffic, so there is no canary to abort"), "{said}");
    let command = said.rsplit('`').nth(1).expect("a command").to_owned();
    assert!(command.starts_with("cutover "), "{said}");
    let args: Vec<_> = command.split(' ').skip(1).collect();
    let (code, _, said) = cli(&proxy, &args).await;
    assert_eq!((code, proxy.color().await.as_str()), (Some(0), "green"), "{command}: {said}");
}

#[tokio::test]
async fn a_rollback_names_the_release_that_it_put_into_quarantine_and_each_refusal_a_whole_command() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let (code, printed, said) = cli(&proxy, &["rollback", "--quarantine", "--reason", "errors"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("Quarantined release 2.0: "), "{printed}");
    let address = green.address.to_string();
    let deploy = ["deploy", "--release", "2.0", "--endpoint", &address];
    for (args, command) in [
        (&["switch", "green"][..], "`cutover switch green --force=quarantine`"),
        (&["canary", "start"], "`cutover canary start --force=quarantine`"),
        (&deploy, "`cutover switch green --force=quarantine`"),
    ] {
        let (code, _, said) = cli(&proxy, args).await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(command), "{command} is not in {said}");
    }
    proxy.write_file(&proxy.text().replace("rise = 1", "rise = 0"));
    proxy.until("it is not valid", |status| status["file"]["error"].is_string()).await;
    let (code, _, said) = cli(&proxy, &["switch", "green"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`cutover switch green --force=file`"), "{said}");
    let (code, _, said) = cli(&proxy, &deploy).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`cutover check`") && !said.contains("--force") && !said.contains("force the"), "{said}");
}

#[tokio::test]
async fn commands_that_are_printed_work_from_another_directory() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.admin("POST", "/admin/freeze", "{\"reason\":\"the fair\"}").await;
    let file = proxy.file();
    let (dir, name) = (file.parent().expect("a directory"), file.file_name().expect("a name"));
    let mut relative = command(&["switch", "green", "--config", name.to_str().expect("text")]);
    let output = soon("it ends", relative.current_dir(dir).output()).await.expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains(&format!("`cutover --config {} unfreeze`", file.display())), "{said}");
    let mut status = command(&["status", "--config", name.to_str().expect("text")]);
    let output = soon("it ends", status.current_dir(dir).output()).await.expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains(&format!("To allow moves: cutover --config {} unfreeze\n", file.display())), "{text}");
    let (_, printed, _) = cli(&proxy, &["status"]).await;
    assert!(printed.contains("To allow moves: cutover unfreeze\n"), "by the variable: {printed}");
}
