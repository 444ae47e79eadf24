//! Which endpoint gets a request, what happens when it fails, and who the client is behind a balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::{Application, pair};
use crate::client::Connection;
use crate::proxy::{Proxy, Setup};
use crate::until;

/// An endpoint that lets probes connect and has this to say to every request, before it closes; and how often it was asked.
async fn saying(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counting = Arc::clone(&counting);
            tokio::spawn(async move {
                let mut head = vec![0; 64 << 10];
                let Ok(read @ 1..) = stream.read(&mut head).await else { return };
                let text = String::from_utf8_lossy(&head[..read]).into_owned();
                if text.contains("/healthz") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    return;
                }
                counting.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, asked)
}

const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";

/// A proxy whose blue has a good endpoint and a bad one, in turns.
async fn with_bad(bad: SocketAddr, policy: &str) -> (Proxy, Application, Application) {
    let (good, green) = pair().await;
    let mut setup = Setup::new(&good, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{}\", \"{bad}\"]", good.address);
    setup.more = policy.to_owned();
    let proxy = setup.start().await;
    let both = |status: &serde_json::Value| {
        status["blue"]["endpoints"].as_array().is_some_and(|all| all.iter().all(|one| one["health"] == "up"))
    };
    proxy.until("both are up", both).await;
    (proxy, good, green)
}

const TURNS: &str = "[upstream.default]\nbalance = \"round-robin\"\neject = false\n";

#[tokio::test]
async fn in_turns_every_endpoint_gets_the_same() {
    let (first, second) = (Application::start("one").await, Application::start("two").await);
    let green = Application::start("green").await;
    let mut setup = Setup::new(&first, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{}\", \"{}\"]", first.address, second.address);
    setup.more = TURNS.to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((first.heads().len(), second.heads().len()), (20, 20));
}

#[tokio::test]
async fn what_is_safe_to_repeat_goes_to_another_endpoint_and_nothing_else_does() {
    let (bad, asked) = saying("").await;
    let (proxy, good, green) = with_bad(bad, TURNS).await;
    let mut client = proxy.connect().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "blue", "a GET is tried elsewhere");
    }
    let tried = asked.load(Ordering::SeqCst);
    assert!(tried > 0, "the bad one was asked");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        statuses.push(client.answer().await.status);
    }
    assert!(statuses.contains(&502) && statuses.contains(&200), "a POST may have done its work: {statuses:?}");
    let posts = good.heads().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(posts, statuses.iter().filter(|status| **status == 200).count(), "none was sent twice");
    assert!(green.heads().is_empty(), "never to the other color");
    let metrics = proxy.admin("GET", "/metrics", "").await.text().to_owned();
    assert!(
        metrics.lines().any(|line| line.starts_with("cutover_retries_total{color=\"blue\"") && !line.ends_with(" 0"))
    );
}

#[tokio::test]
async fn retries_can_be_turned_off_and_end_with_their_budget() {
    for (retry, most) in [("[retry]\nattempts = 0\n", 0), ("[retry]\nbudget = \"1%\"\n", 15)] {
        let (bad, _) = saying("").await;
        let (proxy, _good, _green) = with_bad(bad, &format!("{TURNS}{retry}")).await;
        let mut client = proxy.connect().await;
        let mut saved: usize = 0;
        for turn in 0..60 {
            let status = client.get("/").await.status;
            // One of each two requests goes to the bad one first.
            saved += usize::from(status == 200);
            assert!(status == 200 || status == 502, "{turn}: {status}");
        }
        assert!(saved <= 30 + most + 1, "{saved} of 60 with {retry}");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_again_and_again_is_left_out_for_a_while_and_comes_back() {
    let (bad, asked) = saying(UNAVAILABLE).await;
    let policy = "[upstream.default]\nbalance = \"round-robin\"\neject = { consecutive = 3, for = \"1s\" }\n";
    let (proxy, _good, _green) = with_bad(bad, policy).await;
    let mut client = proxy.connect().await;
    let busy = |endpoint: &serde_json::Value| !endpoint["ejected_for_ms"].is_null();
    until("it is left out", async || {
        client.get("/").await;
        let status = proxy.status().await;
        status["blue"]["endpoints"].as_array().is_some_and(|all| all.iter().any(busy)).then_some(())
    })
    .await;
    let before = asked.load(Ordering::SeqCst);
    assert!(before >= 3, "{before}");
    proxy.until_logged("Endpoint ejected").await;
    until("it is asked again", async || {
        client.get("/").await;
        (asked.load(Ordering::SeqCst) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_only_endpoint_is_never_left_out() {
    let (bad, _) = saying(UNAVAILABLE).await;
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{bad}\"]");
    setup.more = "[upstream.default]\neject = { consecutive = 1, for = \"1h\" }\n".to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "busy", "its own answer, and not ours");
    }
}

#[tokio::test]
async fn connections_to_the_target_are_there_before_it_serves() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.connect().await;
        client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    proxy.until("they are under way", |status| status["blue"]["requests"] == 8).await;
    let switched = proxy.post("/admin/switch", serde_json::json!({ "to": "green" })).await;
    assert_eq!(switched.status, 200, "{}", switched.text());
    until("green has connections that wait", async || (green.connections() >= 8).then_some(())).await;
    blue.open_gate();
    for client in &mut clients {
        assert_eq!(client.answer().await.text(), "blue");
    }
}

/// A download of random bytes as large as to be moved and not copied, and an upload of the same.
#[tokio::test]
async fn large_bodies_of_a_known_length_arrive_as_they_were() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    for size in [65_535, 65_536, 100_000, 1_048_576, 5_000_001] {
        let answer = client.get(&format!("/bytes?{size}")).await;
        assert!(answer.complete && answer.body.len() == size && answer.body.iter().all(|byte| *byte == b'x'), "{size}");
        let mut seed = u64::try_from(size).expect("small");
        let body: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .take(size)
        .collect();
        let stream = TcpStream::connect(proxy.http).await.expect("a connection");
        let (read, mut write) = stream.into_split();
        let sent = body.clone();
        let upload = tokio::spawn(async move {
            let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", sent.len());
            write.write_all(head.as_bytes()).await.expect("it is read");
            write.write_all(&sent).await.expect("it is read");
            write
        });
        let mut answers = Connection::over(tokio::io::join(read, tokio::io::sink()));
        assert!(answers.answer().await.body == body, "{size} bytes up and down");
        drop(upload.await);
    }
}

async fn behind_balancer(begins: &[u8]) -> (Option<u16>, String) {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "proxy_protocol = [\"127.0.0.1\"]\nheader_timeout = \"300ms\"\n".to_owned();
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    client.send(begins).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let status = client.try_answer(false).await.map(|answer| answer.status);
    (status, blue.heads().last().cloned().unwrap_or_default())
}

#[tokio::test]
async fn a_balancer_says_who_the_client_is_and_has_to() {
    let (status, seen) = behind_balancer(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n").await;
    assert_eq!(status, Some(200));
    assert!(seen.contains("\r\nx-forwarded-for: 203.0.113.7\r\n"), "{seen}");

    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50";
    let (status, seen) = behind_balancer(second).await;
    assert_eq!(status, Some(200));
    assert!(seen.contains("\r\nx-forwarded-for: 203.0.113.9\r\n"), "{seen}");

    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let (status, seen) = behind_balancer(local).await;
    assert_eq!(status, Some(200));
    assert!(seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");

    assert_eq!(behind_balancer(b"").await, (None, String::new()), "without a header nobody is served");
    assert_eq!(behind_balancer(b"PROXY TCP4 nonsense\r\n").await, (None, String::new()));
}

#[tokio::test]
async fn nobody_else_may_say_who_the_client_is() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for header in [&b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut client = proxy.connect().await;
        client.send(header).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 400);
    }
    assert!(blue.heads().is_empty(), "{:?}", blue.heads());
}
