//! Gate checks: a release that is healthy and does not work gets no traffic.

use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::{Authority, replace};
use crate::proxy::{Proxy, Setup};
use crate::requests::names::server::NameServer;
use crate::staged::{Says, Staged};
use crate::{soon, until};

fn setup(blue: &Staged, green: &Staged, checks: &str) -> Setup {
    let mut setup = Setup::at(blue.address, green.address);
    setup.more = checks.to_owned();
    setup
}

/// Blue and green with a page, and a proxy with these checks.
async fn with(checks: &str) -> (Staged, Staged, Proxy) {
    let [blue, green] = [Staged::start(&[("/", Says::new(200, "blue"))]).await, Staged::start(&[]).await];
    green.says("/", Says::new(200, "green"));
    let proxy = setup(&blue, &green, checks).start().await;
    (blue, green, proxy)
}

/// What is said about a switch that is tried only once.
async fn tried(proxy: &Proxy) -> Value {
    let answer = proxy.post("/admin/switch", json!({ "to": "green", "dry_run": true })).await;
    let mut said = answer.json();
    said["status"] = answer.status.into();
    said
}

const LOGIN: &str = "[[gate.check]]\nname = \"login\"\nmethod = \"POST\"\npath = \"/session\"\nhost = \"shop.test\"\n\
                     headers = { X-Probe = \"1\" }\nbody = \"{\\\"user\\\":\\\"probe\\\"}\"\nexpect = \"201\"\n";

#[tokio::test]
async fn a_switch_asks_each_endpoint_and_moves_when_all_of_them_answer_as_wanted() {
    let blue = Staged::start(&[]).await;
    let green = [Staged::start(&[]).await, Staged::start(&[]).await];
    let mut setup = setup(&blue, &green[0], LOGIN);
    setup.green = format!("release = \"2.0\"\nendpoints = [\"{}\", \"{}\"]", green[0].address, green[1].address);
    for green in &green {
        green.says("/session", Says::new(201, ""));
    }
    let proxy = setup.start().await;
    let answer = proxy.switch("green").await;
    let checks = &answer["checks"];
    assert_eq!(
        (&checks[0]["check"], &checks[0]["passed"], &checks[0]["endpoints"]),
        (&json!("login"), &json!(true), &json!(2))
    );
    for green in &green {
        let asked = green.asked();
        let [only] = asked.as_slice() else { panic!("one request: {asked:?}") };
        assert_eq!(
            (only.method.as_str(), only.field("host"), only.field("x-probe")),
            ("POST", Some("shop.test"), Some("1"))
        );
        assert_eq!(only.body, b"{\"user\":\"probe\"}");
        assert_eq!(only.field("connection"), Some("close"), "it is no connection of users");
    }
    assert!(blue.asked().is_empty());
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    assert_eq!(history["transitions"][0]["checks"][0]["check"], "login", "{history}");
    let status = proxy.status().await;
    assert_eq!((&status["checks"]["color"], &status["checks"]["passed"]), (&json!("green"), &json!(true)));
}

#[tokio::test]
async fn a_check_that_fails_is_asked_again_and_refuses_when_the_time_of_the_gate_is_up() {
    let (_blue, green, proxy) = with(LOGIN).await;
    proxy.replace_file(&proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"1500ms\""));
    assert_eq!(proxy.post("/admin/reload", json!({})).await.status, 200);
    green.says("/session", Says::new(500, "boom"));
    let answer = proxy.post("/admin/switch", json!({ "to": "green" })).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("check_failed")), "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    let at = format!("check \"login\" at default {}: status 500, wanted status 201", green.address);
    assert!(detail.contains(&at), "{detail}");
    let failure = &problem["checks"][0]["failures"][0];
    assert_eq!((&failure["found"], &failure["wanted"]), (&json!("status 500"), &json!("status 201")));
    assert!(green.asked_for("/session") > 1, "it was asked again");
    assert_eq!(proxy.color().await, "blue");
    let status = proxy.status().await;
    assert_eq!((&status["checks"]["passed"], &status["active"]), (&json!(false), &json!("blue")), "{status}");
    let shown = proxy.cli(&["status"]).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(" checks green 2.0: 1 of 1 failed, "), "{text}");
    assert!(words.contains(&format!("login at {}: status 500; wanted status 201", green.address)), "{text}");
    proxy.until_logged("Gate check failed").await;
}

#[tokio::test]
async fn a_release_that_becomes_ready_within_the_time_of_the_gate_gets_the_traffic() {
    let (_blue, green, proxy) = with(LOGIN).await;
    green.says("/session", Says::new(503, "warming up"));
    let switched = proxy.post("/admin/switch", json!({ "to": "green" }));
    let ready = async {
        until("the check was asked", async || (green.asked_for("/session") > 0).then_some(())).await;
        green.says("/session", Says::new(201, ""));
    };
    let (answer, ()) = tokio::join!(switched, ready);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn a_dry_run_and_its_text_tell_what_each_check_found() {
    let (_blue, green, proxy) = with(LOGIN).await;
    green.says("/session", Says::new(201, ""));
    let said = tried(&proxy).await;
    assert_eq!((&said["status"], &said["checks"][0]["passed"]), (&json!(200), &json!(true)), "{said}");
    let shown = proxy.cli(&["switch", "green", "--dry-run"]).await;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("check  login  passed (default, "), "{text}");
    green.says("/session", Says::new(302, "").with("location", "/\u{7f}login"));
    let said = tried(&proxy).await;
    assert_eq!((&said["status"], &said["code"]), (&json!(409), &json!("check_failed")), "{said}");
    let shown = proxy.cli(&["switch", "green", "--dry-run"]).await;
    assert_eq!(shown.status.code(), Some(3), "{shown:?}");
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn what_came_is_compared_and_told_cut_and_escaped() {
    let checks = "[[gate.check]]\nname = \"page\"\npath = \"/page?x=1\"\nexpect_headers = { content-type = \"html\" }\n\
                  expect_body = \"Welcome\"\n[[gate.check]]\nname = \"api\"\npath = \"/api\"\n\
                  expect_json = { \"/db/ready\" = true }\n";
    let (_blue, green, proxy) = with(checks).await;
    let page = |body: &str| Says::new(200, body).with("content-type", "text/html; charset=utf-8");
    green.says("/page?x=1", page("<h1>Welcome</h1>"));
    green.says("/api", Says::new(200, "{\"db\":{\"ready\":true}}"));
    assert_eq!(tried(&proxy).await["status"], 200);
    let rows = [
        ("/page?x=1", page("\u{1b}[2J\"gone\""), "body \"\\u{1b}[2J\\\"gone\\\"\"", "\"Welcome\" in the body"),
        ("/page?x=1", Says::new(200, "Welcome"), "no header content-type", "content-type with \"html\""),
        ("/page?x=1", Says { cut: true, ..page("Welcome") }, "the body broke off: ", "status 200 to 299"),
        ("/api", Says::new(200, "{\"db\":{\"ready\":false}}"), "/db/ready = false", "/db/ready = true"),
        ("/api", Says::new(200, "<html>"), "a body that is not JSON: \"<html>\"", "/db/ready = true"),
        ("/api", Says::new(200, vec![b' '; 300 << 10]), "a body above 256 KiB", "/db/ready = true"),
        (
            "/api",
            Says::new(200, "x".repeat(5_000)),
            &format!("a body that is not JSON: \"{}…\"", "x".repeat(120)),
            "/db/ready = true",
        ),
    ];
    for (path, says, found, wanted) in rows {
        let before = (page("Welcome"), Says::new(200, "{\"db\":{\"ready\":true}}"));
        green.says("/page?x=1", before.0);
        green.says("/api", before.1);
        green.says(path, says);
        let said = tried(&proxy).await;
        let failed = said["checks"].as_array().expect("checks").iter().find(|check| check["passed"] == false);
        let failure = &failed.expect("one failed")["failures"][0];
        assert!(failure["found"].as_str().expect("text").starts_with(found), "{failure}");
        assert_eq!(failure["wanted"], wanted);
    }
}

#[tokio::test]
async fn a_response_that_does_not_end_is_bounded_in_time_and_size() {
    let check = "[[gate.check]]\npath = \"/slow\"\ntimeout = \"100ms\"\n";
    let (_blue, green, proxy) = with(check).await;
    green.says("/slow", Says { after: Duration::from_secs(3600), ..Says::new(200, "") });
    let said = soon("an answer", tried(&proxy)).await;
    assert_eq!(said["checks"][0]["failures"][0]["found"], "no whole response within 100ms", "{said}");
    green.says("/slow", Says::new(200, vec![b'x'; 8 << 20]));
    assert_eq!(tried(&proxy).await["status"], 200, "what is wanted stands in its head");
}

#[tokio::test]
async fn a_check_warms_each_endpoint_up_with_as_many_requests_as_it_says() {
    let check = "[[gate.check]]\npath = \"/\"\ntimes = 25\n";
    let (_blue, green, proxy) = with(check).await;
    proxy.switch("green").await;
    let connections: std::collections::BTreeSet<_> = green.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!((green.asked_for("/"), connections.len()), (25, 25), "no connection is used twice");
    let (_blue, green, proxy) = with(check).await;
    green.says("/", Says::new(500, ""));
    let said = tried(&proxy).await;
    assert_eq!(said["checks"][0]["failures"][0]["found"], "status 500 (request 1 of 25)", "{said}");
    assert_eq!(green.asked_for("/"), 1);
}

#[tokio::test]
async fn force_skips_checks_and_a_rollback_asks_only_those_that_are_configured_for_it() {
    let (blue, green, proxy) = with(LOGIN).await;
    let forced = proxy.post("/admin/switch", json!({ "to": "green", "force": true, "reason": "I know" })).await;
    assert_eq!(forced.status, 200, "{}", forced.text());
    assert_eq!(green.asked_for("/session"), 0);
    let back = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((back.status, blue.asked_for("/session")), (200, 0), "{}", back.text());

    let (blue, green, proxy) = with(&format!("{LOGIN}on_rollback = true\n")).await;
    green.says("/session", Says::new(201, ""));
    proxy.switch("green").await;
    let back = proxy.post("/admin/rollback", json!({})).await;
    assert_eq!((back.status, &back.json()["code"]), (409, &json!("check_failed")), "{}", back.text());
    assert_eq!(blue.asked_for("/session"), 1, "once, and the answer is there");
    assert_eq!(proxy.color().await, "green");
    blue.says("/session", Says::new(201, ""));
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
}

#[tokio::test]
async fn an_order_of_the_file_and_a_canary_wait_for_the_checks_as_well() {
    let (_blue, green, proxy) = with(LOGIN).await;
    proxy.replace_file(&proxy.text().replace("[gate]\ntimeout = \"5s\"", "[gate]\ntimeout = \"300ms\""));
    proxy.replace_file(&proxy.ordering("green"));
    let status = proxy.until("the order is refused", |status| status["file"]["order"] == "refused").await;
    assert_eq!(status["file"]["refusal"]["code"], "check_failed", "{status}");
    let canary = proxy.post("/admin/canary", json!({})).await;
    assert_eq!((canary.status, &canary.json()["code"]), (409, &json!("check_failed")), "{}", canary.text());
    green.says("/session", Says::new(201, ""));
    let canary = proxy.post("/admin/canary", json!({})).await;
    assert_eq!(canary.status, 200, "{}", canary.text());
}

#[tokio::test]
async fn endpoints_that_failed_their_health_round_within_the_quorum_are_not_asked() {
    let blue = Staged::start(&[]).await;
    let green = [Staged::start(&[("/session", Says::new(201, ""))]).await, Staged::start(&[]).await];
    let mut setup = setup(&blue, &green[0], LOGIN);
    setup.green = format!("release = \"2.0\"\nendpoints = [\"{}\", \"{}\"]", green[0].address, green[1].address);
    green[1].set_healthy(false);
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path()).replace("[gate]\n", "[gate]\nquorum = \"50%\"\n");
    let proxy = Proxy::start_in(dir, &text).await;
    let answer = proxy.switch("green").await;
    assert_eq!(answer["checks"][0]["endpoints"], 1, "{answer}");
    assert_eq!(green[1].asked_for("/session"), 0);
}

#[tokio::test]
async fn only_endpoints_of_the_checks_upstream_are_asked() {
    let blue = Staged::start(&[]).await;
    let (green, api) = (Staged::start(&[]).await, Staged::start(&[("/session", Says::new(201, ""))]).await);
    let mut setup = setup(&blue, &green, &format!("{LOGIN}upstream = \"api\"\n"));
    setup.blue.push_str(&format!("\nupstreams = {{ api = [\"{}\"] }}", blue.address));
    setup.green.push_str(&format!("\nupstreams = {{ api = [\"{}\"] }}", api.address));
    let proxy = setup.start().await;
    proxy.switch("green").await;
    assert_eq!((green.asked_for("/session"), api.asked_for("/session")), (0, 1));
}

#[tokio::test]
async fn a_rollback_calls_a_switch_off_whose_checks_hang_and_stops_them() {
    let (_blue, green, proxy) = with("[[gate.check]]\npath = \"/slow\"\ntimeout = \"1h\"\n").await;
    green.says("/slow", Says { after: Duration::from_secs(3600), ..Says::new(200, "") });
    let switched = proxy.post("/admin/switch", json!({ "to": "green" }));
    let called_off = async {
        until("the check hangs", async || (green.asked_for("/slow") == 1).then_some(())).await;
        assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    };
    let (answer, ()) = tokio::join!(switched, called_off);
    assert_eq!(answer.json()["code"], "withdrawn", "{}", answer.text());
    until("its connection is closed", async || (green.abandoned() == 1).then_some(())).await;
}

#[tokio::test]
async fn secrets_of_a_check_stand_in_files_and_are_shown_nowhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let (token, body) = (dir.path().join("token"), dir.path().join("body"));
    std::fs::write(&token, "Bearer s3cret\n").expect("a file");
    std::fs::write(&body, "user=probe&password=s3cret\n").expect("a file");
    let check = format!(
        "[[gate.check]]\npath = \"/session\"\nmethod = \"POST\"\nheader_files = {{ authorization = \"{}\" }}\nbody_file = \"{}\"\n",
        token.display(),
        body.display()
    );
    let (_blue, green, proxy) = with(&check).await;
    green.says("/session", Says::new(200, ""));
    proxy.switch("green").await;
    let asked = green.asked();
    assert_eq!(asked[0].field("authorization"), Some("Bearer s3cret"));
    assert_eq!(asked[0].body, b"user=probe&password=s3cret");
    let shown = [proxy.admin("GET", "/admin/config", "").await.text().to_owned(), proxy.log(), proxy.ledger()];
    assert!(shown.iter().all(|shown| !shown.contains("s3cret")), "{shown:?}");
}

#[tokio::test]
async fn checks_reach_endpoints_over_http2_tls_unix_sockets_and_names() {
    let blue = Staged::start(&[]).await;
    let asked_as_wanted = |green: &Staged| {
        let asked = green.asked();
        assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].body.len()), (1, "POST", 16), "{asked:?}");
    };
    let says = [("/session", Says::new(201, ""))];

    let (blue2, green) = (Staged::start_http2(&[]).await, Staged::start_http2(&says).await);
    let proxy = setup(&blue2, &green, &format!("[upstream.default]\nprotocol = \"http2\"\n{LOGIN}")).start().await;
    proxy.switch("green").await;
    asked_as_wanted(&green);

    for http2 in [false, true] {
        let authority = Authority::new();
        let dir = tempfile::tempdir().expect("a directory");
        replace(&dir.path().join("ca.pem"), &authority.pem());
        let alpn: &[&str] = if http2 { &["h2"] } else { &["http/1.1"] };
        let tls = authority.server(&authority.issue(&["127.0.0.1"]), alpn, false);
        let (blue3, green) =
            (Staged::start_tls(&[], tls.clone(), http2).await, Staged::start_tls(&says, tls, http2).await);
        let protocol = if http2 { "http2" } else { "http1" };
        let upstream = format!(
            "[upstream.default]\nprotocol = \"{protocol}\"\ntls = {{ ca = \"{}\" }}\n{LOGIN}",
            dir.path().join("ca.pem").display()
        );
        let proxy = setup(&blue3, &green, &upstream).start().await;
        proxy.switch("green").await;
        asked_as_wanted(&green);
    }

    let green = Staged::start(&says).await;
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("green.sock");
    green.also_at(&socket);
    let mut by_socket = setup(&blue, &green, LOGIN);
    by_socket.green = format!("release = \"2.0\"\nendpoints = [\"unix:{}\"]", socket.display());
    by_socket.start().await.switch("green").await;
    asked_as_wanted(&green);

    let green = Staged::start(&says).await;
    let names = NameServer::start().await;
    names.says("green.test", &["127.0.0.1"]);
    let mut by_name = setup(&blue, &green, &format!("{}{LOGIN}", names.section()));
    by_name.green = format!("release = \"2.0\"\nendpoints = [\"green.test:{}\"]", green.address.port());
    let proxy = by_name.start().await;
    proxy.switch("green").await;
    asked_as_wanted(&green);
}
