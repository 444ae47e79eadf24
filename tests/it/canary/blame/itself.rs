//! Ends for which the proxy itself is to blame, and answers of its own to requests that no release can serve. With the real
//! binary.

use rustix::process::{Resource, Rlimit, Signal};
use serde_json::{Value, json};

use crate::application::Application;
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// One failure is enough to eject one of two endpoints.
async fn start(more: &str, listen: &str) -> (Proxy, [Application; 2]) {
    let applications = [Application::start("blue").await, Application::start("blue").await];
    let mut setup = Setup::new(&applications[0], &applications[1]);
    let [first, second] = applications.each_ref().map(|application| application.address);
    setup.blue = format!("release = \"1.0\"\nendpoints = [\"{first}\", \"{second}\"]");
    setup.listen = listen.to_owned();
    setup.drain = "timeout = \"300ms\"".to_owned();
    setup.more = format!("[upstream.default]\neject = {{ consecutive = 1, for = \"1h\" }}\n{more}");
    let proxy = setup.start().await;
    proxy.until("both are up", |status| ejected(status) == 0 && up(status) == 2).await;
    (proxy, applications)
}

fn endpoints(status: &Value) -> &[Value] {
    status["blue"]["endpoints"].as_array().map_or(&[], Vec::as_slice)
}

fn up(status: &Value) -> usize {
    endpoints(status).iter().filter(|endpoint| endpoint["health"] == "up").count()
}

fn ejected(status: &Value) -> usize {
    endpoints(status).iter().filter(|endpoint| !endpoint["ejected_for_ms"].is_null()).count()
}

/// Waits for the line of the request, which says this, and looks whether an endpoint was charged.
async fn blamed(proxy: &Proxy, path: &str, error: Option<&str>, blame: &str) {
    let line = until("the request is logged", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| line["path"] == path)
    })
    .await;
    assert_eq!((line["error"].as_str(), line["blame"].as_str()), (error, Some(blame)), "{line}");
    let status = proxy.status().await;
    assert_eq!((ejected(&status), up(&status)), (0, 2), "{status}");
}

async fn ask(proxy: &Proxy, bytes: &str) -> (Connection, u16) {
    let mut client = proxy.connect().await;
    client.send(bytes).await;
    let status = client.answer().await.status;
    (client, status)
}

#[tokio::test]
async fn a_head_that_is_malformed_is_the_clients() {
    let (proxy, _applications) = start("", "").await;
    assert_eq!(ask(&proxy, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n").await.1, 400);
    blamed(&proxy, "", Some("http_request_error"), "client").await;
    assert_eq!(ask(&proxy, "GET /hosts HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await.1, 400);
    blamed(&proxy, "/hosts", Some("http_request_error"), "client").await;
}

#[tokio::test]
async fn a_head_that_does_not_get_whole_is_the_clients() {
    let (proxy, _applications) = start("", "header_timeout = \"200ms\"").await;
    assert_eq!(ask(&proxy, "GET /a HTTP/1.1\r\nHo").await.1, 408);
    blamed(&proxy, "", Some("http_request_error"), "client").await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_the_clients() {
    let (proxy, _applications) = start("", "max_body = \"1KiB\"").await;
    assert_eq!(ask(&proxy, "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n").await.1, 413);
    blamed(&proxy, "/length", Some("http_request_denied"), "client").await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let head = "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(&proxy, &format!("{head}{chunk}")).await.1, 413);
    blamed(&proxy, "/chunks", Some("http_request_denied"), "client").await;
}

#[tokio::test]
async fn a_path_without_a_route_is_the_clients() {
    let (proxy, _applications) = start("[[route]]\npath = \"/known\"\nupstream = \"default\"\n", "").await;
    assert_eq!(proxy.get("/unknown").await.status, 404);
    blamed(&proxy, "/unknown", Some("destination_not_found"), "client").await;
}

#[tokio::test]
async fn a_limit_of_the_proxy_is_its_own() {
    let (proxy, applications) = start("max_in_flight = 1\n", "").await;
    let mut first = proxy.connect().await;
    first.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it is under way", async || applications.iter().any(|of| !of.heads().is_empty()).then_some(())).await;
    assert_eq!(proxy.get("/second").await.status, 503);
    blamed(&proxy, "/second", Some("connection_limit_reached"), "proxy").await;
}

#[tokio::test]
async fn maintenance_is_the_proxys() {
    let (proxy, _applications) = start("", "").await;
    let answer = proxy.post("/admin/maintenance", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(proxy.get("/closed").await.status, 503);
    blamed(&proxy, "/closed", Some("destination_unavailable"), "proxy").await;
}

#[tokio::test]
async fn requests_that_are_held_for_too_long_or_are_too_many_are_the_proxys() {
    let (proxy, _applications) = start("[hold]\nmax_requests = 1\ntimeout = \"300ms\"\n", "").await;
    let answer = proxy.post("/admin/hold", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut held = proxy.connect().await;
    held.send("POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    proxy.until("it is held", |status| status["hold"]["requests"] == 1 || status["held"]["requests"] == 1).await;
    assert_eq!(proxy.get("/full").await.status, 503);
    blamed(&proxy, "/full", Some("connection_limit_reached"), "proxy").await;
}

#[tokio::test]
async fn what_a_drain_or_a_stop_ends_is_the_proxys() {
    let (proxy, _applications) = start("", "").await;
    let mut old = proxy.connect().await;
    old.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    proxy.switch("green").await;
    assert_eq!(old.answer().await.status, 504);
    blamed(&proxy, "/late", Some("drain_timeout"), "proxy").await;
    let mut last = proxy.connect().await;
    last.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["green"]["requests"] == 1).await;
    proxy.signal(Signal::TERM);
    assert_eq!(last.answer().await.status, 503);
    until("the request is logged", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        let line = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|of| of["path"] == "/hangs")?;
        assert_eq!(line["blame"], "proxy", "{line}");
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_proxy_without_descriptors_says_so_and_charges_nobody() {
    let (proxy, _applications) = start("[retry]\nattempts = 0\n", "").await;
    let mut client = proxy.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.status, 200);
    let pid = rustix::process::Pid::from_raw(i32::try_from(proxy.pid()).expect("a pid"));
    let set = |current| {
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(current), maximum };
        rustix::process::prlimit(pid, Resource::Nofile, limit).expect("a limit");
    };
    // The connection to the other endpoint has to be made.
    set(1);
    let mut exhausted = None;
    for _ in 0..20 {
        client.send("GET /exhausted HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
        let answer = client.answer().await;
        if answer.status != 200 {
            exhausted = Some(answer);
            break;
        }
    }
    set(1024);
    let answer = exhausted.expect("an answer of the proxy's own");
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    proxy.until_logged("has run out of descriptors").await;
    let log = until("the request is logged", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        log.lines().find(|line| line.contains("/exhausted") && line.contains("\"status\":503")).map(str::to_owned)
    })
    .await;
    assert!(log.contains("\"error\":\"connection_limit_reached\",\"blame\":\"proxy\""), "{log}");
    let status = proxy.status().await;
    assert_eq!((ejected(&status), up(&status)), (0, 2), "{status}");
}

#[tokio::test]
async fn a_release_without_a_healthy_endpoint_is_to_blame() {
    let (proxy, applications) = start("", "").await;
    applications.iter().for_each(|application| application.set_healthy(false));
    proxy.until("both are down", |status| up(status) == 0).await;
    assert_eq!(proxy.get("/none").await.status, 503);
    applications.iter().for_each(|application| application.set_healthy(true));
    proxy.until("both are up", |status| up(status) == 2).await;
    blamed(&proxy, "/none", Some("destination_unavailable"), "release").await;
}

#[tokio::test]
async fn a_pause_of_the_process_fails_nothing_that_has_arrived() {
    let timeouts = "response_timeout = \"400ms\"\nidle_timeout = \"400ms\"\nconnect_timeout = \"400ms\"\n";
    let (proxy, applications) = start(timeouts, "header_timeout = \"400ms\"").await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut gated = proxy.connect().await;
    gated.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(gated.head().await.expect("a head").status, 200);
    let mut upload = proxy.connect().await;
    upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").await;
    until("all are under way", async || {
        (applications.iter().map(|of| of.heads().len()).sum::<usize>() == 3).then_some(())
    })
    .await;
    let mut head = proxy.connect().await;
    head.send("GET / HTTP/1.1\r\nHo").await;
    proxy.signal(Signal::STOP);
    // They arrive while the proxy sleeps.
    applications.iter().for_each(Application::open_gate);
    upload.send("lf").await;
    head.send("st: a\r\n\r\n").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    proxy.signal(Signal::CONT);
    assert_eq!(late.answer().await.status, 200, "a head");
    assert_eq!(gated.exactly(6).await.as_deref(), Some(&b"[done]"[..]), "a body");
    assert_eq!(upload.answer().await.text(), "half", "an upload");
    assert_eq!(head.answer().await.status, 200, "a client's head");
    let status = proxy.status().await;
    assert_eq!((ejected(&status), up(&status)), (0, 2), "{status}");
}
