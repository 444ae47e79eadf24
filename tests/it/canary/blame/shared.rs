//! HTTP/2 connections to endpoints that end for what some of the requests on them did: nobody is charged with the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::net::TcpListener;

use super::{Bench, Does, Evidence, Row};
use crate::client::Connection;

const HTTP2: &str = "protocol = \"http2\"";
const NOBODY: Row = Row { error: Some(CLOSED), blame: Some("nobody"), evidence: Evidence::None, ejected: false };
const CLOSED: &str = "connection_terminated";

/// How an endpoint ends a connection.
#[derive(Clone, Copy, Debug)]
enum End {
    Goaway(Reason),
    /// The same, and the connection is reset: the socket had something unread.
    GoawayAndReset(Reason),
    Close,
}

/// Endpoints that end the connection at `/end`, reset the stream at `/calm`, wait at `/case`, but answer half where it is PUT, and
/// answer all else.
struct Endpoints {
    addresses: [String; 2],
    requests: Arc<AtomicUsize>,
}

impl Endpoints {
    async fn start(end: End) -> Endpoints {
        let requests = Arc::new(AtomicUsize::new(0));
        let addresses = [endpoint(end, &requests).await, endpoint(end, &requests).await];
        Endpoints { addresses, requests }
    }

    async fn asked(&self, times: usize) {
        while self.requests.load(Ordering::Relaxed) < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn endpoint(end: End, requests: &Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let requests = Arc::clone(requests);
    tokio::spawn(async move {
        let mut waits = true;
        while let Ok((stream, _)) = listener.accept().await {
            let (requests, first) = (Arc::clone(&requests), std::mem::take(&mut waits));
            tokio::spawn(async move {
                if matches!(end, End::GoawayAndReset(_)) {
                    let now = Some(Duration::ZERO);
                    socket2::SockRef::from(&stream).set_linger(now).expect("a socket option");
                }
                let mut connection = h2::server::handshake(stream).await.ok()?;
                let mut open = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    requests.fetch_add(1, Ordering::Relaxed);
                    let answer = http::Response::builder();
                    match request.uri().path() {
                        "/calm" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
                        "/end" => match end {
                            End::Goaway(reason) | End::GoawayAndReset(reason) => connection.abrupt_shutdown(reason),
                            End::Close => break,
                        },
                        "/case" if request.method() == "PUT" => {
                            let answer = answer.header("content-length", "100").body(()).expect("an answer");
                            let mut body = respond.send_response(answer, false).ok()?;
                            body.send_data(Bytes::from_static(b"half"), false).ok()?;
                            open.push((None, Some(body)));
                        }
                        "/case" if first || request.method() == "POST" => open.push((Some(respond), None)),
                        _ => drop(respond.send_response(answer.body(()).expect("an answer"), true).ok()?),
                    }
                }
                Some(())
            });
        }
    });
    address.to_string()
}

fn request(method: &str, path: &str, field: usize) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(field))
}

/// Has a connection ended under a request that waits for its answer. Both are on one, as there is one endpoint.
async fn end_under(method: &str, end: End, field: usize) -> (Bench, Connection) {
    let endpoints = Endpoints::start(end).await;
    let bench = Bench::before_one(&endpoints.addresses[0], HTTP2).await;
    let client = bench.send(&request(method, "/case", 0)).await;
    endpoints.asked(1).await;
    let mut other = bench.send(&request("POST", "/end", field)).await;
    assert_eq!(other.answer().await.status, 502);
    (bench, client)
}

const FLOODED: [End; 2] = [End::Goaway(Reason::ENHANCE_YOUR_CALM), End::GoawayAndReset(Reason::ENHANCE_YOUR_CALM)];
const TOO_LARGE: [End; 3] =
    [End::Goaway(Reason::PROTOCOL_ERROR), End::GoawayAndReset(Reason::COMPRESSION_ERROR), End::Close];

#[tokio::test]
async fn an_endpoint_that_ends_a_flooded_connection_charges_nobody() {
    for end in FLOODED {
        let (bench, mut client) = end_under("POST", end, 0).await;
        assert_eq!(client.answer().await.status, 502, "{end:?}");
        bench.ended(NOBODY).await;
        let (bench, mut client) = end_under("PUT", end, 0).await;
        client.try_answer(false).await.expect("an answer");
        bench.ended(Row { error: Some("http_response_incomplete"), ..NOBODY }).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_ends_a_connection_for_a_large_head_charges_nobody() {
    for end in TOO_LARGE {
        let (bench, mut client) = end_under("POST", end, 4096).await;
        assert_eq!(client.answer().await.status, 502, "{end:?}");
        bench.ended(NOBODY).await;
    }
}

#[tokio::test]
async fn a_request_that_can_be_repeated_is_sent_again_when_others_ended_its_connection() {
    for (end, field) in FLOODED.map(|end| (end, 0)).into_iter().chain(TOO_LARGE.map(|end| (end, 4096))) {
        let (bench, mut client) = end_under("GET", end, field).await;
        assert_eq!(client.answer().await.status, 200, "{end:?}");
        bench.ended(Row { error: None, blame: None, evidence: Evidence::Good, ejected: false }).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_behind_a_large_head_has_nobody_charged() {
    let endpoints = Endpoints::start(End::Close).await;
    let bench = Bench::before_one(&endpoints.addresses[0], HTTP2).await;
    let mut client = bench.send(&request("POST", "/case", 0)).await;
    endpoints.asked(1).await;
    let stranger = bench.send(&request("POST", "/case?", 4096)).await;
    endpoints.asked(2).await;
    drop(stranger);
    bench.site.logged(|line| line["path"] == "/case?").await;
    let mut end = bench.send(&request("POST", "/end", 0)).await;
    assert_eq!((client.answer().await.status, end.answer().await.status), (502, 502));
    bench.ended(NOBODY).await;
}

#[tokio::test]
async fn an_endpoint_that_ends_a_connection_for_such_a_reason_is_not_ejected() {
    for (end, field) in FLOODED.map(|end| (end, 0)).into_iter().chain(TOO_LARGE.map(|end| (end, 4096))) {
        let bench = Bench::before(Endpoints::start(end).await.addresses, HTTP2).await;
        let mut client = bench.send(&request("GET", "/end?case", field)).await;
        assert_eq!(client.answer().await.status, 502, "{end:?}");
        bench.ended_at("/end?case", NOBODY).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_ends_a_connection_without_such_a_reason_is_charged() {
    for end in [End::Goaway(Reason::PROTOCOL_ERROR), End::GoawayAndReset(Reason::INTERNAL_ERROR), End::Close] {
        let endpoints = Endpoints::start(end).await;
        let bench = Bench::before(endpoints.addresses, HTTP2).await;
        let mut client = bench.send(&request("POST", "/end?case", 0)).await;
        assert_eq!(client.answer().await.status, 502, "{end:?}");
        bench
            .ended_at("/end?case", Row { blame: Some("endpoint"), evidence: Evidence::Error, ejected: true, ..NOBODY })
            .await;
    }
}

#[tokio::test]
async fn a_request_whose_stream_is_reset_for_calm_is_not_sent_again() {
    let endpoints = Endpoints::start(End::Close).await;
    let bench = Bench::before_one(&endpoints.addresses[0], HTTP2).await;
    let mut client = bench.connect().await;
    for (path, status) in [("/", 200), ("/calm", 502)] {
        client.send(&request("GET", path, 0)).await;
        assert_eq!(client.answer().await.status, status);
    }
    assert_eq!(endpoints.requests.load(Ordering::Relaxed), 2, "each was sent once");
}

#[tokio::test]
async fn an_http1_endpoint_that_closes_at_a_large_head_is_not_charged() {
    let large = request("GET", "/case", 4096);
    let bench = Bench::start(Does::SayAndClose("")).await;
    let mut client = bench.send(&large).await;
    assert_eq!(client.answer().await.status, 502);
    bench.ended(NOBODY).await;
    // It has taken the head.
    let bench = Bench::start(Does::SayAndClose("HTTP/1.1 200 OK\r\nContent-Le")).await;
    let mut client = bench.send(&large).await;
    assert_eq!(client.answer().await.status, 502);
    bench.blames_endpoint(Some("http_protocol_error"), true).await;
}
