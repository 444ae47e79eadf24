//! `PUT /admin/colors/{color}`: what it writes, what it answers, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::application::{Application, pair};
use crate::deploy::{Stage, deploy};
use crate::proxy::{Proxy, Setup};
use crate::state::sick_disk;
use crate::until;

#[tokio::test]
async fn a_release_is_put_on_a_color_in_the_file_and_in_force_at_once() {
    let stage = Stage::build().await;
    let before = stage.proxy.text();
    let mode = fs::metadata(stage.proxy.file()).expect("it is there").permissions().mode();
    let answer = stage.put("green", &stage.body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((&told["changed"], &told["color"], &told["release"]), (&json!(true), &json!("green"), &json!("3.0")));
    assert_eq!(told["generation"], 1, "it moves nothing: {told}");
    assert_eq!(told["replaced"], json!({ "release": "2.0", "endpoints": [stage.green.address.to_string()] }));
    let expected = before
        .replace("release = \"2.0\"", "release = \"3.0\"")
        .replace(&stage.green.address.to_string(), &stage.next.address.to_string());
    assert_eq!(stage.proxy.text(), expected);
    assert_eq!(fs::metadata(stage.proxy.file()).expect("it is there").permissions().mode(), mode);
    let status = stage.proxy.status().await;
    assert_eq!((&status["green"]["release"], &status["active"]), (&json!("3.0"), &json!("blue")));
    // It is probed before anybody asks for a move.
    let address = stage.next.address.to_string();
    stage
        .proxy
        .until("it is up", |status| {
            let endpoint = &status["green"]["endpoints"][0];
            endpoint["endpoint"] == address && endpoint["health"] == "up"
        })
        .await;
    assert_eq!(stage.proxy.color().await, "blue");

    let again = stage.put("green", &stage.body()).await.json();
    assert_eq!(
        (&again["changed"], &again["replaced"], &again["staged"]),
        (&json!(false), &Value::Null, &told["staged"])
    );
    assert_eq!(stage.proxy.text(), expected);

    stage.proxy.switch("green").await;
    assert_eq!(stage.proxy.color().await, "next");
    let history = stage.proxy.admin("GET", "/admin/history", "").await.json();
    let staged = &history["transitions"][1];
    assert_eq!((&staged["kind"], &staged["reason"]), (&json!("staged"), &json!("ticket 42")), "{history}");
    assert_eq!((&staged["asked"]["to"], &staged["asked"]["release"]), (&json!("green"), &json!("3.0")));
    // What serves has it already.
    let again = stage.put("green", &stage.body()).await.json();
    assert_eq!(again["changed"], false, "{again}");
}

#[tokio::test]
async fn a_release_that_is_staged_can_be_previewed() {
    let stage = Stage::build_with(|setup| setup.more.push_str("[preview]\nallow = [\"127.0.0.1\"]\n")).await;
    assert_eq!(stage.put("green", &stage.body()).await.status, 200);
    let mut client = stage.proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Cutover-Color: inactive\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "next");
    assert_eq!(stage.proxy.color().await, "blue");
}

#[tokio::test]
async fn a_rehearsal_says_what_would_be_and_changes_nothing() {
    let stage = Stage::build().await;
    let (before, ledger) = (stage.proxy.text(), stage.proxy.ledger());
    let mut body = stage.body();
    body["dry_run"] = json!(true);
    let told = stage.put("green", &body).await.json();
    assert_eq!(
        (&told["changed"], &told["dry_run"], &told["replaced"]["release"]),
        (&json!(true), &json!(true), &json!("2.0"))
    );
    assert_eq!(stage.put("blue", &body).await.json()["code"], "in_use");
    assert_eq!((stage.proxy.text(), stage.proxy.ledger()), (before, ledger));
}

#[tokio::test]
async fn a_color_that_has_requests_gets_no_other_release() {
    let stage = Stage::build().await;
    let before = stage.proxy.text();
    let refused = async |color: &str, code: &str, words: &str| {
        let answer = stage.put(color, &stage.body()).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["code"]), (409, &json!(code)), "{told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{told}");
    };
    refused("blue", "in_use", "blue (1.0) serves").await;
    assert_eq!(stage.proxy.text(), before);
    // Each with an idle color of its own that still has something.
    let mut client = stage.proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.head().await.expect("a head");
    stage.proxy.switch("green").await;
    refused("blue", "in_use", "still drains 1 stream").await;
    let status = stage.proxy.status().await;
    assert_eq!(status["blue"]["safe_to_stop"]["needed_by"][0]["need"], "drain", "{status}");
    stage.blue.open_gate();
    stage.proxy.until("it is drained", |status| status["blue"]["safe_to_stop"]["safe"] == true).await;
    assert_eq!(stage.put("blue", &stage.body()).await.status, 200);

    let started = stage.proxy.post("/admin/canary", json!({ "weight": "5%" })).await;
    assert_eq!(started.status, 200, "{}", started.text());
    let other = json!({ "release": "4.0", "endpoints": [stage.green.address.to_string()] });
    let told = stage.put("blue", &other).await.json();
    assert_eq!(told["code"], "in_use", "{told}");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("gets 5 % of the requests")), "{told}");
    let status = stage.proxy.status().await;
    assert_eq!(status["blue"]["safe_to_stop"]["needed_by"][0]["need"], "share", "{status}");
    let history = stage.proxy.admin("GET", "/admin/history?kind=refused", "").await.json();
    assert_eq!(history["transitions"][0]["asked"]["kind"], "staged", "{history}");
}

#[tokio::test]
async fn while_a_move_is_under_way_nothing_is_staged() {
    let stage = Stage::build().await;
    stage.green.set_healthy(false);
    let (switched, ()) = tokio::join!(stage.proxy.post("/admin/switch", json!({ "to": "green" })), async {
        stage.proxy.until("it waits", |status| status["phase"] == "gating").await;
        let told = stage.put("green", &stage.body()).await.json();
        assert_eq!(told["code"], "in_progress", "{told}");
        let status = stage.proxy.status().await;
        assert_eq!(status["green"]["safe_to_stop"]["needed_by"][0]["need"], "move", "{status}");
        stage.green.set_healthy(true);
    });
    assert_eq!(switched.status, 200, "{}", switched.text());
}

#[tokio::test]
async fn the_way_back_is_only_replaced_when_that_is_said() {
    let stage = Stage::build_with(|setup| "[bake]\nduration = \"1h\"\n".clone_into(&mut setup.more)).await;
    stage.proxy.switch("green").await;
    stage.proxy.until("it is drained", |status| status["draining"].is_null()).await;
    let status = stage.proxy.status().await;
    assert_eq!(status["rollback"]["possible"], true, "{status}");
    let need = &status["blue"]["safe_to_stop"]["needed_by"][0];
    assert_eq!(need["need"], "way_back", "{status}");
    let answer = stage.put("blue", &stage.body()).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["code"]), (409, &json!("way_back")), "{told}");
    let detail = told["detail"].as_str().expect("words");
    // The minute: it is said to the second in one place, and to the millisecond in the other.
    let until = &need["until"].as_str().expect("a time")[..16];
    assert!(
        detail.contains("a rollback goes to 1.0 on blue until 2.0 is known good at ")
            && detail.contains("--replace-way-back"),
        "{detail}"
    );
    assert!(detail.contains(&until[..14]), "{detail} {until}");
    let mut body = stage.body();
    body["replace_way_back"] = json!(true);
    let told = stage.put("blue", &body).await.json();
    assert_eq!((&told["changed"], &told["replaced"]["release"]), (&json!(true), &json!("1.0")), "{told}");
    let status = stage.proxy.status().await;
    assert_eq!(status["rollback"]["possible"], false, "{status}");
    let why = status["rollback"]["why"].as_str().expect("a reason");
    assert!(why.contains("1.0") && why.contains("3.0 is deployed there now"), "{why}");
    assert_eq!(status["blue"]["safe_to_stop"], json!({ "safe": true, "needed_by": [] }), "{status}");
    assert_eq!(stage.proxy.post("/admin/rollback", json!({})).await.json()["code"], "no_known_good");
}

#[tokio::test]
async fn another_generation_than_expected_stages_nothing() {
    let stage = Stage::build().await;
    let mut body = stage.body();
    body["if_generation"] = json!(7);
    let answer = stage.put("green", &body).await;
    assert_eq!((answer.status, &answer.json()["code"]), (412, &json!("stale_generation")));
    body["if_generation"] = json!(1);
    assert_eq!(stage.put("green", &body).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_refused_with_the_reason_and_the_repair() {
    let stage = Stage::build_with(|setup| {
        setup.blue.push_str("\n[blue.upstreams]\napi = [\"127.0.0.1:9\"]\n[blue.schema.orders]\nneeds = \">=1\"");
        setup.green.push_str("\n[green.upstreams]\napi = [\"127.0.0.1:9\"]\n[green.schema.orders]\nneeds = \">=1\"");
    })
    .await;
    let before = stage.proxy.text();
    let address = stage.next.address.to_string();
    let api = json!({ "api": ["127.0.0.1:10"] });
    let cases = [
        ("red", json!({ "release": "3.0", "endpoints": [address] }), 422, "not \"red\""),
        ("green", json!({}), 400, "no `release`"),
        ("green", json!({ "release": "3.0" }), 400, "no `endpoints`"),
        ("green", json!({ "release": "3.0", "endpoints": "a" }), 400, "not right"),
        (
            "green",
            json!({ "release": "3.0", "endpoints": ["nonsense"], "upstreams": api, "schema": {} }),
            400,
            "\"nonsense\"",
        ),
        (
            "green",
            json!({ "release": "3\n0", "endpoints": [address], "upstreams": api, "schema": {} }),
            400,
            "not a label",
        ),
        ("green", json!({ "release": "3.0", "endpoints": [address], "schema": {} }), 400, "api"),
        ("green", json!({ "release": "3.0", "endpoints": [address], "upstreams": api }), 400, "--schema"),
        (
            "green",
            json!({ "release": "3.0", "endpoints": [address], "upstreams": api, "schema": { "orders": { "needs": "?" } } }),
            400,
            "needs",
        ),
        (
            "green",
            json!({ "release": "3.0", "endpoints": [address], "upstreams": { "default": [address] } }),
            400,
            "default",
        ),
    ];
    for (color, body, status, words) in cases {
        let answer = stage.put(color, &body).await;
        let told = answer.json();
        assert_eq!(answer.status, status, "{body}: {told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{body}: {told}");
    }
    assert_eq!(stage.proxy.text(), before);
    let schema = json!({ "orders": { "needs": ">=1, <=2", "migrates_to": 2 } });
    let body = json!({ "release": "3.0", "endpoints": [address], "upstreams": api, "schema": schema });
    assert_eq!(stage.put("green", &body).await.status, 200);
    assert!(
        stage.proxy.text().contains("[green.schema.orders]\nneeds = \">=1, <=2\"\nmigrates_to = 2"),
        "{}",
        stage.proxy.text()
    );
}

#[tokio::test]
async fn a_file_that_is_not_valid_is_left_alone() {
    let stage = Stage::build().await;
    let good = stage.proxy.text();
    stage.proxy.write_file(&good.replace("rise = 1", "rise = 0"));
    let answer = stage.put("green", &stage.body()).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["code"]), (422, &json!("invalid_config")), "{told}");
    assert!(stage.proxy.text().contains("rise = 0") && !stage.proxy.text().contains("3.0"));
}

/// A hand edit and a release, again and again at the same moment: both are in the file afterwards, or the hand edit was made on what
/// was there before and has the last word. It is never lost.
#[tokio::test]
async fn a_hand_edit_at_the_same_moment_is_not_lost() {
    let stage = Stage::build().await;
    let applications = [&stage.next, &stage.green];
    for round in 0..20 {
        let timeout = format!("timeout = \"{}s\"", 20 + round % 7);
        let release = format!("r{round}");
        let body = json!({ "release": release, "endpoints": [applications[round % 2].address.to_string()] });
        let edit = async {
            let text = stage.proxy.text();
            let next: Vec<String> = text
                .lines()
                .map(|line| if line.starts_with("timeout = \"2") { timeout.clone() } else { line.to_owned() })
                .collect();
            let next = format!("{}\n", next.join("\n"));
            if round % 3 == 0 { stage.proxy.write_file(&next) } else { stage.proxy.replace_file(&next) }
        };
        let (staged, ()) = tokio::join!(stage.put("green", &body), edit);
        assert_eq!(staged.status, 200, "{}", staged.text());
        until("the edit is in force", async || {
            stage.proxy.admin("GET", "/admin/config", "").await.text().contains(&timeout).then_some(())
        })
        .await;
        assert!(stage.proxy.text().contains(&timeout), "round {round}: {}", stage.proxy.text());
        // What a hand edit overwrote is put there by the same request again.
        let again = stage.put("green", &body).await;
        assert_eq!(again.status, 200, "{}", again.text());
        let text = stage.proxy.text();
        assert!(text.contains(&release) && text.contains(&timeout), "round {round}: {text}");
    }
}

#[tokio::test]
async fn a_move_to_what_is_not_there_any_more_is_refused_and_says_who_replaced_it() {
    let stage = Stage::build().await;
    let mine = stage.put("green", &stage.body()).await.json();
    let theirs = json!({ "release": "3.0", "endpoints": [stage.green.address.to_string()], "reason": "hotfix" });
    assert_eq!(stage.put("green", &theirs).await.status, 200);
    for (path, body) in [
        ("/admin/switch", json!({ "to": "green", "if_staged": mine["staged"] })),
        ("/admin/canary", json!({ "if_staged": mine["staged"] })),
    ] {
        let answer = stage.proxy.post(path, body).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["code"]), (409, &json!("target_changed")), "{told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("staged 3.0 (hotfix)")), "{told}");
    }
    assert_eq!(stage.proxy.color().await, "blue");
    let theirs = stage.put("green", &theirs).await.json();
    let moved = stage.proxy.post("/admin/switch", json!({ "if_staged": theirs["staged"] })).await;
    assert_eq!(moved.status, 200, "{}", moved.text());
}

#[tokio::test]
async fn many_at_once_leave_one_of_them_whole_in_the_file() {
    let stage = Stage::build().await;
    let body = |n: u16| json!({ "release": format!("r{n}"), "endpoints": [format!("127.0.0.1:{}", 9000 + n)] });
    let bodies = [body(0), body(1), body(2), body(3)];
    let put = async |n: usize| stage.put("green", &bodies[n]).await;
    let (first, second, third, fourth) = tokio::join!(put(0), put(1), put(2), put(3));
    for answer in [first, second, third, fourth] {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let status = stage.proxy.status().await;
    let (release, endpoint) = (&status["green"]["release"], &status["green"]["endpoints"][0]["endpoint"]);
    let whole = bodies.iter().any(|body| body["release"] == *release && body["endpoints"][0] == *endpoint);
    assert!(whole, "{status}");
}

#[tokio::test]
async fn a_file_on_a_full_disk_stays_as_it_is() {
    let (blue, green) = pair().await;
    let next = Application::start("next").await;
    let dir = tempfile::tempdir().expect("a directory");
    let full = dir.path().join("full");
    let text = Setup::new(&blue, &green).text(dir.path());
    let proxy = Proxy::start_as(dir, &text, Stdio::null(), &sick_disk::full(&full)).await;
    fs::write(&full, "").expect("a file");
    let output = deploy(&proxy, "3.0", &next, &[]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.starts_with("file_not_writable: ") && said.contains("No space left on device"), "{said}");
    assert_eq!((proxy.text(), proxy.color().await), (text, "blue".to_owned()));
    fs::remove_file(&full).expect("it was there");
    let output = deploy(&proxy, "3.0", &next, &[]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(proxy.color().await, "next");
}
