//! The admin API: who may ask, what is answered, and what it looks like to a program.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::application::Application;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup, refused_start};
use crate::until;

async fn pair() -> (Application, Application) {
    (Application::start("blue").await, Application::start("green").await)
}

/// A proxy with its admin API on TCP; its address.
async fn on_tcp(setup: &Setup) -> (Proxy, std::net::SocketAddr) {
    let dir = tempfile::tempdir().expect("a directory");
    let text = setup.text(dir.path());
    let line = format!("admin = \"unix:{}/admin.sock\"", dir.path().display());
    assert!(text.contains(&line));
    // Its port is in the log; the harness looks at the unix socket, so this one starts by hand.
    let proxy = Proxy::start_by_log(dir, &text.replace(&line, "admin = \"127.0.0.1:0\"")).await;
    let admin = proxy.admin_by_log().await;
    (proxy, admin)
}

/// Two tokens, and the section that names them.
fn tokens(dir: &std::path::Path) -> String {
    std::fs::write(dir.join("operator-token"), "op-secret-1\n").expect("a file");
    std::fs::write(dir.join("viewer-token"), "view-secret-2\n").expect("a file");
    format!(
        "[admin]\ntokens = [{{ name = \"deploy\", role = \"operator\", file = \"{0}/operator-token\" }},\n\
         {{ name = \"grafana\", role = \"viewer\", file = \"{0}/viewer-token\" }}]\n",
        dir.display()
    )
}

async fn asked(proxy: &Proxy, method: &str, path: &str, headers: &str) -> Answer {
    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    connection.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{headers}\r\n")).await;
    connection.answer().await
}

async fn asked_tcp(address: std::net::SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let mut connection = Connection::tcp(address).await;
    connection.send(format!("{method} {path} HTTP/1.1\r\nContent-Length: 0\r\n{headers}\r\n")).await;
    connection.answer().await
}

async fn with_tokens() -> (Application, Application, Proxy) {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = Setup::new(&blue, &green);
    setup.more = tokens(dir.path());
    let text = setup.text(dir.path());
    let proxy = Proxy::start_by_log(dir, &text).await;
    (blue, green, proxy)
}

#[tokio::test]
async fn with_tokens_a_viewer_looks_an_operator_acts_and_others_are_told_how_to_ask() {
    let (_blue, _green, proxy) = with_tokens().await;
    let operator = "Authorization: Bearer op-secret-1\r\n";
    let viewer = "Authorization: bearer view-secret-2\r\n";
    let nobody = asked(&proxy, "GET", "/admin/status", "").await;
    assert_eq!((nobody.status, nobody.json()["code"].clone()), (401, json!("unauthorized")));
    assert!(nobody.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Bearer")));
    for wrong in
        ["Bearer op-secret-", "Bearer op-secret-11", "Bearer ", "Basic b3A6", "op-secret-1", &"Bearer x".repeat(500)]
    {
        let answer = asked(&proxy, "GET", "/admin/status", &format!("Authorization: {wrong}\r\n")).await;
        assert_eq!(answer.status, 401, "{wrong}");
    }
    for path in ["/admin/status", "/metrics", "/admin/history", "/admin/config", "/admin/openapi.json"] {
        assert_eq!(asked(&proxy, "GET", path, viewer).await.status, 200, "{path}");
    }
    let refused = asked(&proxy, "POST", "/admin/switch", viewer).await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("forbidden")));
    assert_eq!(proxy.color().await, "blue");
    assert_eq!(asked(&proxy, "POST", "/admin/switch", operator).await.status, 200);
    let history = asked(&proxy, "GET", "/admin/history", viewer).await.json();
    assert_eq!(history["transitions"][0]["actor"], "deploy");
    for path in ["/livez", "/readyz"] {
        assert_eq!(asked(&proxy, "GET", path, "").await.status, 200, "{path} is for probes");
    }
    let everything = [
        asked(&proxy, "GET", "/admin/status", viewer).await.text().to_owned(),
        asked(&proxy, "GET", "/admin/config", viewer).await.text().to_owned(),
        proxy.log(),
        proxy.ledger(),
    ];
    for text in everything {
        assert!(!text.contains("op-secret-1") && !text.contains("view-secret-2"), "{text}");
    }
}

#[tokio::test]
async fn a_reload_changes_who_may_act() {
    let (_blue, _green, proxy) = with_tokens().await;
    let viewer = "Authorization: Bearer view-secret-2\r\n";
    proxy.replace_file(&proxy.text().replace("role = \"viewer\"", "role = \"operator\""));
    until("the viewer is an operator", async || {
        (asked(&proxy, "POST", "/admin/reload", viewer).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_open_address_without_tokens_is_no_start() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path());
    let unix = format!("unix:{}/admin.sock", dir.path().display());
    std::fs::write(dir.path().join("cutover.toml"), text.replace(&unix, "0.0.0.0:9900")).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("0.0.0.0:9900") && said.contains("tokens"), "{said}");
}

#[tokio::test]
async fn the_unix_socket_is_its_owners_is_replaced_when_stale_and_goes_with_the_process() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let socket = proxy.dir.path().join("admin.sock");
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    proxy.kill().await;
    assert!(socket.exists(), "kill -9 leaves it behind");
    proxy.restart().await;
    assert_eq!(proxy.color().await, "blue");
    proxy.signal(rustix::process::Signal::TERM);
    assert!(proxy.ended().await.success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_second_process_does_not_take_the_socket_of_the_first() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let dir = tempfile::tempdir().expect("a directory");
    let state = format!("{}/state", proxy.dir.path().display());
    let text = proxy.text().replace(&state, &format!("{}/state", dir.path().display()));
    std::fs::write(dir.path().join("cutover.toml"), text).expect("a file");
    let (code, said) = refused_start(dir.path()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("another process answers at"), "{said}");
    assert_eq!(proxy.status().await["active"], "blue");
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_with_and_without_tokens() {
    let (blue, green) = pair().await;
    let (proxy, admin) = on_tcp(&Setup::new(&blue, &green)).await;
    let host = format!("Host: {admin}\r\n");
    for foreign in [
        format!("{host}Origin: http://evil.example\r\n"),
        format!("{host}Origin: null\r\n"),
        format!("{host}Origin: http://127.0.0.1:1\r\n"),
        format!("{host}Sec-Fetch-Site: cross-site\r\n"),
        format!("{host}Sec-Fetch-Site: same-site\r\n"),
        "Host: evil.example\r\n".to_owned(),
        "Host: evil.example:9900\r\n".to_owned(),
    ] {
        for (method, path) in [("POST", "/admin/switch"), ("GET", "/admin/status")] {
            let answer = asked_tcp(admin, method, path, &foreign).await;
            assert_eq!((answer.status, answer.json()["code"].clone()), (403, json!("cross_origin")), "{foreign}");
        }
    }
    assert_eq!(proxy.color().await, "blue");
    for own in [
        host.clone(),
        format!("{host}Origin: http://{admin}\r\nSec-Fetch-Site: same-origin\r\n"),
        format!("Host: localhost:{}\r\n", admin.port()),
        format!("{host}Sec-Fetch-Site: none\r\n"),
    ] {
        assert_eq!(asked_tcp(admin, "POST", "/admin/switch", &own).await.status, 200, "{own}");
    }
    let history = asked_tcp(admin, "GET", "/admin/history", &host).await.json();
    assert_eq!(history["transitions"][0]["actor"], "local");
    assert!(history["transitions"][0]["source"].as_str().is_some_and(|source| source.starts_with("127.0.0.1:")));
}

#[tokio::test]
async fn what_cannot_be_understood_is_a_problem_with_a_stable_code_and_a_reason() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(1001));
    let huge = format!("{{\"reason\": \"{}\"}}", "x".repeat(70_000));
    for (method, path, body, status, code, said) in [
        ("POST", "/admin/switch", "{\"too\": \"green\"}", 400, "bad_request", "unknown field `too`"),
        ("POST", "/admin/switch", "{\"to\": 1}", 400, "bad_request", "expected a string"),
        ("POST", "/admin/switch", "to=green", 400, "bad_request", "line 1"),
        ("POST", "/admin/switch", "{\"to\": \"teal\"}", 422, "unknown_color", "\"teal\""),
        ("POST", "/admin/switch", "{\"wait\": \"x\"}", 400, "bad_request", "drained"),
        ("POST", "/admin/switch", "{\"if_generation\": -1}", 400, "bad_request", "u64"),
        ("POST", "/admin/switch", "{\"reason\": \"a\\u001b[2J\"}", 400, "bad_request", "control characters"),
        ("POST", "/admin/switch", &long, 400, "bad_request", "1000"),
        ("POST", "/admin/switch", &huge, 413, "too_large", "65536"),
        ("POST", "/admin/rollback", "{\"to\": \"blue\"}", 400, "bad_request", "unknown field `to`"),
        ("POST", "/admin/reload", "{\"x\": 1}", 400, "bad_request", "unknown field `x`"),
        ("GET", "/admin/history?limit=0", "", 400, "bad_request", "1 to 1000"),
        ("GET", "/admin/history?limt=3", "", 400, "bad_request", "limt"),
        ("GET", "/admin/history?before=x", "", 400, "bad_request", "before"),
        ("GET", "/nothing", "", 404, "not_found", "/nothing"),
        ("GET", "/admin/switch", "", 405, "method_not_allowed", "GET"),
        ("DELETE", "/admin/status", "", 405, "method_not_allowed", "DELETE"),
    ] {
        let answer = proxy.admin(method, path, body).await;
        let what = format!("{method} {path} {}: {}", &body[..body.len().min(60)], answer.text());
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{what}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{what}");
    }
    assert_eq!(proxy.status().await["generation"], 1, "nothing of it moved anything");
}

#[tokio::test]
async fn the_openapi_document_describes_every_path_that_answers() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let document = proxy.admin("GET", "/admin/openapi.json", "").await.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    let expected = [
        "/admin/config",
        "/admin/events",
        "/admin/history",
        "/admin/openapi.json",
        "/admin/reload",
        "/admin/rollback",
        "/admin/status",
        "/admin/switch",
        "/livez",
        "/metrics",
        "/readyz",
    ];
    assert_eq!(paths.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    for (path, methods) in paths.iter().filter(|(path, _)| *path != "/admin/events") {
        for method in methods.as_object().expect("methods").keys() {
            let answer = proxy.admin(&method.to_uppercase(), path, "").await;
            assert!(![404, 405, 500].contains(&answer.status), "{method} {path}: {}", answer.status);
        }
    }
    let status = proxy.status().await;
    let described = document["components"]["schemas"]["StatusAnswer"]["properties"].as_object().expect("a schema");
    for key in status.as_object().expect("an object").keys() {
        assert!(described.contains_key(key), "{key} is answered and not described");
    }
}

/// Lines of an event stream until one event of this name; its id and data.
async fn event(stream: &mut Connection, wanted: &str) -> (Option<String>, Value) {
    let (mut name, mut id) = (String::new(), None);
    loop {
        let size = crate::soon("an event", stream.line()).await.expect("the stream goes on");
        let size = usize::from_str_radix(&size, 16).expect("a chunk");
        let chunk = stream.exactly(size + 2).await.expect("a chunk");
        for line in String::from_utf8(chunk).expect("text").lines() {
            match line.split_once(": ") {
                Some(("event", what)) => what.clone_into(&mut name),
                Some(("id", number)) => id = Some(number.to_owned()),
                Some(("data", data)) if name == wanted => return (id, serde_json::from_str(data).expect("JSON")),
                Some(("data", _)) => id = None,
                _ => {}
            }
        }
    }
}

async fn events(proxy: &Proxy, last: Option<&str>) -> Connection {
    let mut stream = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
    stream.send(format!("GET /admin/events HTTP/1.1\r\nHost: localhost\r\n{last}\r\n")).await;
    let head = stream.head().await.expect("a head");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    stream
}

#[tokio::test]
async fn events_tell_each_transition_and_the_status_and_what_was_missed() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut stream = events(&proxy, None).await;
    let (_, status) = event(&mut stream, "status").await;
    assert_eq!(status["active"], "blue");
    proxy.switch("green").await;
    let (id, transition) = event(&mut stream, "transition").await;
    assert_eq!((&transition["kind"], &transition["to"]), (&json!("switch"), &json!("green")));
    assert_eq!(id.as_deref(), Some("2"));
    event(&mut stream, "drained").await;
    drop(stream);
    proxy.until("the file is put right", |status| status["file"]["disagrees"] == false).await;
    proxy.switch("blue").await;
    let mut stream = events(&proxy, Some("2")).await;
    let (_, missed) = event(&mut stream, "transition").await;
    assert_eq!(missed["to"], "blue");
    green.set_healthy(false);
    let (_, health) = event(&mut stream, "health").await;
    assert_eq!((&health["color"], &health["health"]), (&json!("green"), &json!("down")));
    let wrong = asked(&proxy, "GET", "/admin/events", "Last-Event-ID: yesterday\r\n").await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn the_history_comes_in_pages_newest_first() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for color in ["green", "blue", "green", "blue"] {
        proxy.switch(color).await;
    }
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = proxy.admin("GET", &format!("/admin/history?limit=2{before}"), "").await.json();
        let transitions = page["transitions"].as_array().expect("a list");
        seen.extend(transitions.iter().map(|one| one["generation"].as_u64().expect("a number")));
        match page["next_before"].as_u64() {
            Some(next) if !transitions.is_empty() => before = format!("&before={next}"),
            _ => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

/// Samples by name and labels; fails where a line is not what the text format (0.0.4) allows.
fn samples(text: &str) -> std::collections::BTreeMap<String, f64> {
    let mut types = BTreeSet::new();
    let mut found = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, value) = (words.next(), words.next().expect("a name"), words.next().expect("a text"));
            match what {
                Some("HELP") => assert!(value.ends_with('.'), "{line}"),
                Some("TYPE") => {
                    assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                    assert!(types.insert(name.to_owned()), "{name} is there twice");
                    assert_eq!(value == "counter", name.ends_with("_total"), "{line}");
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let name = series.split('{').next().expect("a name");
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(|f| types.contains(*f));
        assert!(types.contains(family.unwrap_or(name)), "{name} has no type");
        assert!(found.insert(series.to_owned(), value).is_none(), "{series} is there twice");
    }
    found
}

#[tokio::test]
async fn every_series_is_there_from_the_start_and_counts_what_happens() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy
        .until("both are up", |s| {
            s["blue"]["endpoints"][0]["health"] == "up" && s["green"]["endpoints"][0]["health"] == "up"
        })
        .await;
    let page = proxy.admin("GET", "/metrics", "").await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    let before = samples(page.text());
    let default = |color: &str, code: &str| {
        format!("cutover_http_requests_total{{color=\"{color}\",upstream=\"default\",code=\"{code}\"}}")
    };
    for series in [
        "cutover_active{color=\"blue\"}",
        "cutover_generation",
        "cutover_last_switch_timestamp_seconds",
        "cutover_switches_total{trigger=\"api\",outcome=\"refused\"}",
        "cutover_rollback_possible",
        "cutover_durable",
        &default("green", "5xx"),
        "cutover_http_request_duration_seconds_count{color=\"blue\",upstream=\"default\"}",
        "cutover_http_requests_in_flight{color=\"green\",kind=\"tunnel\"}",
        "cutover_draining{color=\"blue\",kind=\"request\"}",
        "cutover_drain_seconds_count",
        &format!("cutover_endpoint_up{{color=\"blue\",upstream=\"default\",endpoint=\"{}\"}}", blue.address),
        "cutover_upstream_connect_errors_total{color=\"green\",upstream=\"default\"}",
        "cutover_retries_total{color=\"green\",upstream=\"default\"}",
        "cutover_open_connections{listener=\"http\"}",
        "cutover_config_last_reload_successful",
        "cutover_config_last_reload_success_timestamp_seconds",
        "cutover_file_disagrees",
        "cutover_phase{phase=\"steady\"}",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(before.contains_key(series), "{series} is missing in\n{}", page.text());
    }
    assert!(before.keys().any(|series| series.starts_with("cutover_build_info{version=")));

    let mut client = proxy.connect().await;
    for _ in 0..3 {
        client.get("/").await;
    }
    client.get("/vanishes").await;
    proxy.switch("green").await;
    green.set_healthy(true);
    blue.set_healthy(false);
    assert_eq!(proxy.post("/admin/switch", json!({})).await.status, 409);
    let after = until("the drain is counted", async || {
        let after = samples(proxy.admin("GET", "/metrics", "").await.text());
        (after["cutover_drain_seconds_count"] == 1.0).then_some(after)
    })
    .await;
    let grown = |series: &str| after[series] - before[series];
    assert_eq!((grown(&default("blue", "2xx")), grown(&default("blue", "5xx"))), (3.0, 1.0));
    assert_eq!(grown("cutover_http_request_duration_seconds_count{color=\"blue\",upstream=\"default\"}"), 4.0);
    assert_eq!(grown("cutover_switches_total{trigger=\"api\",outcome=\"done\"}"), 1.0);
    assert_eq!(grown("cutover_switches_total{trigger=\"api\",outcome=\"refused\"}"), 1.0);
    assert_eq!((after["cutover_active{color=\"green\"}"], after["cutover_generation"]), (1.0, 2.0));

    let mut connection = Connection::unix(&proxy.dir.path().join("admin.sock")).await.expect("the socket");
    connection
        .send("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n")
        .await;
    let open = connection.answer().await;
    assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# TYPE cutover_switches counter"));
}

#[tokio::test]
async fn readyz_and_the_readiness_path_say_when_the_process_is_about_to_stop() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(&blue, &green).text(dir.path()).replace("lame_duck = \"0s\"", "lame_duck = \"20s\"");
    let mut proxy = Proxy::start_in(dir, &text).await;
    assert_eq!(proxy.admin("GET", "/readyz", "").await.status, 200);
    proxy.signal(rustix::process::Signal::TERM);
    until("it is not ready", async || (proxy.admin("GET", "/readyz", "").await.status == 503).then_some(())).await;
    assert_eq!(proxy.get("/.cutover/ready").await.status, 503);
    assert_eq!(proxy.color().await, "blue", "it serves all the while");
    assert_eq!(proxy.admin("GET", "/livez", "").await.status, 200);
    // The second one ends it.
    proxy.signal(rustix::process::Signal::TERM);
    assert!(proxy.ended().await.success());
}
