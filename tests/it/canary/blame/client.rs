//! Ends for which the client is to blame, whatever the endpoint makes of them.

use std::time::Duration;

use cutover::internals::domain::analysis::Thresholds;
use cutover::internals::domain::color::Color;
use cutover::internals::domain::verdict::Class;
use cutover::internals::evidence::routes::{Counts, RouteId};
use http::Request;
use tokio::net::TcpStream;

use super::{BODY, Bench, Does, Evidence, GET, HALF, Row};
use crate::until;

#[tokio::test]
async fn a_client_that_stops_in_its_upload_is_to_blame() {
    let bench = Bench::with(Does::Hang, "idle_timeout = \"200ms\"").await;
    let mut client = bench.send(HALF).await;
    assert_eq!(client.answer().await.status, 408);
    bench.blames_client(Some("http_request_error")).await;
}

#[tokio::test]
async fn an_endpoint_that_waits_no_longer_for_an_upload_is_not_charged() {
    let bench = Bench::start(Does::SayWhenTired("")).await;
    let mut client = bench.send(HALF).await;
    assert_eq!(client.answer().await.status, 408);
    bench.blames_client(Some("http_request_error")).await;
}

#[tokio::test]
async fn an_endpoint_that_answers_half_an_upload_with_an_error_is_not_charged() {
    for (status, answer) in [
        (408, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (500, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (503, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    ] {
        let bench = Bench::start(Does::SayWhenTired(answer)).await;
        let mut client = bench.send(HALF).await;
        assert_eq!(client.answer().await.status, status);
        bench.blames_client(None).await;
    }
}

/// The body comes when the endpoint, or after a second the proxy, says that it wants it; and this client never sends it.
const EXPECTING: &str = "POST /case HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[tokio::test]
async fn an_endpoint_that_waits_in_vain_for_an_expected_body_is_not_charged() {
    let bench = Bench::start(Does::SayWhenTired("")).await;
    let mut client = bench.send(EXPECTING).await;
    assert_eq!(client.answer().await.status, 408);
    bench.blames_client(Some("http_request_error")).await;

    let bench =
        Bench::start(Does::SayWhenTired("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let mut client = bench.send(EXPECTING).await;
    assert_eq!(client.answer().await.status, 503);
    bench.blames_client(None).await;

    let quick = "response_timeout = \"300ms\"\nidle_timeout = \"1500ms\"\n";
    let bench = Bench::with(Does::Hang, quick).await;
    let mut client = bench.send(EXPECTING).await;
    assert_eq!(client.answer().await.status, 408);
    bench.blames_client(Some("http_request_error")).await;

    // The final head, and the rest when the body is there.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let bench = Bench::with(Does::Say(head), "idle_timeout = \"500ms\"\n").await;
    let mut client = bench.send(EXPECTING).await;
    assert_eq!(client.head().await.map(|answer| answer.status), Some(200));
    assert!(client.ended().await);
    bench.blames_client(Some("http_request_error")).await;
}

#[tokio::test]
async fn a_client_that_stops_in_the_body_of_an_upgrade_is_to_blame() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n";
    let bench = Bench::with(Does::Say(switching), "idle_timeout = \"400ms\"\nresponse_timeout = \"5s\"\n").await;
    let fields = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 50";
    let mut client = bench.send(&format!("POST /case HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhalf")).await;
    assert_eq!(client.answer().await.status, 408);
    bench.blames_client(Some("http_request_error")).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_is_to_blame() {
    let bench = Bench::start(Does::Hang).await;
    drop(bench.send(HALF).await);
    bench.blames_client(Some("client_left")).await;
}

#[tokio::test]
async fn a_client_that_leaves_at_once_says_nothing_of_the_release() {
    let bench = Bench::start(Does::Hang).await;
    drop(bench.send(GET).await);
    bench.blames_client(Some("client_left")).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_slow_release_counts_as_that_and_never_as_an_error() {
    let bench = Bench::start(Does::Hang).await;
    let waiting = bench.send(GET).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    drop(waiting);
    let row = Row { error: Some("client_left"), blame: Some("client"), evidence: Evidence::Abort, ejected: false };
    bench.ended(row).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_answer_is_to_blame() {
    for does in [Does::Send, Does::SendInChunks] {
        let bench = Bench::start(does).await;
        let mut client = bench.send(GET).await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        drop(client);
        bench.blames_client(Some("client_left")).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_how_streams_end() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100\r\n\r\ndata: 1\n\n";
    let bench = Bench::start(Does::Say(EVENTS)).await;
    let mut client = bench.send(GET).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    drop(client);
    bench
        .ended(Row { error: Some("client_left"), blame: Some("client"), evidence: Evidence::Good, ejected: false })
        .await;
}

/// The pages move from socket to socket, or the bytes are copied, or the stream's window is closed.
#[tokio::test]
async fn a_client_that_reads_nothing_is_to_blame_on_every_path() {
    for does in [Does::Send, Does::SendInChunks] {
        let bench = Bench::with(does, "idle_timeout = \"300ms\"").await;
        let _deaf = bench.send(GET).await;
        bench.blames_client(Some("client_stalled")).await;
    }
    for does in [Does::Send, Does::SendInChunks, Does::Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall")] {
        let bench = Bench::with(does, "idle_timeout = \"300ms\"").await;
        let stream = TcpStream::connect(bench.site.plane.local_addr()).await.expect("a connection");
        let mut handshake = h2::client::Builder::new();
        let (mut sender, connection) =
            handshake.initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await.expect("a handshake");
        let connection = tokio::spawn(connection);
        let request = Request::get("http://a/case").body(()).expect("a request");
        let (answer, _) = sender.send_request(request, true).expect("it is taken");
        let answer = answer.await.expect("a head");
        assert_eq!(answer.status(), 200);
        bench.blames_client(Some("client_stalled")).await;
        connection.abort();
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_tunnel_is_to_blame() {
    let bench = Bench::with(Does::SwitchAndSend, "stream_idle_timeout = \"300ms\"").await;
    let _deaf = bench.send("GET /case HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let row = Row { error: Some("client_stalled"), blame: Some("client"), evidence: Evidence::Good, ejected: false };
    bench.ended(row).await;
}

#[tokio::test]
async fn a_client_that_pauses_until_its_endpoint_gives_up_is_to_blame() {
    for does in [Does::Send, Does::SendInChunks] {
        let bench = Bench::start(does).await;
        let mut paused = bench.send(GET).await;
        assert_eq!(paused.head().await.expect("a head").status, 200);
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert!(paused.rest().await.len() < BODY, "the endpoint has given up");
        bench.blames_client(Some("client_stalled")).await;
    }
}

#[tokio::test]
async fn a_slow_upload_and_a_slow_download_are_no_latency_of_the_release() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let slow = |counts: &Counts| counts.bad[Class::SlowP90 as usize];
    let watched = |bench: &Bench, millis: u64| {
        let thresholds = Thresholds { stable: [millis * 1_000; 3], candidate: [millis * 1_000; 3] };
        bench.site.publisher.routes().set_thresholds(RouteId::OTHER, Color::Green, Some(thresholds));
    };
    let mut bench = Bench::start(Does::SayWhenTired(ANSWER)).await;
    watched(&bench, 150);
    let mut client = bench.send("POST /case HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send("x").await;
    }
    let counts = bench.site.counted("")[Color::Green];
    assert_eq!((counts.assigned, slow(&counts)), (1, 0), "it is not slow while the client sends it");
    assert_eq!(client.answer().await.status, 200);
    until("the endpoint's own 300 ms are slow", async || {
        (slow(&bench.site.counted("")[Color::Green]) == 1).then_some(())
    })
    .await;

    let mut bench = Bench::start(Does::Send).await;
    watched(&bench, 900);
    let mut client = bench.send(GET).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    assert!(client.exactly(BODY).await.is_some(), "all of it comes");
    let line = bench.site.logged(|line| line["path"] == "/case").await;
    assert!(line["duration_ms"].as_f64().expect("a number") >= 1_200.0, "{line}");
    let counts = bench.site.counted("")[Color::Green];
    assert_eq!((counts.completed, slow(&counts)), (1, 0), "the client took its time");
}

#[tokio::test]
async fn a_malformed_body_is_the_clients() {
    let bench = Bench::start(Does::Hang).await;
    let head = "POST /case HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n";
    assert_eq!(bench.send(head).await.answer().await.status, 400);
    bench.blames_client(Some("http_request_error")).await;
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_to_blame() {
    let mut bench = Bench::start(Does::Hang).await;
    let mut client = crate::http2::Client::connect(bench.site.plane.local_addr()).await;
    let request = Request::post("http://a/case").body(()).expect("a request");
    let (_answer, mut send) = client.begin(request, false).await.expect("it is taken");
    until("a release has it", async || (bench.site.counted("")[Color::Green].assigned == 1).then_some(())).await;
    send.send_reset(h2::Reason::CANCEL);
    bench.blames_client(Some("client_left")).await;
}
