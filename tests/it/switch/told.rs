//! What the status says is true at that moment: what may be stopped, what a move waits for, and that a disk is well again.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::application::pair;
use crate::proxy::{Proxy, Setup};
use crate::staged::{Says, Staged};
use crate::state::sick_disk::full;
use crate::{soon, until};

fn needs(status: &Value, color: &str) -> Vec<String> {
    let needed = status[color]["safe_to_stop"]["needed_by"].as_array().cloned().unwrap_or_default();
    needed.iter().map(|need| need["need"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn the_only_color_with_an_endpoint_up_is_not_safe_to_stop() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[bake]\nduration = \"0s\"\n".to_owned();
    let proxy = setup.start().await;
    green.set_healthy(false);
    proxy.until("green is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    let answer = proxy.post("/admin/switch", json!({ "to": "green", "force": ["health"], "reason": "x" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = proxy
        .until("blue is nothing but the way out", |status| {
            status["draining"].is_null() && !needs(status, "blue").contains(&"way_back".to_owned())
        })
        .await;
    assert_eq!(needs(&status, "blue"), ["way_out"], "{status}");
    let blue_needs = &status["blue"]["safe_to_stop"];
    assert_eq!(blue_needs["safe"], false);
    assert_eq!(blue_needs["needed_by"][0]["detail"], "blue is the only color with an endpoint up; it is the way out");
    let shown = proxy.cli(&["wait", "--safe-to-stop", "blue", "--timeout", "1s"]).await;
    assert_eq!(shown.status.code(), Some(5), "{shown:?}");
    green.set_healthy(true);
    let status = proxy.until("green is up", |status| status["green"]["endpoints"][0]["health"] == "up").await;
    assert_eq!(status["blue"]["safe_to_stop"]["safe"], true, "{status}");
}

#[tokio::test]
async fn a_disk_that_has_room_again_is_told_although_nobody_asks_for_a_move() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().join("full");
    let text = Setup::new(&blue, &green).text(dir.path());
    let proxy = Proxy::start_as(dir, &text, Stdio::null(), &full(&mark)).await;
    // The second time the refusal itself is not written down again.
    for _ in 0..2 {
        std::fs::write(&mark, "").expect("a file");
        let answer = proxy.post("/admin/switch", json!({})).await;
        assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("not_durable")), "{}", answer.text());
        let checked = proxy.cli(&["status", "--check"]).await;
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        std::fs::remove_file(&mark).expect("it was there");
        proxy.until("it is told", |status| status["headline"]["code"] == "ok").await;
        let checked = proxy.cli(&["status", "--check"]).await;
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    }
    proxy.until_logged("Ledger not writable").await;
    proxy.until_logged("Ledger writable again").await;
}

#[tokio::test]
async fn a_move_that_waits_says_what_for_how_far_it_is_and_who_asked() {
    let (blue, green) = (Staged::start(&[]).await, Staged::start(&[]).await);
    let mut setup = Setup::at(blue.address, green.address);
    setup.more = "[[gate.check]]\nname = \"alive\"\npath = \"/alive\"\n\
                  [[gate.check]]\nname = \"warm-up\"\npath = \"/warm\"\ntimes = 10000\ntimeout = \"1h\"\n"
        .to_owned();
    let proxy = setup.start().await;
    green.set_healthy(false);
    green.says("/alive", Says::new(200, ""));
    green.says("/warm", Says { after: Duration::from_millis(5), ..Says::new(200, "") });
    let switch = proxy.post("/admin/switch", json!({ "to": "green", "timeout": "1h", "reason": "deploy 2.0" }));
    let watch = async {
        let status = proxy.until("it waits", |status| status["moving"]["waits_for"].is_string()).await;
        assert_eq!(status["moving"]["phase"], "health_checks", "{status}");
        let others = status["headline"]["others"].to_string();
        assert!(others.contains("switching to green: waiting for health checks"), "{status}");
        green.set_healthy(true);
        let status = proxy.until("it warms up", |status| status["moving"]["checks"]["responses"].as_u64() > Some(0));
        let status = status.await;
        let (moving, checks) = (&status["moving"], &status["moving"]["checks"]);
        assert_eq!(moving["phase"], "gate_checks");
        assert_eq!((&checks["passed"], &checks["of"], &checks["check"]), (&json!(1), &json!(2), &json!("warm-up")));
        let said = format!("1 of 2 checks of {} passed, warm-up {} of 10000", green.address, checks["responses"]);
        assert_eq!(moving["waits_for"], said);
        let note = status["headline"]["others"][0]["sentence"].as_str().expect("a sentence");
        assert!(note.starts_with("switching to green: waiting for gate checks (1 of 2 checks of "), "{note}");
        assert!(note.contains(" s left (") && note.ends_with(": deploy 2.0)"), "{note}");
        let again = proxy.post("/admin/switch", json!({ "to": "blue" })).await;
        assert_eq!(again.json()["pending"]["checks"]["of"], 2, "{}", again.text());
        let shown = proxy.cli(&["status"]).await;
        let text = String::from_utf8_lossy(&shown.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("switching to green: waiting for gate checks (1 of 2 checks of"), "{text}");
        green.says("/warm", Says::new(500, ""));
        assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    };
    let (switch, ()) = tokio::join!(switch, watch);
    assert_eq!((switch.status, &switch.json()["code"]), (409, &json!("withdrawn")), "{}", switch.text());
}

#[tokio::test]
async fn maintenance_says_since_when_by_whom_and_why_also_after_a_restart() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    assert!(proxy.status().await["maintenance_by"].is_null());
    proxy.post("/admin/maintenance", json!({ "reason": "new disks" })).await;
    for _ in 0..2 {
        let status = proxy.status().await;
        let on = &status["maintenance_by"];
        assert_eq!(on["reason"], "new disks", "{status}");
        assert!(on["since"].is_string() && on["by"].is_string(), "{status}");
        let shown = String::from_utf8_lossy(&proxy.cli(&["status"]).await.stdout).into_owned();
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("maintenance ON since ") && words.contains(": new disks): every request"), "{shown}");
        proxy.kill_and_restart().await;
    }
    proxy.admin("DELETE", "/admin/maintenance", "").await;
    assert!(proxy.status().await["maintenance_by"].is_null());
}

#[tokio::test]
async fn an_endpoint_that_begins_to_pass_says_how_many_checks_it_has_passed() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("rise = 1", "rise = 100");
    let proxy = Proxy::start_in(dir, &text).await;
    green.set_healthy(false);
    proxy.until("it is down", |status| status["green"]["endpoints"][0]["health"] == "down").await;
    assert!(proxy.status().await["green"]["endpoints"][0]["starting"].is_null());
    green.set_healthy(true);
    let status =
        proxy.until("it passes", |status| status["green"]["endpoints"][0]["starting"]["passed"].is_u64()).await;
    assert_eq!(status["green"]["endpoints"][0]["starting"]["of"], 100, "{status}");
    let shown = String::from_utf8_lossy(&proxy.cli(&["status"]).await.stdout).into_owned();
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(" starting ") && words.contains(" of 100 checks passed (200)"), "{shown}");
}

#[tokio::test]
async fn a_gate_under_way_asks_with_the_secret_that_stands_in_its_file_now() {
    let (blue, green) = (Staged::start(&[]).await, Staged::start(&[]).await);
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "before").expect("a file");
    let mut setup = Setup::at(blue.address, green.address);
    setup.more =
        format!("[[gate.check]]\npath = \"/in\"\ntimes = 10000\nheader_files = {{ authorization = {token:?} }}\n");
    let text = setup.text(dir.path());
    let proxy = Proxy::start_in(dir, &text).await;
    green.says("/in", Says::new(401, ""));
    let asked_with = |secret: &str| {
        green.asked().iter().filter(|asked| asked.path == "/in" && asked.field("authorization") == Some(secret)).count()
    };
    let switch = proxy.post("/admin/switch", json!({ "to": "green", "timeout": "1h" }));
    let mend = async {
        until("it is asked", async || (asked_with("before") > 0).then_some(())).await;
        std::fs::write(&token, "after").expect("a file");
        until("it is asked with the new one", async || (asked_with("after") > 0).then_some(())).await;
        // In the middle of a round, a reload begins the gate anew.
        green.says("/in", Says { after: Duration::from_millis(5), ..Says::new(200, "") });
        proxy.until("it warms up", |status| status["moving"]["checks"]["responses"].as_u64() > Some(0)).await;
        std::fs::write(&token, "newest").expect("a file");
        assert_eq!(proxy.post("/admin/reload", json!({})).await.status, 200);
        until("it is asked with the newest", async || (asked_with("newest") > 0).then_some(())).await;
        assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    };
    let (switch, ()) = soon("the switch is called off", async { tokio::join!(switch, mend) }).await;
    assert_eq!(switch.status, 409, "{}", switch.text());
}

#[tokio::test]
async fn a_move_that_was_called_off_is_one_line_that_says_by_whom_why_and_that_nothing_moved() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let output = proxy.cli(&["switch", "green", "--timeout", "1s", "--reason", "first"]).await;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let switch = proxy.post("/admin/switch", json!({ "to": "green", "timeout": "1h", "reason": "second" }));
    let back = async {
        proxy.until("it waits", |status| status["moving"]["to"] == "green").await;
        proxy.post("/admin/rollback", json!({ "reason": "wrong build" })).await
    };
    let (switch, _) = tokio::join!(switch, back);
    assert_eq!(switch.json()["code"], "withdrawn", "{}", switch.text());
    let output = proxy.cli(&["history"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches("called off a switch to green 2.0").count(), 2, "{text}");
    assert!(!words.contains("refused a switch") && !words.contains("cancelled: "), "{text}");
    assert!(
        words.contains("first called off by ")
            && words.contains(", who asked for it, before any traffic moved; blue keeps serving"),
        "{text}"
    );
    assert!(words.contains("'s rollback (wrong build) before any traffic moved"), "{text}");
}
