//! Releases over their lives: known good, frozen, taken back; and what is written down of it.

use serde_json::{Value, json};

use crate::application::{Application, pair};
use crate::proxy::{Proxy, Setup};

/// With a bake of this length.
async fn baking(blue: &Application, green: &Application, duration: &str) -> Proxy {
    let mut setup = Setup::new(blue, green);
    setup.more = format!("[bake]\nduration = \"{duration}\"\n");
    setup.start().await
}

async fn history(proxy: &Proxy, query: &str) -> Vec<Value> {
    let answer = proxy.admin("GET", &format!("/admin/history{query}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["transitions"].as_array().expect("a list").clone()
}

fn code(answer: &crate::client::Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_rollback_goes_to_a_known_good_release_and_to_nothing_else() {
    let (blue, green) = pair().await;
    let proxy = baking(&blue, &green, "15m").await;
    assert!(proxy.status().await["known_good"].is_string(), "what serves first is known good");
    proxy.switch("green").await;
    let status = proxy.status().await;
    assert_eq!(status["known_good"], Value::Null);
    assert!(status["known_good_in_s"].as_f64().is_some_and(|left| left > 800.0 && left <= 900.0), "{status}");
    // Forward to blue again: green was never known good, and is no way back.
    proxy.switch("blue").await;
    let status = proxy.status().await;
    assert!(status["known_good"].is_string(), "blue was, and is");
    assert_eq!(status["rollback"]["possible"], false);
    let answer = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!(code(&answer), (409, "no_known_good".to_owned()));
    let said = answer.json()["detail"].as_str().expect("a sentence").to_owned();
    assert!(said.contains("2.0") && said.contains("green") && said.contains("bake.duration"), "{said}");
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_release_becomes_known_good_by_itself_and_stays_so_over_a_restart() {
    let (blue, green) = pair().await;
    let mut proxy = baking(&blue, &green, "300ms").await;
    proxy.switch("green").await;
    proxy.until("it is known good", |status| status["known_good"].is_string()).await;
    let lines = crate::until("it is written down", async || {
        Some(history(&proxy, "?kind=known_good").await).filter(|lines| !lines.is_empty())
    });
    let lines = lines.await;
    assert_eq!((&lines[0]["trigger"], &lines[0]["release"]), (&json!("automatic"), &json!("2.0")));
    proxy.kill_and_restart().await;
    assert!(proxy.status().await["known_good"].is_string());
    proxy.switch("blue").await;
    let answer = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((answer.status, &answer.json()["active"]), (200, &json!("green")));
    let releases = proxy.admin("GET", "/admin/releases", "").await.json();
    let runs: Vec<_> = releases["releases"].as_array().expect("a list").iter().collect();
    let said: Vec<_> = runs.iter().map(|run| (run["release"].as_str(), run["color"].as_str())).collect();
    let (one, two) = ((Some("1.0"), Some("blue")), (Some("2.0"), Some("green")));
    assert_eq!(said, [two, one, two, one]);
    assert!(runs[0].get("until").is_none() && runs[1]["until"].is_string(), "{releases}");
    assert!(runs.iter().all(|run| run["known_good"].is_string()), "{releases}");
    assert_eq!(runs[1]["actor"], "root");
}

#[tokio::test]
async fn a_freeze_refuses_all_but_a_rollback_and_outlives_a_crash() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let answer = proxy.admin("POST", "/admin/freeze", "{}").await;
    assert_eq!(code(&answer), (400, "bad_request".to_owned()), "a freeze without a reason");
    let answer = proxy.post("/admin/freeze", json!({ "reason": "the fair" })).await.json();
    assert_eq!((&answer["changed"], &answer["durable"]), (&json!(true), &json!(true)));
    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!((&status["freeze"]["by"], &status["freeze"]["reason"]), (&json!("root"), &json!("the fair")));
    for body in [json!({}), json!({ "force": true }), json!({ "dry_run": true })] {
        let answer = proxy.post("/admin/switch", body).await;
        assert_eq!(code(&answer), (409, "frozen".to_owned()));
        assert!(
            answer.json()["detail"].as_str().is_some_and(|said| said.contains("root") && said.contains("the fair"))
        );
    }
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&proxy.ordering("blue"));
    let status = proxy.until("the order is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "frozen");
    assert_eq!(proxy.color().await, "green");
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    assert_eq!(proxy.color().await, "blue");
    let answer = proxy.admin("DELETE", "/admin/freeze", "").await.json();
    assert_eq!((&answer["changed"], answer.get("freeze")), (&json!(true), None));
    proxy.switch("green").await;
    let lines = history(&proxy, "").await;
    let kinds: Vec<_> =
        lines.iter().filter_map(|line| line["kind"].as_str()).filter(|kind| *kind != "refused").collect();
    assert_eq!(kinds, ["switch", "unfreeze", "rollback", "seen", "freeze", "switch", "start"]);
}

#[tokio::test]
async fn a_freeze_ends_at_its_time() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let output = proxy.cli(&["freeze", "--reason", "a moment", "--until", "2s"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Frozen until 20"), "{output:?}");
    proxy.until("it is over", |status| status.get("freeze").is_none()).await;
    proxy.switch("green").await;
    let lines = history(&proxy, "?kind=unfreeze").await;
    assert_eq!((&lines[0]["trigger"], &lines[0]["actor"]), (&json!("automatic"), &json!("cutover")));
    let answer = proxy.post("/admin/freeze", json!({ "reason": "late", "until": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(code(&answer), (400, "bad_request".to_owned()));
    let output = proxy.cli(&["unfreeze"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Nothing changed: moves were not frozen.\n");
}

#[tokio::test]
async fn a_freeze_ends_at_its_time_also_after_a_restart_and_while_the_process_is_down() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    for (until, down) in [("2s", 0), ("2s", 2_100)] {
        let output = proxy.cli(&["freeze", "--reason", "a moment", "--until", until]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        proxy.kill().await;
        tokio::time::sleep(std::time::Duration::from_millis(down)).await;
        proxy.restart().await;
        // Nobody asks for anything, which would make it look at the clock.
        proxy.until("it is over", |status| status.get("freeze").is_none()).await;
    }
    crate::until("it is written down", async || (history(&proxy, "?kind=unfreeze").await.len() == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn a_release_that_was_taken_back_as_bad_comes_back_only_by_force_or_under_another_name() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    proxy.switch("green").await;
    let output = proxy.cli(&["rollback", "--quarantine", "--reason", "checkout is slow"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    proxy.kill_and_restart().await;
    assert_eq!(proxy.status().await["quarantine"][0]["release"], "2.0");
    let answer = proxy.post("/admin/switch", json!({})).await;
    assert_eq!(code(&answer), (409, "quarantined".to_owned()));
    assert!(answer.json()["detail"].as_str().is_some_and(|said| said.contains("checkout is slow")), "{answer:?}");
    // By the file it is the same.
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until("the order is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "quarantined");
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&proxy.text().replace("release = \"2.0\"", "release = \"2.0.1\""));
    proxy.until("it is another one", |status| status["green"]["release"] == "2.0.1").await;
    proxy.switch("green").await;
    proxy.post("/admin/rollback", json!({})).await;
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
    proxy.replace_file(&proxy.text().replace("release = \"2.0.1\"", "release = \"2.0\""));
    proxy.until("it is the bad one again", |status| status["green"]["release"] == "2.0").await;
    assert_eq!(code(&proxy.post("/admin/switch", json!({})).await), (409, "quarantined".to_owned()));
    assert_eq!(proxy.post("/admin/switch", json!({ "force": true, "reason": "it is mended" })).await.status, 200);
    assert_eq!(proxy.status().await.get("quarantine"), None);
}

#[tokio::test]
async fn a_switch_to_endpoints_that_say_another_release_is_refused() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.health.push_str("\nrelease_header = \"X-Release\"");
    let proxy = setup.start().await;
    proxy.until("both are up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    for (says, wanted) in [(None, "no field"), (Some("1.9"), "release \"1.9\"")] {
        if let Some(release) = says {
            green.says_release(release);
        }
        let answer = proxy.post("/admin/switch", json!({ "dry_run": true })).await;
        assert_eq!(code(&answer), (409, "unhealthy".to_owned()));
        let said = answer.json()["endpoints"][0]["detail"].as_str().expect("a reason").to_owned();
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(proxy.status().await["green"]["endpoints"][0]["health"], "up", "a wrong label makes nobody ill");
    green.says_release("2.0");
    proxy.switch("green").await;
}

#[tokio::test]
async fn what_was_refused_is_in_the_history_with_who_and_why_and_can_be_asked_for() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let refused = json!({ "if_generation": 77, "reason": "a stale page" });
    assert_eq!(proxy.post("/admin/switch", refused.clone()).await.status, 412);
    assert_eq!(proxy.post("/admin/switch", refused).await.status, 412);
    proxy.switch("green").await;
    let lines = history(&proxy, "?kind=refused").await;
    assert_eq!(lines.len(), 1, "the same once: {lines:?}");
    let line = &lines[0];
    assert_eq!((&line["asked"]["kind"], &line["asked"]["to"]), (&json!("switch"), &json!("green")));
    assert_eq!((&line["actor"], &line["reason"]), (&json!("root"), &json!("a stale page")));
    assert!(line["refusal"].as_str().is_some_and(|said| said.starts_with("stale_generation: ")), "{line}");
    assert_eq!(history(&proxy, "?kind=switch,rollback").await.len(), 1);
    assert_eq!(history(&proxy, "?actor=nobody").await.len(), 0);
    assert_eq!(history(&proxy, "?release=2.0").await.len(), 2, "what went there, and what was to go there");
    assert_eq!(history(&proxy, "?since=2100-01-01T00:00:00Z").await.len(), 0);
    let answer = proxy.admin("GET", "/admin/history?kind=swich", "").await;
    assert!(answer.json()["detail"].as_str().is_some_and(|said| said.contains("\"swich\"")), "{}", answer.text());
    let output = proxy.cli(&["history", "--kind", "refused", "--since", "1h"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("refused a switch to green 2.0") && said.contains("stale_generation"), "{said}");
    let drained = crate::until("the drain is told", async || {
        let lines = history(&proxy, "?kind=switch").await;
        lines[0].get("drained").cloned()
    });
    let drained = drained.await;
    assert_eq!((&drained["color"], &drained["ended"]), (&json!("blue"), &json!(0)));
}

#[tokio::test]
async fn a_ledger_that_somebody_has_changed_is_found_out() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue"] {
        proxy.switch(color).await;
    }
    let found = proxy.admin("GET", "/admin/history/verify", "").await.json();
    assert_eq!((&found["ok"], &found["first"]), (&json!(true), &json!(1)), "{found}");
    let ledger = proxy.dir.path().join("state/ledger.jsonl");
    let copy = proxy.dir.path().join("copy.jsonl");
    std::fs::copy(&ledger, &copy).expect("a copy");
    let output = proxy.cli(&["history", "verify", copy.to_str().expect("text")]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The last line is gone: nothing in the file says so, but the process knows.
    let text = proxy.ledger();
    let shorter = text.trim_end().rsplit_once('\n').expect("lines").0.to_owned() + "\n";
    std::fs::write(&ledger, shorter).expect("a write");
    let output = proxy.cli(&["history", "verify"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("wrote last"), "{output:?}");
    // The second one is gone.
    let lines: Vec<_> = text.lines().collect();
    std::fs::write(&copy, [&[lines[0]], &lines[2..]].concat().join("\n") + "\n").expect("a write");
    let output = proxy.cli(&["history", "verify", copy.to_str().expect("text")]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("and the one before it 1"), "{output:?}");
}
