//! Answers that the proxy gives itself: they follow the head check, the framing and the host on every listener and in every
//! version, and leave the same traces as all others.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use crate::application::{Application, pair};
use crate::certificates::Authority;
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// A proxy with all three listeners for requests.
struct Site {
    blue: Application,
    green: Application,
    proxy: Proxy,
    authority: Arc<Authority>,
    https: SocketAddr,
    preview: SocketAddr,
}

#[derive(Clone, Copy, Debug)]
enum Listener {
    Http,
    Https,
    Preview,
}

const LISTENERS: [Listener; 3] = [Listener::Http, Listener::Https, Listener::Preview];

impl Site {
    async fn start(listen: &str) -> Site {
        let (blue, green) = pair().await;
        let authority = Authority::new();
        let dir = tempfile::tempdir().expect("a directory");
        authority.issue(&["site.test", "127.0.0.1"]).write(dir.path(), "site");
        let mut setup = Setup::new(&blue, &green);
        setup.listen = format!("https = \"127.0.0.1:0\"\npreview = \"127.0.0.1:0\"\n{listen}");
        let path = dir.path().display();
        setup.more = format!(
            "[tls]\ncertificates = [{{ cert = \"{path}/site.pem\", key = \"{path}/site.key\" }}]\n\
             [preview]\nallow = [\"127.0.0.2\"]\n"
        );
        let text = setup.text(dir.path());
        let proxy = Proxy::start_in(dir, &text).await;
        let status = proxy.status().await;
        let address = |value: &serde_json::Value| value.as_str().and_then(|at| at.parse().ok()).expect("an address");
        let (https, preview) = (address(&status["https_address"]), address(&status["preview"]["address"]));
        Site { blue, green, proxy, authority: Arc::new(authority), https, preview }
    }

    async fn connect(&self, listener: Listener) -> Connection {
        match listener {
            Listener::Http => self.proxy.connect().await,
            Listener::Https => self.authority.http1(self.https, "site.test").await,
            Listener::Preview => Connection::tcp(self.preview).await,
        }
    }

    /// The one answer to these bytes, and every byte that follows it until the end of the connection.
    async fn only(&self, listener: Listener, bytes: &[u8], to_head: bool) -> (Answer, Vec<u8>) {
        let mut client = self.connect(listener).await;
        let _ = client.try_send(bytes).await;
        let answer = client.try_answer(to_head).await.expect("an answer");
        (answer, client.rest().await)
    }

    fn heads(&self) -> Vec<String> {
        [self.blue.heads(), self.green.heads()].concat()
    }

    async fn until_logged(&self, status: u16, path: &str, count: usize) {
        let (status, path) = (format!("\"status\":{status},"), format!("\"path\":\"{path}\""));
        until(&format!("{count} lines with {status} and {path}"), async || {
            let log = std::fs::read_to_string(self.proxy.dir.path().join("access.log")).unwrap_or_default();
            let found = log.lines().filter(|line| line.contains(&status) && line.contains(&path)).count();
            assert!(found <= count, "{found} lines:\n{log}");
            (found == count).then_some(())
        })
        .await;
    }
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_body_to_the_readiness_path_never_becomes_a_request() {
    let site = Site::start("").await;
    let length = SMUGGLED.len();
    let chunk = format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let rows = [
        ("a length", "GET", format!("Content-Length: {length}\r\n\r\n{SMUGGLED}")),
        ("HEAD with a length", "HEAD", format!("Content-Length: {length}\r\n\r\n{SMUGGLED}")),
        ("chunks", "GET", format!("Transfer-Encoding: chunked\r\n\r\n{chunk}")),
        ("HEAD with chunks", "HEAD", format!("Transfer-Encoding: chunked\r\n\r\n{chunk}")),
        ("half of a body", "GET", format!("Content-Length: 1000\r\n\r\n{SMUGGLED}")),
        ("a length, waiting for 100", "GET", format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n")),
    ];
    for listener in LISTENERS {
        for (name, method, rest) in &rows {
            let bytes = format!("{method} /.cutover/ready HTTP/1.1\r\nHost: a\r\n{rest}");
            let (answer, after) = site.only(listener, bytes.as_bytes(), *method == "HEAD").await;
            assert_eq!(answer.status, 200, "{name} on {listener:?}: {answer:?}");
            assert_eq!(answer.interim, [0_u16; 0], "{name} on {listener:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{name} on {listener:?}");
            assert!(after.is_empty(), "{name} on {listener:?}: {:?} follows", String::from_utf8_lossy(&after));
        }
    }
    assert!(!site.heads().iter().any(|head| head.contains("smuggled")), "{:?}", site.heads());
    site.until_logged(200, "/.cutover/ready", LISTENERS.len() * rows.len()).await;
}

#[tokio::test]
async fn readiness_is_asked_many_times_on_one_connection_and_without_a_host_by_http_1_0() {
    let site = Site::start("https_redirect = 443").await;
    for listener in LISTENERS {
        let mut client = site.connect(listener).await;
        for _ in 0..3 {
            assert_eq!(client.get("/.cutover/ready").await.text(), "ready\n");
            client.send("HEAD /.cutover/ready HTTP/1.1\r\nHost:\r\n\r\n").await;
            assert_eq!(client.answer_to_head().await.status, 200);
            client.send("GET /.cutover/ready HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(client.answer().await.text(), "ready\n");
        }
        let (answer, after) = site.only(listener, b"GET /.cutover/ready HTTP/1.0\r\n\r\n", false).await;
        assert_eq!((answer.status, answer.text(), after.len()), (200, "ready\n", 0));
    }
    assert!(site.heads().is_empty(), "{:?}", site.heads());
}

#[tokio::test]
async fn malformed_requests_get_400_on_the_readiness_path_and_before_a_redirect() {
    let site = Site::start("https_redirect = 443").await;
    let rows = [
        ("no Host", "\r\n".to_owned()),
        ("two Hosts", "Host: a\r\nHost: b\r\n\r\n".to_owned()),
        ("a Host with a path", "Host: a/b\r\n\r\n".to_owned()),
        ("a length with a sign", format!("Host: a\r\nContent-Length: +5\r\n\r\n{SMUGGLED}")),
        ("two lengths", format!("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{SMUGGLED}")),
        (
            "a length beside a coding",
            format!("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        ("an unknown coding", format!("Host: a\r\nTransfer-Encoding: gzip\r\n\r\n{SMUGGLED}")),
    ];
    for path in ["/.cutover/ready", "/elsewhere"] {
        for listener in LISTENERS {
            for (name, rest) in &rows {
                let bytes = format!("GET {path} HTTP/1.1\r\n{rest}");
                let (answer, after) = site.only(listener, bytes.as_bytes(), false).await;
                assert_eq!(answer.status, 400, "{name} at {path} on {listener:?}: {answer:?}");
                assert_eq!(answer.header("connection"), Some("close"), "{name} at {path} on {listener:?}");
                assert!(after.is_empty(), "{name} at {path} on {listener:?}: {:?}", String::from_utf8_lossy(&after));
            }
        }
        site.until_logged(400, path, LISTENERS.len() * rows.len()).await;
    }
    assert!(site.heads().is_empty(), "{:?}", site.heads());
}

#[tokio::test]
async fn a_redirect_names_a_place_or_is_refused_and_its_body_goes_nowhere() {
    let site = Site::start("https_redirect = 443").await;
    let location = async |bytes: String| {
        let (answer, after) = site.only(Listener::Http, bytes.as_bytes(), false).await;
        assert!(after.is_empty(), "{bytes:?}: {:?}", String::from_utf8_lossy(&after));
        (answer.status, answer.header("location").map(str::to_owned))
    };
    let last = "Connection: close\r\n";
    for (request, expected) in [
        (format!("OPTIONS * HTTP/1.1\r\nHost: a:8080\r\n{last}\r\n"), "https://a"),
        (format!("GET /x?y HTTP/1.1\r\nHost: a\r\n{last}\r\n"), "https://a/x?y"),
        (format!("GET http://b?y HTTP/1.1\r\nHost: a\r\n{last}\r\n"), "https://b/?y"),
        (format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()), "https://a/x"),
        (format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"), "https://a/x"),
    ] {
        assert_eq!(location(request.clone()).await, (308, Some(expected.to_owned())), "{request:?}");
    }
    // Without a host there is no place to go to.
    for request in [
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost:\r\n{last}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nHost:\r\n{last}\r\n"),
    ] {
        assert_eq!(location(request.clone()).await, (400, None), "{request:?}");
    }
    assert!(site.heads().is_empty(), "{:?}", site.heads());
    site.until_logged(308, "/x", 2).await;
    site.until_logged(308, "*", 1).await;
}

#[tokio::test]
async fn over_http_2_a_body_to_the_readiness_path_is_read_by_nobody() {
    let site = Site::start("").await;
    let over_tls = site.authority.connect(site.https, "site.test", &["h2"], None).await.expect("tls");
    let clients = [
        crate::http2::Client::connect(site.proxy.http).await,
        crate::http2::Client::connect(site.preview).await,
        crate::http2::Client::over(over_tls).await,
    ];
    for mut client in clients {
        for method in ["GET", "HEAD"] {
            let request = Request::builder().method(method).uri("http://test/.cutover/ready").body(()).expect("one");
            let (answer, mut send) = client.begin(request, false).await.expect("it is taken");
            let _ = send.send_data(Bytes::from_static(SMUGGLED.as_bytes()), true);
            assert_eq!(soon("a head", answer).await.expect("an answer").status(), 200, "{method}");
        }
        let request = Request::get("http://test/.cutover/ready").body(()).expect("a request");
        assert_eq!(client.ask(request).await.text(), "ready\n", "the connection serves the next request");
    }
    assert!(site.heads().is_empty(), "{:?}", site.heads());
}
