//! Old files after a switch: pages of the release before load their files, and nobody else notices.

mod browser;

use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::{Authority, replace};
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::staged::{Says, Staged};
use crate::{soon, until};

const ON: &str = "[linger]\npaths = [\"/assets/\"]\nbudget = \"100%\"\n";

fn script(text: &str) -> Says {
    Says::new(200, text)
        .with("content-type", "text/javascript")
        .with("cache-control", "public, max-age=31536000, immutable")
}

/// A build: a page, and a file whose name only it knows.
fn build(color: &str) -> Vec<(&'static str, Says)> {
    let file = if color == "blue" { "/assets/app-b1.js" } else { "/assets/app-g2.js" };
    vec![("/", Says::new(200, color)), (file, script(color)), ("/assets/same.css", script(&format!("{color} css")))]
}

async fn pair() -> (Staged, Staged) {
    (Staged::start(&build("blue")).await, Staged::start(&build("green")).await)
}

fn setup(blue: &Staged, green: &Staged, more: &str) -> Setup {
    let mut setup = Setup::at(blue.address, green.address);
    setup.more = more.to_owned();
    setup
}

/// Green serves, and blue did before.
async fn switched(more: &str) -> (Staged, Staged, Proxy) {
    let (blue, green) = pair().await;
    let proxy = setup(&blue, &green, more).start().await;
    proxy.switch("green").await;
    (blue, green, proxy)
}

#[track_caller]
fn is(answer: &Answer, status: u16, text: &str, lingered: bool) {
    let said = (answer.status, answer.text(), answer.header("x-cutover-lingered").is_some());
    assert_eq!(said, (status, text, lingered), "{:?}", answer.headers);
}

async fn logged(proxy: &Proxy, path: &str) -> Value {
    until("it is in the access log", async || {
        let text = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        text.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["path"] == path)
    })
    .await
}

async fn series(proxy: &Proxy, name: &str) -> u64 {
    let page = proxy.admin("GET", "/metrics", "").await;
    let line = page.text().lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_file_of_the_release_before_is_served_after_the_switch_and_marked() {
    let (blue, green, proxy) = switched(ON).await;
    let mut client = proxy.connect().await;
    let old = client.get("/assets/app-b1.js").await;
    is(&old, 200, "blue", true);
    assert_eq!(old.header("x-cutover-lingered"), Some("true"));
    assert_eq!(old.header("cache-control"), Some("public, max-age=31536000, immutable"), "it may be kept");
    is(&client.get("/assets/app-g2.js").await, 200, "green", false);
    is(&client.get("/assets/same.css").await, 200, "green css", false);
    is(&client.get("/").await, 200, "green", false);
    let line = logged(&proxy, "/assets/app-b1.js").await;
    assert_eq!(
        (&line["color"], &line["release"], &line["lingered"]),
        (&json!("blue"), &json!("1.0"), &json!(true)),
        "{line}"
    );
    assert_eq!((&line["endpoint"], &line["blame"]), (&json!(blue.address.to_string()), &Value::Null));
    assert_eq!(green.asked_for("/assets/app-b1.js"), 1);
    let answered = "cutover_linger_requests_total{color=\"green\",upstream=\"default\",outcome=\"answered\"}";
    assert_eq!(series(&proxy, answered).await, 1);
    assert_eq!(series(&proxy, "cutover_lingering{color=\"blue\"}").await, 1);
}

#[tokio::test]
async fn without_paths_nobody_is_asked_twice() {
    let (blue, _green, proxy) = switched("").await;
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    assert_eq!(blue.asked_for("/assets/app-b1.js"), 0);
    assert_eq!(proxy.status().await["linger"], Value::Null);
}

#[tokio::test]
async fn only_files_below_the_paths_are_asked_for_again_by_whole_segments() {
    let (blue, _green, proxy) = switched(ON).await;
    blue.says("/assets-old/x.js", script("blue"));
    blue.says("/page", Says::new(200, "old page"));
    blue.says("//assets/%78.js", script("other spelling"));
    is(&proxy.get("/assets-old/x.js").await, 404, "no such file", false);
    is(&proxy.get("/page").await, 404, "no such file", false);
    is(&proxy.get("//assets/%78.js").await, 200, "other spelling", true);
    let mut client = proxy.connect().await;
    client.send("POST /assets/app-b1.js HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 404, "a POST is no question for a file");
    client.send("GET /assets/app-b1.js HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    assert_eq!(client.answer().await.status, 404, "nor is a request with a body");
    assert_eq!(blue.asked_for("/assets/app-b1.js"), 0);
}

#[tokio::test]
async fn whatever_the_other_color_says_but_the_file_the_first_response_goes_out_unchanged() {
    let (blue, green, proxy) = switched(ON).await;
    green.says("/assets/gone.js", Says::new(410, "gone").with("x-green", "1"));
    let mut client = proxy.connect().await;
    for says in [
        Says::new(404, "blue 404"),
        Says::new(500, "boom"),
        Says::new(302, "").with("location", "/"),
        Says::new(204, ""),
    ] {
        blue.says("/assets/gone.js", says);
        let answer = client.get("/assets/gone.js").await;
        is(&answer, 410, "gone", false);
        assert_eq!(answer.header("x-green"), Some("1"));
    }
    let count = async |outcome: &str| {
        series(
            &proxy,
            &format!("cutover_linger_requests_total{{color=\"green\",upstream=\"default\",outcome=\"{outcome}\"}}"),
        )
        .await
    };
    assert_eq!((count("not_found").await, count("failed").await), (1, 3));
    assert_eq!(logged(&proxy, "/assets/gone.js").await["lingered"], Value::Null);
    let status = proxy.status().await;
    let requests = |color: &str| status[color]["requests"].as_u64();
    assert_eq!((requests("blue"), requests("green")), (Some(0), Some(0)), "nothing is left in flight: {status}");
}

#[tokio::test]
async fn a_color_that_hangs_holds_the_first_response_up_for_two_seconds_at_most() {
    let (blue, _green, proxy) = switched(ON).await;
    blue.says("/assets/slow.js", Says { after: Duration::from_secs(3600), ..script("late") });
    is(&soon("the first response", proxy.get("/assets/slow.js")).await, 404, "no such file", false);
    until("the second request is given up", async || (blue.abandoned() == 1).then_some(())).await;
}

#[tokio::test]
async fn conditional_requests_ranges_and_heads_go_through() {
    let (blue, _green, proxy) = switched(ON).await;
    blue.says("/assets/app-b1.js", script("0123456789").with("etag", "\"b1\""));
    let mut client = proxy.connect().await;
    let mut asked = async |method: &str, fields: &str| {
        client.send(format!("{method} /assets/app-b1.js HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        client.try_answer(method == "HEAD").await.expect("an answer")
    };
    let unchanged = asked("GET", "If-None-Match: \"b1\"\r\n").await;
    is(&unchanged, 304, "", true);
    let part = asked("GET", "Range: bytes=2-4\r\n").await;
    is(&part, 206, "234", true);
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    let head = asked("HEAD", "").await;
    is(&head, 200, "", true);
    assert_eq!(head.header("content-length"), Some("10"));
    is(&asked("GET", "").await, 200, "0123456789", true);
}

#[tokio::test]
async fn it_works_over_http2_tls_and_unix_sockets_and_for_clients_of_http2() {
    let (blue, green) = (Staged::start_http2(&build("blue")).await, Staged::start_http2(&build("green")).await);
    let more = format!("[upstream.default]\nprotocol = \"http2\"\n{ON}");
    let proxy = setup(&blue, &green, &more).start().await;
    proxy.switch("green").await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
    let mut client = crate::http2::Client::connect(proxy.http).await;
    for _ in 0..3 {
        is(&client.get("/assets/app-b1.js").await, 200, "blue", true);
        is(&client.get("/assets/none.js").await, 404, "no such file", false);
    }

    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    replace(&dir.path().join("ca.pem"), &authority.pem());
    let tls = authority.server(&authority.issue(&["127.0.0.1"]), &["http/1.1"], false);
    let blue = Staged::start_tls(&build("blue"), tls.clone(), false).await;
    let green = Staged::start_tls(&build("green"), tls, false).await;
    let ca = dir.path().join("ca.pem").display().to_string();
    let proxy = setup(&blue, &green, &format!("[upstream.default]\ntls = {{ ca = \"{ca}\" }}\n{ON}")).start().await;
    proxy.switch("green").await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);

    let (blue, green) = pair().await;
    let socket = dir.path().join("blue.sock");
    blue.also_at(&socket);
    let mut by_socket = setup(&blue, &green, ON);
    by_socket.blue = format!("release = \"1.0\"\nendpoints = [\"unix:{}\"]", socket.display());
    let proxy = by_socket.start().await;
    proxy.switch("green").await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
}

#[tokio::test]
async fn after_a_rollback_files_of_the_release_that_was_left_are_served() {
    let (_blue, _green, proxy) = switched(ON).await;
    assert_eq!(proxy.post("/admin/rollback", json!({})).await.status, 200);
    is(&proxy.get("/assets/app-g2.js").await, 200, "green", true);
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", false);
    assert_eq!(proxy.status().await["linger"]["color"], "green");
}

#[tokio::test]
async fn in_a_canary_without_stickiness_each_page_gets_its_files_and_an_abort_leaves_those_of_the_canary() {
    let (blue, green) = pair().await;
    let canary =
        "[canary]\nsteps = [\"50%\"]\nmode = \"observe\"\n[linger]\npaths = [\"/assets\"]\nbudget = \"100%\"\n";
    let proxy = setup(&blue, &green, canary).start().await;
    is(&proxy.get("/assets/app-g2.js").await, 404, "no such file", false);
    assert_eq!(green.asked_for("/assets/app-g2.js"), 0, "a release that never served has no pages");
    let started = proxy.post("/admin/canary", json!({})).await;
    assert_eq!(started.status, 200, "{}", started.text());
    let mut client = proxy.connect().await;
    let mut lingered = 0;
    for _ in 0..100 {
        for (file, color) in [("/assets/app-b1.js", "blue"), ("/assets/app-g2.js", "green")] {
            let answer = client.get(file).await;
            assert_eq!((answer.status, answer.text()), (200, color));
            lingered += usize::from(answer.header("x-cutover-lingered").is_some());
        }
    }
    assert!((30..170).contains(&lingered), "{lingered} of 200");
    let reused: std::collections::BTreeSet<_> = green.asked().iter().map(|asked| asked.connection).collect();
    assert!(reused.len() < 30, "connections of colors that serve are used again: {}", reused.len());
    assert_eq!(proxy.post("/admin/canary/abort", json!({})).await.status, 200);
    is(&client.get("/assets/app-g2.js").await, 200, "green", true);
}

#[tokio::test]
async fn it_ends_when_the_other_color_is_restaged_or_its_time_is_up() {
    let (blue, _green, proxy) = switched(ON).await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
    let needs = proxy.status().await["blue"]["safe_to_stop"]["needed_by"].clone();
    assert!(needs.as_array().expect("a list").iter().any(|need| need["need"] == "lingering"), "{needs}");
    until("the write-back is done", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    proxy.replace_file(&proxy.text().replace("release = \"1.0\"", "release = \"3.0\""));
    let status = proxy.until("it is restaged", |status| status["blue"]["release"] == "3.0").await;
    assert_eq!(status["linger"], Value::Null);
    let before = blue.asked_for("/assets/app-b1.js");
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    assert_eq!(blue.asked_for("/assets/app-b1.js"), before);

    let (_blue, _green, proxy) = switched(&format!("{ON}for = \"1s\"\n")).await;
    proxy.until("its time is up", |status| status["linger"] == Value::Null).await;
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    assert_eq!(series(&proxy, "cutover_lingering{color=\"blue\"}").await, 0);
}

#[tokio::test]
async fn other_endpoints_end_it_and_an_edit_of_anything_else_does_not() {
    let (blue, _green, proxy) = switched(ON).await;
    until("the write-back is done", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    proxy.replace_file(&proxy.text().replace("[drain]\ntimeout = \"20s\"", "[drain]\ntimeout = \"21s\""));
    assert_eq!(proxy.post("/admin/reload", json!({})).await.status, 200);
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
    let elsewhere = Staged::start(&build("blue")).await;
    proxy.replace_file(&proxy.text().replace(&blue.address.to_string(), &elsewhere.address.to_string()));
    proxy.until("it is restaged", |status| status["linger"] == Value::Null).await;
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    assert_eq!(elsewhere.asked_for("/assets/app-b1.js"), 0);
}

#[tokio::test]
async fn turned_on_after_the_switch_it_helps_the_pages_that_are_open() {
    let (_blue, _green, proxy) = switched("").await;
    until("the write-back is done", async || proxy.text().contains("active = \"green\"").then_some(())).await;
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    proxy.replace_file(&format!("{}\n{ON}", proxy.text()));
    proxy.until("blue lingers", |status| status["linger"]["color"] == "blue").await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
}

#[tokio::test]
async fn a_switch_without_overlap_leaves_nothing_that_lingers_also_after_a_restart() {
    let (blue, green) = pair().await;
    let mut proxy = setup(&blue, &green, ON).start().await;
    let moved = proxy.post("/admin/switch", json!({ "to": "green", "overlap": "none" })).await;
    assert_eq!(moved.status, 200, "{}", moved.text());
    for _ in 0..2 {
        is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
        assert_eq!((blue.asked_for("/assets/app-b1.js"), &proxy.status().await["linger"]), (0, &Value::Null));
        proxy.until("it is written", |status| status["file"]["disagrees"] == false && status["durable"] == true).await;
        proxy.kill_and_restart().await;
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_it_and_with_the_time_that_is_left() {
    let (_blue, _green, mut proxy) = switched(ON).await;
    proxy.until("it is written", |status| status["file"]["disagrees"] == false && status["durable"] == true).await;
    let before = proxy.status().await["linger"].clone();
    proxy.kill_and_restart().await;
    proxy.until("blue is up", |status| status["linger"]["up"] == 1).await;
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
    let after = proxy.status().await["linger"].clone();
    let second = |time: &Value| time.as_str().expect("a time")[..17].to_owned();
    assert_eq!(second(&after["until"]), second(&before["until"]), "{before} {after}");
}

#[tokio::test]
async fn a_color_without_an_endpoint_that_is_up_is_not_asked() {
    let (blue, _green, proxy) = switched(ON).await;
    blue.set_healthy(false);
    proxy.until("blue is down", |status| status["linger"]["up"] == 0).await;
    is(&proxy.get("/assets/app-b1.js").await, 404, "no such file", false);
    assert_eq!(blue.asked_for("/assets/app-b1.js"), 0);
    let shown = String::from_utf8(proxy.cli(&["status"]).await.stdout).expect("text");
    assert!(shown.contains("no endpoint is up to answer for old files"), "{shown}");
    blue.set_healthy(true);
    proxy.until("blue is up", |status| status["linger"]["up"] == 1).await;
    let shown = String::from_utf8(proxy.cli(&["status"]).await.stdout).expect("text");
    assert!(shown.contains("lingering    blue 1.0 answers for old files below /assets/ until "), "{shown}");
    is(&proxy.get("/assets/app-b1.js").await, 200, "blue", true);
}

#[tokio::test]
async fn strangers_who_ask_for_made_up_files_cost_the_other_color_the_budget_and_no_more() {
    let (blue, _green, proxy) = switched("[linger]\npaths = [\"/assets/\"]\nbudget = \"10%\"\n").await;
    let mut client = proxy.connect().await;
    const REQUESTS: usize = 1_000;
    for n in 0..REQUESTS {
        assert_eq!(client.get(&format!("/assets/made-up-{n}.js")).await.status, 404);
    }
    let asked = blue.asked().len();
    // The share, and ten in ten seconds; a slow machine takes several times ten seconds.
    assert!((REQUESTS / 10..REQUESTS / 5 + 20).contains(&asked), "{asked}");
    let over =
        series(&proxy, "cutover_linger_requests_total{color=\"green\",upstream=\"default\",outcome=\"over_budget\"}")
            .await;
    assert_eq!(over as usize, REQUESTS - asked);
    // What everybody else gets is as it was.
    is(&client.get("/assets/app-g2.js").await, 200, "green", false);
}

#[tokio::test]
async fn connections_to_the_color_that_stopped_serving_are_not_kept() {
    let (blue, _green, proxy) = switched(ON).await;
    let mut client = proxy.connect().await;
    for _ in 0..5 {
        is(&client.get("/assets/app-b1.js").await, 200, "blue", true);
    }
    let connections: std::collections::BTreeSet<_> = blue.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(connections.len(), 5, "each on a connection of its own");
    until("they are closed", async || (blue.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_download_that_lingers_is_part_of_a_later_drain_and_ends_with_it() {
    let (blue, green) = pair().await;
    blue.says("/assets/large.js", Says::new(200, vec![b'x'; 64 << 20]));
    let mut setup = setup(&blue, &green, ON);
    setup.drain = "timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    proxy.switch("green").await;
    let mut client = Connection::tcp(proxy.http).await;
    client.send("GET /assets/large.js HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = client.head().await.expect("a head");
    assert_eq!((head.status, head.header("x-cutover-lingered")), (200, Some("true")));
    proxy.switch("blue").await;
    proxy.switch("green").await;
    // Its client takes nothing; the drain of blue ends it all the same.
    proxy.until("blue is drained", |status| status["draining"] == Value::Null && status["blue"]["streams"] == 0).await;
    assert!(client.rest().await.len() < 64 << 20);
}
