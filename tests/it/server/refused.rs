//! What ends at the proxy leaves a trace: a line in the access log and a counter with the reason.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::application::Application;
use crate::certificates::Authority;
use crate::client::Connection;
use crate::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, PING, RST_STREAM, Raw, block, frame};
use crate::proxy::{Proxy, Setup};
use crate::server::http2_bounds::into_table;
use crate::until;

/// A proxy with `http` and `https`.
struct Site {
    applications: [Application; 2],
    proxy: Proxy,
    authority: Authority,
    https: SocketAddr,
}

impl Site {
    async fn start(listen: &str, tls: &str, more: &str) -> Site {
        let applications = [Application::start("blue").await, Application::start("green").await];
        let authority = Authority::new();
        let dir = tempfile::tempdir().expect("a directory");
        authority.issue(&["site.test", "127.0.0.1"]).write(dir.path(), "site");
        let mut setup = Setup::new(&applications[0], &applications[1]);
        setup.listen = format!("https = \"127.0.0.1:0\"\n{listen}");
        let path = dir.path().display();
        setup.more = format!(
            "[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n{tls}\n{more}"
        );
        let text = setup.text(dir.path());
        let proxy = Proxy::start_in(dir, &text).await;
        let https = proxy.status().await["https_address"].as_str().and_then(|at| at.parse().ok()).expect("an address");
        Site { applications, proxy, authority, https }
    }

    /// All counts above 0.
    async fn counts(&self) -> Vec<(String, u64)> {
        let page = self.proxy.admin("GET", "/metrics", "").await;
        let series = page.text().lines().filter_map(|line| {
            let (reason, count) = line.strip_prefix("cutover_refused_total{reason=\"")?.split_once("\"} ")?;
            Some((reason.to_owned(), count.parse().expect("a number")))
        });
        series.collect()
    }

    /// Waits until the reason, and nothing else, was counted this often, with a line for each in the access log.
    async fn until(&self, reason: &str, count: u64) {
        until(&format!("{count} {reason}"), async || {
            let counts: Vec<_> = self.counts().await.into_iter().filter(|(_, count)| *count > 0).collect();
            let only = counts.iter().all(|(counted, n)| counted == reason && *n <= count);
            assert!(only, "{counts:?} instead of {count} {reason}");
            let log = self.access_log();
            let wanted = format!("\"refused\":\"{reason}\"");
            let lines = log.lines().filter(|line| line.contains(&wanted)).count() as u64;
            (counts.len() == 1 && counts[0].1 == count && lines == count).then_some(())
        })
        .await;
    }

    /// The line of the request for this path, and what else is in the log.
    async fn line(&self, path: &str) -> serde_json::Value {
        until(&format!("a line for {path}"), async || {
            let log = self.access_log();
            log.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .find(|line: &serde_json::Value| line["path"] == path)
        })
        .await
    }

    fn access_log(&self) -> String {
        std::fs::read_to_string(self.proxy.dir.path().join("access.log")).unwrap_or_default()
    }
}

/// Sends bytes, and waits for the end of the connection.
async fn sent(address: SocketAddr, bytes: &[u8]) {
    let mut client = Connection::tcp(address).await;
    let _ = client.try_send(bytes).await;
    client.rest().await;
}

#[tokio::test]
async fn every_reason_is_a_series_from_the_start() {
    let site = Site::start("", "", "").await;
    let counts = site.counts().await;
    assert!(counts.iter().all(|(_, count)| *count == 0), "{counts:?}");
    for reason in
        ["malformed", "head_too_large", "slow_head", "https_redirect", "tls_handshake", "http2_flood", "memory"]
    {
        assert!(counts.iter().any(|(counted, _)| counted == reason), "{reason} in {counts:?}");
    }
}

#[tokio::test]
async fn requests_that_the_proxy_answers_are_counted_by_their_reason() {
    let site = Site::start(
        "max_body = \"1KiB\"\nmax_header_bytes = \"8KiB\"",
        "",
        "[[route]]\nhost = \"a\"\nupstream = \"default\"",
    )
    .await;
    let long = "x".repeat(10_000);
    for (reason, request) in [
        ("malformed", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("malformed", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n".to_owned()),
        ("malformed", "nonsense\r\n\r\n".to_owned()),
        ("malformed", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned()),
        ("head_too_large", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        ("body_too_large", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n".to_owned()),
        ("no_route", "GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned()),
    ] {
        let count = async || site.counts().await.into_iter().find(|(of, _)| of == reason).map_or(0, |(_, count)| count);
        let before = count().await;
        sent(site.proxy.http, request.as_bytes()).await;
        until(reason, async || (count().await == before + 1).then_some(())).await;
    }
    let wanted = ["malformed", "malformed", "malformed", "malformed", "head_too_large", "body_too_large", "no_route"];
    until("each is a line", async || {
        let log = site.access_log();
        (log.lines().count() == wanted.len()).then_some(())
    })
    .await;
    let log = site.access_log();
    for reason in wanted {
        let found = log.lines().filter(|line| line.contains(&format!("\"refused\":\"{reason}\""))).count();
        assert_eq!(found, wanted.iter().filter(|other| **other == reason).count(), "{reason} in {log}");
    }
}

#[tokio::test]
async fn a_redirect_is_counted() {
    let site = Site::start("https_redirect = 443", "", "").await;
    sent(site.proxy.http, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    site.until("https_redirect", 1).await;
    assert!(
        site.access_log().contains("\"path\":\"/x\",\"protocol\":\"HTTP/1.1\",\"status\":308"),
        "{}",
        site.access_log()
    );
}

#[tokio::test]
async fn a_slow_head_and_half_a_head_are_counted() {
    let site = Site::start("header_timeout = \"100ms\"", "", "").await;
    sent(site.proxy.http, b"GET / HTTP/1.1\r\nHo").await;
    site.until("slow_head", 1).await;
    assert!(site.access_log().contains("\"status\":408"), "{}", site.access_log());

    let site = Site::start("", "", "").await;
    for half in ["P", "GET / HTTP/1.1\r\nHo"] {
        let mut client = TcpStream::connect(site.proxy.http).await.expect("the proxy accepts");
        client.write_all(half.as_bytes()).await.expect("it is taken");
    }
    site.until("incomplete_head", 2).await;
    // A connection without a byte is no request.
    drop(TcpStream::connect(site.proxy.http).await);
    drop(site.proxy.connect().await.get("/").await);
    site.until("incomplete_head", 2).await;
}

#[tokio::test]
async fn a_head_has_one_deadline_from_its_first_byte() {
    let site = Site::start("header_timeout = \"1s\"", "", "").await;
    let slow = async |more: bool| {
        let mut client = site.proxy.connect().await;
        // It can still become HTTP/2.
        client.send("P").await;
        if more {
            tokio::time::sleep(Duration::from_millis(700)).await;
            client.send("OST / HTTP/1.1\r\nHo").await;
        }
        assert_eq!(client.answer().await.status, 408);
        Instant::now()
    };
    let (one, two) = tokio::join!(slow(false), slow(true));
    assert!(two.saturating_duration_since(one) < Duration::from_millis(500), "the second byte began a new deadline");
    site.until("slow_head", 2).await;
}

#[tokio::test]
async fn an_http_2_connection_that_stops_in_its_beginning_is_counted() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let site = Site::start("header_timeout = \"100ms\"", "", "").await;
    sent(site.proxy.http, preface).await;
    site.until("slow_head", 1).await;
    // Over TLS.
    let mut silent = site.authority.connect(site.https, "site.test", &["h2"], None).await.expect("tls");
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut Vec::new()).await;
    site.until("slow_head", 2).await;

    let site = Site::start("", "", "").await;
    let mut client = TcpStream::connect(site.proxy.http).await.expect("the proxy accepts");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let half_of_headers = [0, 0, 9, 1, 4, 0, 0, 0, 1, 0x82];
    client.write_all(&[&preface[..], &settings, &half_of_headers].concat()).await.expect("it is taken");
    drop(client);
    site.until("incomplete_head", 1).await;
}

#[tokio::test]
async fn failed_handshakes_are_counted_and_named_in_the_log_at_a_bounded_rate() {
    let site = Site::start("", "handshake_timeout = \"1s\"", "").await;
    // A check of the port is no handshake.
    drop(TcpStream::connect(site.https).await);
    for _ in 0..30 {
        sent(site.https, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    site.until("tls_handshake", 30).await;
    // Ten for each of two workers.
    let lines = site.proxy.log().lines().filter(|line| line.contains("tls_handshake")).count();
    assert!((1..=20).contains(&lines), "{lines} lines:\n{}", site.proxy.log());
    assert!(site.proxy.log().contains("corrupt message"), "{}", site.proxy.log());
    // One that does not trust the certificate says so.
    let stranger = Authority::new();
    assert!(stranger.connect(site.https, "site.test", &[], None).await.is_err());
    site.until("tls_handshake", 31).await;
    // One that begins and stops.
    let mut slow = TcpStream::connect(site.https).await.expect("the proxy accepts");
    slow.write_all(b"\x16\x03\x01").await.expect("it is taken");
    site.until("tls_handshake", 32).await;
    assert_eq!(site.authority.http1(site.https, "site.test").await.get("/").await.status, 200);
}

#[tokio::test]
async fn wrong_proxy_headers_are_counted() {
    let site = Site::start("proxy_protocol = [\"127.0.0.1\"]\nheader_timeout = \"100ms\"", "", "").await;
    drop(TcpStream::connect(site.proxy.http).await);
    sent(site.proxy.http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    site.until("proxy_header", 1).await;
    sent(site.proxy.http, b"PROXY TCP4 ").await;
    site.until("proxy_header", 2).await;
    sent(site.https, b"PROXY nonsense\r\n").await;
    site.until("proxy_header", 3).await;
    assert!(site.proxy.log().contains("the PROXY header is not valid"), "{}", site.proxy.log());
}

/// Says over HTTP/2 what nobody should.
async fn say(site: &Site, frames: &[Vec<u8>]) -> Raw {
    let mut client = Raw::connect(site.proxy.http).await;
    client.send(frames.concat()).await;
    client
}

#[tokio::test]
async fn what_is_refused_over_http2_is_counted() {
    let request = |stream: u32, path: &str| {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)];
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    };
    let ping = frame(PING, 0, 0, &[0; 8]);
    let half = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    // An entry of the table that is named a hundred times.
    let amplified =
        [&block(&[(":method", "GET")])[..], &[0x40, 1, b'x', 100], &[b'y'; 100], &[0x80 | 62; 700]].concat();
    for (reason, frames) in [
        ("http2_streams", vec![request(1, "/gated"), request(3, "/")]),
        ("http2_flood", vec![ping.repeat(11_000)]),
        ("http2_protocol", vec![frame(PING, 0, 1, &[0; 8])]),
        ("malformed", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":method", "GET")]))]),
        ("head_too_large", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &amplified)]),
        ("slow_head", vec![half]),
    ] {
        let listen = "max_concurrent_streams = 1\nheader_timeout = \"300ms\"";
        let site = Site::start(listen, "", "").await;
        let _client = say(&site, &frames).await;
        site.until(reason, 1).await;
    }
}

#[tokio::test]
async fn a_burst_of_refused_streams_is_counted_and_has_a_few_lines() {
    let site = Site::start("max_concurrent_streams = 1", "", "").await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/gated")];
    let request = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields));
    // The first one is under way, and the others are too many.
    let _client = say(&site, &(0..101).map(|number| request(2 * number + 1)).collect::<Vec<_>>()).await;
    let counted = "cutover_refused_total{reason=\"http2_streams\"} 100";
    until("all of them are counted", async || {
        site.proxy.admin("GET", "/metrics", "").await.text().contains(counted).then_some(())
    })
    .await;
    let path = site.proxy.dir.path().join("access.log");
    // Another line behind them.
    site.proxy.get("/behind").await;
    let lines = until("they are written", async || {
        let log = std::fs::read_to_string(&path).ok()?;
        let lines = log.lines().filter(|line| line.contains("http2_streams")).count();
        (lines > 0 && log.contains("/behind")).then_some(lines)
    })
    .await;
    assert!(lines <= 50, "{lines} lines");
}

#[tokio::test]
async fn requests_that_turn_out_malformed_behind_their_head_are_counted_over_http2() {
    let site = Site::start("", "", "").await;
    let head = |path: &str, length: Option<&str>| {
        let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)];
        let fields: Vec<_> = fields.into_iter().chain(length.map(|length| ("content-length", length))).collect();
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    let body = frame(DATA, END_STREAM, 1, b"hello");
    let trailers = |name: &str| frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(name, "x")]));
    let mut count = 0;
    for (length, rest) in [
        (Some("4"), body.clone()),
        (Some("6"), body),
        (None, trailers(":path")),
        (None, trailers("X-Y")),
        (None, trailers("connection")),
        (None, frame(HEADERS, END_HEADERS, 1, &block(&[("x", "y")]))),
    ] {
        for (path, at_once) in [("/hangs", true), ("/.cutover/ready", true), ("/hangs", false), ("/gated", false)] {
            let asked = site.applications[0].heads().len();
            let mut client = Raw::connect(site.proxy.http).await;
            if at_once {
                client.send([head(path, length), rest.clone()].concat()).await;
            } else {
                client.send(head(path, length)).await;
                until("the request is under way", async || (site.applications[0].heads().len() > asked).then_some(()))
                    .await;
            }
            // The head of this answer comes before its gate opens.
            let has_begun = path == "/gated";
            if has_begun {
                assert!(matches!(client.outcome(1).await, Outcome::Answer(200)));
            }
            if !at_once {
                client.send(&rest).await;
            }
            let outcome = client.outcome(1).await;
            assert!(matches!(outcome, Outcome::Reset), "{outcome:?} for {path}, {length:?}, {rest:?}, {at_once}");
            count += 1;
            site.until("malformed", count).await;
            let log = site.access_log();
            let line = log.lines().last().unwrap_or_default();
            let status = format!("\"status\":{}", if has_begun { 200 } else { 400 });
            for wanted in [&*status, "\"error\":\"http_request_error\"", "\"blame\":\"client\""] {
                assert!(line.contains(wanted), "{wanted} in {line}");
            }
            assert_eq!(log.lines().count() as u64, count, "one line each: {log}");
        }
    }
}

fn request(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

#[tokio::test]
async fn a_request_that_is_given_up_at_once_leaves_its_line() {
    let site = Site::start("", "", "").await;
    let head = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/given-up?x"));
    let _client = say(&site, &[head, frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]).await;
    let line = site.line("/given-up?x").await;
    assert_eq!(
        (&line["status"], &line["error"], &line["blame"]),
        (&499.into(), &"client_left".into(), &"client".into())
    );
    assert_eq!((&line["method"], &line["host"], &line["client"]), (&"GET".into(), &"a".into(), &"127.0.0.1".into()));
    assert!(line["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    assert!(!site.applications[0].heads().iter().any(|head| head.contains("given-up")), "nobody was asked");
}

#[tokio::test]
async fn trailers_without_room_are_the_proxys() {
    let site = Site::start("", "", "").await;
    let first = frame(HEADERS, END_HEADERS, 1, &[request("POST", "/hangs?1"), into_table(3500)].concat());
    let large = [&request("GET", "/hangs")[..], &[0x80 | 62; 16]].concat();
    let others = (1..60).map(|nth| frame(HEADERS, END_HEADERS | END_STREAM, 2 * nth + 1, &large));
    let frames: Vec<_> = [first].into_iter().chain(others).collect();
    let mut client = say(&site, &frames).await;
    until("the account is full", async || site.access_log().contains("\"refused\":\"memory\"").then_some(())).await;
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80 | 62; 16])).await;
    let line = site.line("/hangs?1").await;
    assert_eq!((&line["status"], &line["error"]), (&503.into(), &"proxy_internal_error".into()), "{line}");
    assert_eq!((&line["refused"], &line["blame"]), (&"memory".into(), &"proxy".into()), "{line}");
}

#[tokio::test]
async fn streams_that_end_with_their_connection_are_no_clients_that_left() {
    for (reason, end) in
        [("http2_protocol", frame(PING, 0, 1, &[0; 8])), ("http2_flood", frame(PING, 0, 0, &[0; 8]).repeat(11_000))]
    {
        let site = Site::start("", "", "").await;
        let heads = ["/hangs", "/gated"].into_iter().zip([1, 3]);
        let heads = heads.map(|(path, id)| frame(HEADERS, END_HEADERS | END_STREAM, id, &request("GET", path)));
        let mut client = say(&site, &heads.collect::<Vec<_>>()).await;
        assert!(matches!(client.outcome(3).await, Outcome::Answer(200)));
        // One that nobody has looked at comes with the end.
        let late = frame(HEADERS, END_HEADERS | END_STREAM, 5, &request("GET", "/late"));
        client.send([late, end].concat()).await;
        for (path, status) in [("/hangs", 400), ("/gated", 200), ("/late", 400)] {
            let line = site.line(path).await;
            assert_eq!((&line["status"], &line["error"]), (&status.into(), &"http_request_error".into()), "{line}");
            assert_eq!((&line["refused"], &line["blame"]), (&serde_json::Value::Null, &"client".into()), "{line}");
        }
        site.until(reason, 1).await;
        assert!(!site.access_log().contains("client_left"), "{}", site.access_log());
    }
}
