//! Requests that are held: switches without overlap, holds by hand, and maintenance.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::ask;
use crate::application::{Application, pair};
use crate::client::{Answer, Connection};
use crate::http2::Client;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

async fn under_way(proxy: &Proxy, color: &str, requests: u64) {
    proxy.until("they are under way", |status| status[color]["requests"] == requests).await;
}

async fn held(proxy: &Proxy, requests: u64) {
    proxy.until("they are held", |status| status["hold"]["requests"] == requests).await;
}

async fn apart(proxy: &Proxy) -> Answer {
    proxy.post("/admin/switch", json!({ "overlap": "none" })).await
}

async fn with(more: &str, blue: &Application, green: &Application) -> Proxy {
    let mut setup = Setup::new(blue, green);
    setup.more = more.to_owned();
    setup.start().await
}

/// What both applications together are doing, and whether they ever did it at the same time.
#[derive(Default)]
struct Witness {
    running: [AtomicUsize; 2],
    overlapping: AtomicUsize,
    served: AtomicUsize,
}

/// An application that takes a few milliseconds for a request, under the eyes of a witness.
async fn witnessed(color: usize, witness: Arc<Witness>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let witness = Arc::clone(&witness);
            tokio::spawn(async move {
                let mut read = Vec::new();
                loop {
                    while !read.ends_with(b"\r\n\r\n") {
                        if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                            return;
                        }
                    }
                    let probe = read.starts_with(b"GET /healthz");
                    read.clear();
                    if !probe {
                        witness.running[color].fetch_add(1, Ordering::SeqCst);
                        for _ in 0..fastrand::u32(1..20) {
                            if witness.running[1 - color].load(Ordering::SeqCst) > 0 {
                                witness.overlapping.fetch_add(1, Ordering::SeqCst);
                            }
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        witness.running[color].fetch_sub(1, Ordering::SeqCst);
                        witness.served.fetch_add(1, Ordering::SeqCst);
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn no_two_releases_serve_at_the_same_time_and_no_request_fails_over_many_switches() {
    let witness = Arc::new(Witness::default());
    let (blue, green) = (witnessed(0, Arc::clone(&witness)).await, witnessed(1, Arc::clone(&witness)).await);
    let proxy = Setup::at(blue, green).start().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..24 {
        let (over, address) = (Arc::clone(&over), proxy.http);
        clients.spawn(async move {
            let mut http1 = Connection::tcp(address).await;
            let mut http2 = Client::connect(address).await;
            let mut asked = 0;
            while !over.load(Ordering::SeqCst) {
                let answer = if number % 3 == 0 { http2.get("/").await } else { http1.get("/").await };
                assert_eq!((answer.status, answer.text()), (200, "ok"));
                asked += 1;
            }
            asked
        });
    }
    for round in 0..12 {
        let answer = if round % 4 == 3 {
            proxy.post("/admin/rollback", json!({ "overlap": "none" })).await
        } else {
            apart(&proxy).await
        };
        assert_eq!((answer.status, answer.json()["changed"].clone()), (200, json!(true)), "{}", answer.text());
        assert!(answer.json()["held_us"].is_u64(), "{}", answer.text());
        // Some requests, until the next one.
        let served = witness.served.load(Ordering::SeqCst);
        until("requests go on", async || (witness.served.load(Ordering::SeqCst) > served + 20).then_some(())).await;
    }
    over.store(true, Ordering::SeqCst);
    let asked: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(witness.overlapping.load(Ordering::SeqCst), 0);
    assert_eq!(witness.served.load(Ordering::SeqCst), asked, "each request was made once");
    let history = proxy.admin("GET", "/admin/history", "").await.json();
    assert!(history["transitions"][0]["held_us"].is_u64(), "{history}");
    // The witness sees what there is to see.
    proxy.post("/admin/hold", json!({})).await;
    let (mut first, mut second) = (ask(&proxy, "/").await, ask(&proxy, "/").await);
    held(&proxy, 2).await;
    assert_eq!(proxy.admin("DELETE", "/admin/hold", "").await.json()["hold"], json!(null));
    assert_eq!((first.answer().await.status, second.answer().await.status), (200, 200));
}

#[tokio::test]
async fn held_requests_go_on_to_the_new_color_when_the_old_one_is_done_whatever_their_version_and_body() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut late = ask(&proxy, "/late").await;
    under_way(&proxy, "blue", 1).await;
    let body = vec![b'b'; 300_000];
    let switching = apart(&proxy);
    let meanwhile = async {
        proxy.until("requests are held", |status| status["phase"] == "holding").await;
        let mut get = ask(&proxy, "/").await;
        let mut post = proxy.connect().await;
        let (head, all) = (format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()), &body);
        post.send(head).await;
        let address = proxy.http;
        let http2 = tokio::spawn(async move { Client::connect(address).await.get("/").await });
        held(&proxy, 3).await;
        // The readiness path answers all the same.
        assert_eq!(proxy.get("/.cutover/ready").await.status, 200);
        let metrics = proxy.admin("GET", "/metrics", "").await;
        assert!(metrics.text().contains("\ncutover_held_requests 3\n"), "{}", metrics.text());
        assert!(metrics.text().contains("cutover_phase{phase=\"holding\"} 1"), "{}", metrics.text());
        assert!(green.heads().is_empty(), "nothing goes to green while blue has a request");
        let sending = async { post.send(all).await };
        let opening = async { blue.open_gate() };
        tokio::join!(sending, opening);
        let echoed = post.answer().await;
        (get.answer().await, echoed, http2.await.expect("no panic"))
    };
    let (answer, (get, post, http2)) = tokio::join!(switching, meanwhile);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(late.answer().await.text(), "blue");
    assert_eq!((get.text(), http2.text()), ("green", "green"));
    assert_eq!((post.header("x-color"), post.body == body), (Some("green"), true));
    assert!(proxy.status().await["hold"].is_null());
    // The connections go on.
    assert_eq!(late.get("/").await.text(), "green");
}

#[tokio::test]
async fn an_old_color_that_does_not_drain_goes_on_to_serve_and_nobody_fails() {
    let (blue, green) = pair().await;
    let proxy = with("[hold]\ntimeout = \"700ms\"", &blue, &green).await;
    let mut late = ask(&proxy, "/late").await;
    let mut tunnel = proxy.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    under_way(&proxy, "blue", 1).await;
    let (refused, waited) = tokio::join!(apart(&proxy), async {
        proxy.until("requests are held", |status| status["phase"] == "holding").await;
        proxy.get("/").await
    });
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"]), (409, &json!("not_drained")), "{problem}");
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("1 request and 1 tunnel of blue did not end in"), "{detail}");
    assert_eq!(waited.text(), "blue");
    blue.open_gate();
    assert_eq!(late.answer().await.text(), "blue", "it was not ended either");
    tunnel.send("still").await;
    assert_eq!(tunnel.exactly(5).await.expect("an answer"), b"STILL");
}

#[tokio::test]
async fn what_is_left_of_the_old_color_is_ended_where_the_drain_is_shorter_than_the_hold() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let mut late = ask(&proxy, "/late").await;
    under_way(&proxy, "blue", 1).await;
    let answer = apart(&proxy).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(late.answer().await.status, 504);
    assert_eq!(proxy.color().await, "green");
}

#[tokio::test]
async fn tunnels_are_closed_when_the_hold_begins_where_that_is_wanted() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"60s\"\nstreams = \"close\"".to_owned();
    let proxy = setup.start().await;
    let mut tunnel = proxy.connect().await;
    tunnel.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(tunnel.answer().await.status, 101);
    proxy.until("it is a tunnel", |status| status["blue"]["tunnels"] == 1).await;
    let answer = apart(&proxy).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(tunnel.ended().await);
}

#[tokio::test]
async fn a_rollback_or_a_release_in_the_middle_lets_everybody_go_on_to_the_old_color_at_once() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let _late = ask(&proxy, "/late").await;
    under_way(&proxy, "blue", 1).await;
    for (method, path) in [("POST", "/admin/rollback"), ("DELETE", "/admin/hold")] {
        let (refused, waited) = tokio::join!(apart(&proxy), async {
            proxy.until("requests are held", |status| status["phase"] == "holding").await;
            let mut waiting = ask(&proxy, "/").await;
            held(&proxy, 1).await;
            // Another operator has to wait, or to call it off.
            let second = apart(&proxy).await;
            assert_eq!((second.status, second.json()["code"].clone()), (409, json!("in_progress")));
            let by_hand = proxy.post("/admin/hold", json!({})).await;
            assert_eq!((by_hand.status, by_hand.json()["code"].clone()), (409, json!("in_progress")));
            assert_eq!(proxy.admin(method, path, "").await.status, 200);
            waiting.answer().await
        });
        assert_eq!((refused.status, refused.json()["code"].clone()), (409, json!("withdrawn")), "{path}");
        assert_eq!(waited.text(), "blue", "{path}");
    }
    assert!(green.heads().is_empty());
}

#[tokio::test]
async fn a_target_that_is_not_healthy_holds_nobody() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    green.set_healthy(false);
    let refused = apart(&proxy).await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (409, json!("unhealthy")));
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_hold_seconds_count 0\n"), "{}", metrics.text());
}

#[tokio::test]
async fn after_kill_9_in_the_middle_the_last_decision_serves_and_nothing_is_held() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let _late = ask(&proxy, "/late").await;
    under_way(&proxy, "blue", 1).await;
    let socket = proxy.dir.path().join("admin.sock");
    let mut operator = Connection::unix(&socket).await.expect("the admin socket");
    let body = "{\"overlap\":\"none\"}";
    operator
        .send(format!("POST /admin/switch HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .await;
    proxy.until("requests are held", |status| status["phase"] == "holding").await;
    proxy.kill_and_restart().await;
    let status = proxy.status().await;
    assert_eq!((&status["active"], &status["hold"]), (&json!("blue"), &json!(null)), "{status}");
    assert_eq!(proxy.color().await, "blue");
}

#[tokio::test]
async fn a_hold_by_hand_ends_when_it_is_released_or_by_itself_and_says_who_and_why() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let said = proxy.cli(&["hold", "--timeout", "40s", "--reason", "move the disk"]).await;
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stdout).expect("text");
    assert!(text.starts_with("Requests are held, by hand, for ") && text.contains("move the disk"), "{text}");
    let mut waiting = ask(&proxy, "/").await;
    held(&proxy, 1).await;
    let status = proxy.cli(&["status"]).await;
    let text = String::from_utf8(status.stdout).expect("text");
    assert!(text.contains("paused       by hand, for"), "{text}");
    let said = proxy.cli(&["release"]).await;
    assert_eq!(String::from_utf8(said.stdout).expect("text"), "Requests are served by blue.\n");
    assert_eq!(waiting.answer().await.text(), "blue");

    let again = proxy.post("/admin/hold", json!({ "timeout": "1s" })).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(proxy.color().await, "blue", "it waited for the end of the hold");
    let kinds = async || {
        let history = proxy.admin("GET", "/admin/history", "").await.json();
        let all = history["transitions"].as_array().expect("a list").clone();
        (all.len() == 5).then_some(all)
    };
    let all = until("the history has all of it", kinds).await;
    let kinds: Vec<_> = all.iter().map(|transition| transition["kind"].as_str().expect("a word")).collect();
    assert_eq!(kinds, ["hold_end", "hold", "hold_end", "hold", "start"]);
    assert_eq!(
        (&all[3]["reason"], &all[0]["reason"]),
        (&json!("move the disk"), &json!("the time of the pause was up"))
    );
    let wrong = proxy.post("/admin/hold", json!({ "timeout": "soon" })).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_switch_under_a_hold_by_hand_leaves_it_to_the_operator() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.post("/admin/hold", json!({})).await;
    let mut waiting = ask(&proxy, "/").await;
    held(&proxy, 1).await;
    let said = proxy.cli(&["switch", "--other", "--no-overlap"]).await;
    let text = String::from_utf8(said.stdout).expect("text");
    assert!(said.status.success() && text.contains("Requests were held for"), "{text}");
    held(&proxy, 1).await;
    proxy.admin("DELETE", "/admin/hold", "{\"reason\":\"done\"}").await;
    assert_eq!(waiting.answer().await.text(), "green");
}

#[tokio::test]
async fn a_full_queue_is_a_503_with_retry_after_and_a_client_that_leaves_frees_its_place() {
    let (blue, green) = pair().await;
    let proxy = with("[hold]\nmax_requests = 2\nready = false", &blue, &green).await;
    proxy.post("/admin/hold", json!({})).await;
    assert_eq!(proxy.get("/.cutover/ready").await.status, 503);
    let first = ask(&proxy, "/").await;
    // One that leaves behind the beginning of a body.
    let mut second = proxy.connect().await;
    second.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    held(&proxy, 2).await;
    let mut third = proxy.connect().await;
    third.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: another-one\r\n\r\n").await;
    let full = third.answer().await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("2")), "{}", full.text());
    assert!(full.header("proxy-status").is_some_and(|status| status.contains("hold")), "{full:?}");
    assert!(third.ended().await, "what follows is the body, and no request");
    drop(second);
    held(&proxy, 1).await;
    let mut http2 = Client::connect(proxy.http).await;
    let stream = tokio::spawn({
        let mut sender = http2.sender.clone();
        async move {
            let request = http::Request::get("http://test/").body(()).expect("a request");
            sender.send_request(request, true).expect("it is sent").0.await
        }
    });
    held(&proxy, 2).await;
    // The response is dropped: the stream is reset.
    stream.abort();
    held(&proxy, 1).await;
    drop(first);
    held(&proxy, 0).await;
    let waiting = tokio::spawn(async move { http2.get("/").await });
    held(&proxy, 1).await;
    proxy.admin("DELETE", "/admin/hold", "").await;
    assert_eq!(waiting.await.expect("no panic").text(), "blue");
    let metrics = proxy.admin("GET", "/metrics", "").await;
    for (outcome, count) in [("released", 1), ("full", 1), ("client_left", 3), ("expired", 0)] {
        let line = format!("cutover_hold_outcomes_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
    }
}

#[tokio::test]
async fn bytes_are_bounded_too_and_a_request_that_waits_too_long_is_a_503() {
    let (blue, green) = pair().await;
    let proxy = with("[hold]\nmax_bytes = \"64KiB\"\ntimeout = \"2s\"", &blue, &green).await;
    proxy.post("/admin/hold", json!({ "timeout": "1h" })).await;
    let mut first = proxy.connect().await;
    first.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    held(&proxy, 1).await;
    let mut second = proxy.connect().await;
    second.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    assert_eq!(second.answer().await.status, 503, "room for one body, and its head, is there no more");
    let expired = first.answer().await;
    assert_eq!((expired.status, expired.header("retry-after")), (503, Some("2")), "{}", expired.text());
    assert!(expired.text().contains("held for too long"), "{}", expired.text());
    held(&proxy, 0).await;
}

#[tokio::test]
async fn maintenance_answers_everybody_at_once_survives_kill_9_and_ends_by_command() {
    let (blue, green) = pair().await;
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("page.html");
    std::fs::write(&page, "<h1>Back soon</h1>").expect("a file");
    let more = format!("[maintenance]\nretry_after = \"5m\"\npage = \"{}\"", page.display());
    let mut proxy = with(&more, &blue, &green).await;
    proxy.post("/admin/hold", json!({})).await;
    let mut waiting = ask(&proxy, "/").await;
    held(&proxy, 1).await;
    let said = proxy.cli(&["maintenance", "on", "--reason", "new database"]).await;
    let text = String::from_utf8(said.stdout).expect("text");
    assert!(said.status.success() && text.contains("gets the maintenance answer"), "{text}");
    let answer = waiting.answer().await;
    assert_eq!((answer.status, answer.text()), (503, "<h1>Back soon</h1>"), "also who waited");
    assert_eq!(answer.header("retry-after"), Some("300"));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    proxy.kill_and_restart().await;
    assert_eq!(proxy.status().await["maintenance"], json!(true));
    assert_eq!(proxy.get("/").await.status, 503);
    assert_eq!(proxy.get("/.cutover/ready").await.status, 200);
    let mut program = proxy.connect().await;
    program.send("GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n").await;
    assert_eq!(program.answer().await.json(), json!({ "status": 503, "error": "Down for maintenance." }));
    // The color can be moved meanwhile.
    assert_eq!(proxy.switch("green").await["active"], "green");
    assert_eq!(proxy.get("/").await.status, 503);
    // A page that is gone leaves the one before in force.
    proxy.until("the file says so", |status| status["file"]["disagrees"] == false).await;
    std::fs::remove_file(&page).expect("it is there");
    proxy.replace_file(&proxy.text().replace("\"5m\"", "\"6m\""));
    let status = proxy.until("the file is refused", |status| status["file"]["error"].is_string()).await;
    assert!(status["file"]["error"].as_str().is_some_and(|error| error.contains("page.html")), "{status}");
    assert_eq!(proxy.get("/").await.text(), "<h1>Back soon</h1>");
    assert!(proxy.cli(&["maintenance", "off"]).await.status.success());
    assert_eq!(proxy.color().await, "green");
    assert!(blue.heads().is_empty() && green.heads().len() == 1);
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_hold_ends_in_time() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"500ms\"".to_owned();
    let mut proxy = setup.start().await;
    proxy.post("/admin/hold", json!({ "timeout": "1h" })).await;
    let mut waiting = ask(&proxy, "/").await;
    held(&proxy, 1).await;
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(waiting.answer().await.status, 503);
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn a_connection_that_was_opened_for_nothing_is_no_request() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let idle = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
    let answer = soon("it is not waited for", apart(&proxy)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(idle);
}
