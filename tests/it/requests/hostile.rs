//! What is sent to break the proxy: by clients, by endpoints, by numbers, by slowness, and by whoever runs it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::{Application, pair};
use crate::client::{Answer, Connection};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// Sends these bytes as a client of their own: the one answer, if there is one, and what comes after it.
async fn sent(proxy: &Proxy, bytes: &[u8]) -> (Option<Answer>, Vec<u8>) {
    let mut client = proxy.connect().await;
    // It may be refused, and closed, before all of it is sent.
    let _ = client.try_send(bytes).await;
    let answer = client.try_answer(false).await;
    (answer, client.rest().await)
}

fn access_log(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default()
}

async fn until_access_log(proxy: &Proxy, text: &str) {
    until(&format!("the access log says {text}"), async || access_log(proxy).contains(text).then_some(())).await;
}

/// Each must be refused, the connection closed, and what follows it must not be taken for a request.
async fn refused(proxy: &Proxy, blue: &Application, rows: &[(&str, u16, Vec<u8>)]) {
    for (name, status, bytes) in rows {
        let (answer, rest) = sent(proxy, bytes).await;
        let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, *status, "{name}: {answer:?}");
        let reason = answer.header("proxy-status").unwrap_or_else(|| panic!("{name}: no reason in {answer:?}"));
        assert!(reason.starts_with("cutover; error="), "{name}: {reason}");
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
        assert!(rest.is_empty(), "{name}: {:?} follows", String::from_utf8_lossy(&rest));
    }
    for head in blue.heads() {
        assert!(!head.contains("smuggled"), "reached the endpoint: {head}");
    }
    assert_eq!(proxy.color().await, "blue", "everybody else is served");
    until("each is a line in the access log", async || {
        let log = access_log(proxy);
        let lines = log.lines().filter(|line| !line.contains("\"status\":200")).count();
        assert!(lines <= rows.len(), "{lines} lines:\n{log}");
        (lines == rows.len()).then_some(())
    })
    .await;
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{SMUGGLED}").into_bytes()
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}{SMUGGLED}").into_bytes()
}

fn raw(text: &str) -> Vec<u8> {
    format!("{text}{SMUGGLED}").into_bytes()
}

#[tokio::test]
async fn a_head_that_is_malformed_is_refused_with_its_reason_and_the_connection_closed() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let rows = [
        ("a bare CR in a value", 400, get("X: a\rb\r\n")),
        ("a bare CR for a line's end", 400, get("X: a\rY: b\r\n")),
        ("a bare LF for a line's end", 400, get("X: a\nY: b\r\n")),
        ("bare LFs only", 400, raw("GET / HTTP/1.1\nHost: a\n\n")),
        ("NUL in a value", 400, get("X: a\0b\r\n")),
        ("VT in a value", 400, get("X: a\x0bb\r\n")),
        ("DEL in a value", 400, get("X: a\x7fb\r\n")),
        ("NUL in a name", 400, get("X\0: a\r\n")),
        ("a space in a name", 400, get("X Y: a\r\n")),
        ("a space before the colon", 400, get("X : a\r\n")),
        ("no colon", 400, get("X\r\n")),
        ("no name", 400, get(": x\r\n")),
        ("a folded line", 400, get("X: a\r\n b\r\n")),
        ("a line folded with a tab", 400, get("X: a\r\n\tb\r\n")),
        ("a folded first field", 400, raw("GET / HTTP/1.1\r\n Host: a\r\n\r\n")),
        ("no Host", 400, raw("GET / HTTP/1.1\r\n\r\n")),
        ("two Hosts", 400, get("Host: b\r\n")),
        ("two equal Hosts", 400, get("Host: a\r\n")),
        ("a Host with a space", 400, raw("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")),
        ("a Host with a path", 400, raw("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n")),
        ("a Host with a user", 400, raw("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n")),
        ("a Host with two ports", 400, raw("GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n")),
        ("a Host with a port that is none", 400, raw("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n")),
        ("a Host with half a bracket", 400, raw("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n")),
        ("a Host with a name behind a bracket", 400, raw("GET / HTTP/1.1\r\nHost: [::1]b\r\n\r\n")),
        ("an absolute target with two ports", 400, raw("GET http://a:80:81/ HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a Connection field with many members", 400, get(&format!("Connection: {}\r\n", "x,".repeat(29_000)))),
        ("a Host that is not ASCII", 400, raw("GET / HTTP/1.1\r\nHost: ä\r\n\r\n")),
        ("a method with a control character", 400, raw("G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a method with a separator", 400, raw("G(T / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("no method", 400, raw(" / HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a space in the target", 400, raw("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a control character in the target", 400, raw("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a target that is a name", 400, raw("GET example.com HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a target that is an authority", 400, raw("GET example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("an absolute target without a Host", 400, raw("GET http://a/ HTTP/1.1\r\n\r\n")),
        ("an absolute target with two Hosts", 400, raw("GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
        ("an absolute target with a user", 400, raw("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("an absolute target without an authority", 400, raw("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("another scheme", 400, raw("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("GET *", 400, raw("GET * HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("CONNECT", 400, raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")),
        ("HTTP/0.9", 400, raw("GET /\r\n")),
        ("HTTP/1.2", 400, raw("GET / HTTP/1.2\r\nHost: a\r\n\r\n")),
        ("HTTP/2.0 by name", 400, raw("GET / HTTP/2.0\r\nHost: a\r\n\r\n")),
        ("an unknown protocol", 400, raw("GET / ICAP/1.0\r\nHost: a\r\n\r\n")),
        ("a TLS hello", 400, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03abcdefgh\r\n\r\n".to_vec()),
        ("nonsense", 400, raw("\x01\x02\x03\r\n\r\n")),
    ];
    refused(&proxy, &blue, &rows).await;
}

#[tokio::test]
async fn a_length_or_coding_that_can_be_read_in_two_ways_is_refused_and_nothing_is_smuggled() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    let rows = [
        ("length, then chunks", 400, post(&format!("{length}{chunked}"), "0\r\n\r\n")),
        ("chunks, then length", 400, post(&format!("{chunked}{length}"), "0\r\n\r\n")),
        ("chunks, then length 0", 400, post(&format!("{chunked}Content-Length: 0\r\n"), "0\r\n\r\n")),
        ("both, in other letters", 400, post("tRANSFER-eNCODING: chunked\r\ncONTENT-lENGTH: 5\r\n", "0\r\n\r\n")),
        ("both, without a body", 400, get(&format!("{length}{chunked}"))),
        ("differing lengths", 400, post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")),
        ("a list of differing lengths", 400, post("Content-Length: 5, 6\r\n", "hello!")),
        ("a list of equal lengths", 400, post("Content-Length: 5, 5\r\n", "hello")),
        ("a length with a sign", 400, post("Content-Length: +5\r\n", "hello")),
        ("a negative length", 400, post("Content-Length: -5\r\n", "hello")),
        ("a length in hex", 400, post("Content-Length: 0x5\r\n", "hello")),
        ("a length with a tail", 400, post("Content-Length: 5 5\r\n", "hello")),
        ("an empty length", 400, post("Content-Length: \r\n", "hello")),
        ("a length beyond 64 bits", 400, post("Content-Length: 18446744073709551621\r\n", "hello")),
        ("an unknown coding", 400, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("identity", 400, post("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello")),
        ("chunked is not the last", 400, post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("another coding before chunked", 400, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
        ("chunked twice", 400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
        ("two codings", 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")),
        ("two codings, chunked last", 400, post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("twice the same coding", 400, post(&chunked.repeat(2), "0\r\n\r\n")),
        ("VT before the coding", 400, post("Transfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("a space before the colon", 400, post("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("a folded coding", 400, post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        ("a quoted coding", 400, post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
        ("a coding hidden by a bare LF", 400, post("X: y\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("a coding hidden by a bare CR", 400, post("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("chunks in HTTP/1.0", 400, raw(&format!("POST /echo HTTP/1.0\r\nHost: a\r\n{chunked}\r\n0\r\n\r\n"))),
    ];
    refused(&proxy, &blue, &rows).await;
}

#[tokio::test]
async fn chunks_that_are_none_are_refused() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let rows = [
        ("a size in 0x", 400, chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        ("a negative size", 400, chunked("-5\r\nhello\r\n0\r\n\r\n")),
        ("a size with a sign", 400, chunked("+5\r\nhello\r\n0\r\n\r\n")),
        ("a space before the size", 400, chunked(" 5\r\nhello\r\n0\r\n\r\n")),
        ("a space within the size", 400, chunked("1 0\r\nhello\r\n0\r\n\r\n")),
        ("no size", 400, chunked("\r\nhello\r\n0\r\n\r\n")),
        ("a size that is none", 400, chunked("five\r\nhello\r\n0\r\n\r\n")),
        ("a size beyond 64 bits", 400, chunked("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("a bare LF after the size", 400, chunked("5\nhello\r\n0\r\n\r\n")),
        ("a bare LF in an extension", 400, chunked("5;a\nb\r\nhello\r\n0\r\n\r\n")),
        ("a bare CR after the size", 400, chunked("5\rhello\r\n0\r\n\r\n")),
        ("more than the size", 400, chunked("5\r\nhello!\r\n0\r\n\r\n")),
        ("a bare LF after the data", 400, chunked("5\r\nhello\n0\r\n\r\n")),
        ("a trailer that is none", 400, chunked("5\r\nhello\r\n0\r\nno trailer\r\n\r\n")),
        ("endless extensions", 400, chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000)))),
        ("endless trailers", 400, chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(50_000)))),
    ];
    refused(&proxy, &blue, &rows).await;
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused_by_its_kind() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_header_bytes = \"128KiB\"".to_owned();
    let proxy = setup.start().await;
    let long = "x".repeat(200_000);
    let rows = [
        ("a long field", 431, get(&format!("X: {long}\r\n"))),
        ("a long name", 431, get(&format!("{long}: x\r\n"))),
        ("many fields", 431, get(&"X: y\r\n".repeat(5000))),
        ("a long target", 414, raw(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..70_000]))),
        ("an endless target", 431, raw(&format!("GET /{long}"))),
        ("an endless method", 431, raw(&long)),
    ];
    refused(&proxy, &blue, &rows).await;
}

#[tokio::test]
async fn what_is_odd_and_still_clear_is_served() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let served = [
        ("equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "hello"),
        ("a tab before the coding", post("Transfer-Encoding:\tchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), "hello"),
        ("a coding in capitals", post("Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), "hello"),
        ("leading zeros", post("Transfer-Encoding: chunked\r\n", "0005\r\nhello\r\n000\r\n\r\n"), "hello"),
        ("an extension", post("Transfer-Encoding: chunked\r\n", "5;a=\"b\"\r\nhello\r\n0\r\n\r\n"), "hello"),
        ("empty lines before it", [b"\r\n\r\n".to_vec(), get("")].concat(), "blue"),
        ("an empty Host", raw("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "blue"),
        ("an address for a Host", raw("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"), "blue"),
        ("an unusual method", raw("M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n"), "blue"),
        ("OPTIONS *", raw("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "blue"),
        ("bytes beyond ASCII in a value", get("X: \u{e4}\r\n"), "blue"),
    ];
    for (name, bytes, body) in served {
        let mut client = proxy.connect().await;
        client.send(&bytes).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, body), "{name}");
        assert_eq!(client.answer().await.status, 200, "{name}: the next one is served");
    }
    assert!(blue.heads().iter().any(|head| head.starts_with("OPTIONS * HTTP/1.1\r\n")), "{:?}", blue.heads());
}

#[tokio::test]
async fn a_head_is_refused_also_in_pieces_and_behind_good_ones() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    assert_eq!(client.get("/").await.status, 200);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "ok");
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("proxy-status").is_some()), (400, true), "{answer:?}");
    assert!(client.ended().await);

    let mut client = proxy.connect().await;
    for byte in b"POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.status, 400);

    let mut client = proxy.connect().await;
    client.send(["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GE(T / HTTP/1.1\r\n\r\n"].concat()).await;
    assert_eq!(client.answer().await.status, 200);
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("proxy-status").is_some()), (400, true), "{answer:?}");
    assert!(!blue.heads().iter().any(|head| head.contains("smuggled")));
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_not_passed_on() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for protocols in ["h2c", "websocket, H2C"] {
        let mut client = proxy.connect().await;
        let fields = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA";
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\nUpgrade: {protocols}\r\n\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        let seen = blue.last_head().to_ascii_lowercase();
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    }
}

#[tokio::test]
async fn fields_that_are_the_same_to_some_as_those_of_the_proxy_are_removed_and_others_left_alone() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "trusted_proxies = [\"127.0.0.1\"]".to_owned();
    for proxy in [Proxy::start(&blue, &green).await, setup.start().await] {
        let forged = ["X_Forwarded_For", "x-forwarded_proto", "X_CLIENT_CERT_SUBJECT", "X_Request_Id"];
        let fields: String = forged.map(|name| format!("{name}: forged\r\n")).concat();
        let mut client = proxy.connect().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}My_Field: kept\r\nContent_Length: kept\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.status, 200);
        let seen = blue.last_head();
        assert!(!seen.contains("forged"), "{seen}");
        assert!(seen.contains("My_Field: kept\r\nContent_Length: kept\r\n"), "{seen}");
    }
}

/// An endpoint that answers each request with fixed bytes, by path, and its probes as it should.
struct Endpoint {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// Reads on, for the next request.
    Keep,
    Close,
    /// The same again, without end.
    Repeat,
    /// Takes no further byte.
    Stall,
}

type Script = fn(&str) -> (Vec<u8>, Then);

impl Endpoint {
    async fn start(script: Script) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(misbehave(stream, script, Arc::clone(&counting)));
            }
        });
        Endpoint { address, requests }
    }

    async fn behind(&self, more: &str) -> (Proxy, Application) {
        let other = Application::start("green").await;
        let mut setup = Setup::new(&other, &other);
        setup.blue = format!("release = \"1.0\"\nendpoints = [\"{}\"]", self.address);
        setup.more = more.to_owned();
        (setup.start().await, other)
    }
}

async fn misbehave(mut stream: TcpStream, script: Script, requests: Arc<AtomicUsize>) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            continue;
        };
        let head: Vec<u8> = read.drain(..end + 4).collect();
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?;
        if path == "/healthz" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.ok()?;
            continue;
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let (bytes, then) = script(path);
        stream.write_all(&bytes).await.ok()?;
        match then {
            Then::Keep => {}
            Then::Close => return None,
            Then::Repeat => loop {
                stream.write_all(&bytes).await.ok()?;
            },
            Then::Stall => std::future::pending().await,
        }
    }
}

fn ok(fields: &str, body: &str) -> (Vec<u8>, Then) {
    (format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes(), Then::Keep)
}

fn bad_answers(path: &str) -> (Vec<u8>, Then) {
    match path {
        "/lengths" => ok("Content-Length: 2\r\nContent-Length: 3\r\n", "abc"),
        "/negative" => ok("Content-Length: -1\r\n", ""),
        "/nul" => ok("X: a\0b\r\nContent-Length: 0\r\n", ""),
        "/cr" => ok("X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n", ""),
        "/space" => ok("X : a\r\nContent-Length: 0\r\n", ""),
        "/status" => (b"HTTP/1.1 9 No\r\n\r\n".to_vec(), Then::Keep),
        "/version" => (b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), Then::Keep),
        "/switch" => {
            (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_vec(), Then::Keep)
        }
        "/endless" => (format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2_000_000)).into_bytes(), Then::Repeat),
        "/fields" => (format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000)).into_bytes(), Then::Repeat),
        "/silent" => (Vec::new(), Then::Close),
        "/half" => (b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), Then::Close),
        _ => ok("Content-Length: 4\r\n", "fine"),
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_502_and_spoils_nothing() {
    let endpoint = Endpoint::start(bad_answers).await;
    let (proxy, _other) = endpoint.behind("").await;
    let paths = [
        "/lengths",
        "/negative",
        "/nul",
        "/cr",
        "/space",
        "/status",
        "/version",
        "/switch",
        "/endless",
        "/fields",
        "/silent",
        "/half",
    ];
    let mut client = proxy.connect().await;
    for path in paths {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 502, "{path}: {answer:?}");
        assert!(answer.header("proxy-status").is_some_and(|reason| reason.starts_with("cutover; error=")), "{path}");
        assert_eq!(client.get("/").await.text(), "fine", "after {path}");
    }
}

fn ambiguous_answers(path: &str) -> (Vec<u8>, Then) {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    match path {
        "/both" => ok("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        "/more" => ok("Content-Length: 2\r\n", &format!("ok{poison}")),
        "/more-chunks" => ok("Transfer-Encoding: chunked\r\n", &format!("2\r\nok\r\n0\r\n\r\n{poison}")),
        "/more-empty" => (format!("HTTP/1.1 204 No Content\r\n\r\n{poison}").into_bytes(), Then::Keep),
        "/size" => ok("Transfer-Encoding: chunked\r\n", "0x2\r\nok\r\n0\r\n\r\n"),
        "/overflow" => ok("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nok\r\n0\r\n\r\n"),
        "/twice" => ok("Content-Length: 2\r\nX: y\r\nContent-Length: 2\r\n", "ok"),
        "/early" => ok("Content-Length: 2\r\n", "no"),
        "/early-end" => (b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno".to_vec(), Then::Close),
        "/leaves" => (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), Then::Close),
        _ => ok("Content-Length: 4\r\n", "fine"),
    }
}

#[tokio::test]
async fn what_an_endpoint_sends_beyond_its_answer_reaches_no_client() {
    let endpoint = Endpoint::start(ambiguous_answers).await;
    let (proxy, _other) = endpoint.behind("").await;
    for round in 0..20 {
        let mut client = proxy.connect().await;
        for (path, text) in [("/more", "ok"), ("/more-chunks", "ok"), ("/more-empty", ""), ("/leaves", "ok")] {
            assert_eq!(client.get(path).await.text(), text, "{path}, round {round}");
            assert_eq!(client.get("/").await.text(), "fine", "after {path}, round {round}");
        }
        let answer = client.get("/both").await;
        assert!(
            answer.status == 502 || (answer.text() == "hello" && answer.header("content-length").is_none()),
            "{answer:?}"
        );
    }
    let twice = proxy.get("/twice").await;
    let lengths = twice.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    assert_eq!((lengths.count(), twice.text()), (1, "ok"), "{twice:?}");
    for path in ["/size", "/overflow"] {
        let answer = proxy.get(path).await;
        assert!(!answer.complete, "{path}: half an answer must not look whole");
        assert_eq!(proxy.get("/").await.text(), "fine");
    }
    assert!(endpoint.requests.load(Ordering::SeqCst) >= 180);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    let endpoint = Endpoint::start(ambiguous_answers).await;
    let (proxy, _other) = endpoint.behind("").await;
    let mut client = proxy.connect().await;
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nfirst").await;
    assert_eq!(client.answer().await.text(), "no");
    assert_eq!(proxy.get("/").await.text(), "fine", "its connection is not used again");
}

#[tokio::test]
async fn an_answer_before_a_close_is_passed_on_though_the_upload_breaks() {
    let endpoint = Endpoint::start(ambiguous_answers).await;
    let (proxy, _other) = endpoint.behind("").await;
    for round in 0..20 {
        let client = TcpStream::connect(proxy.http).await.expect("a connection");
        let (read, mut write) = client.into_split();
        let upload = tokio::spawn(async move {
            let _ = write.write_all(b"POST /early-end HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n").await;
            let _ = write.write_all(&vec![b'x'; 10_000_000]).await;
            write
        });
        let mut client = Connection::over(tokio::io::join(read, tokio::io::sink()));
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (413, "no"), "round {round}");
        drop(client);
        upload.abort();
    }
}

fn flood(path: &str) -> (Vec<u8>, Then) {
    match path {
        "/flood" => (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(1000), Then::Repeat),
        "/stall" => (Vec::new(), Then::Stall),
        _ => ok("Content-Length: 4\r\n", "fine"),
    }
}

#[tokio::test]
async fn a_flood_of_interim_answers_ends_in_time_fills_no_memory_and_starves_nobody() {
    let endpoint = Endpoint::start(flood).await;
    let (proxy, _other) = endpoint.behind("[upstream.default]\nresponse_timeout = \"1s\"").await;
    let mut deaf = proxy.connect().await;
    deaf.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    assert_eq!(proxy.get("/").await.text(), "fine", "others are served");
    proxy.until("it is over", |status| status["blue"]["requests"] == 0).await;
    let held = resident(proxy.pid());
    assert!(held < 100 << 20, "{held} bytes are held");
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

#[tokio::test]
async fn a_head_that_does_not_get_complete_is_408_however_it_trickles() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "header_timeout = \"400ms\"".to_owned();
    let proxy = setup.start().await;

    let mut silent = proxy.connect().await;
    silent.send("GET / HTTP/1.1\r\nHo").await;
    let answer = silent.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(silent.ended().await);

    // One byte each 20 ms does not buy more time.
    let trickling = TcpStream::connect(proxy.http).await.expect("a connection");
    let (read, mut write) = trickling.into_split();
    let trickle = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut client = Connection::over(tokio::io::join(read, tokio::io::sink()));
    assert_eq!(client.answer().await.status, 408);
    trickle.abort();

    // Behind an answered request, and without another byte.
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 408);
    until_access_log(&proxy, "\"status\":408").await;
}

#[tokio::test]
async fn a_head_that_rests_halfway_is_not_forgotten() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHo").await;
    assert_eq!(client.answer().await.status, 200);
    // Longer than an idle connection keeps its buffers.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.send("st: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(blue.last_head().starts_with("GET /second "));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "idle_timeout = \"1500ms\"".to_owned();
    let proxy = setup.start().await;
    let mut fresh = proxy.connect().await;
    let mut used = proxy.connect().await;
    assert_eq!(used.get("/").await.status, 200);
    assert!(used.ended().await);
    assert!(fresh.ended().await);
}

#[tokio::test]
async fn a_client_that_vanishes_in_its_upload_is_499_and_leaves_nothing() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for head in ["Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"] {
        let mut client = proxy.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{head}")).await;
        proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
        drop(client);
        proxy.until("it is over", |status| status["blue"]["requests"] == 0).await;
    }
    until("both are in the log", async || (access_log(&proxy).matches("\"status\":499").count() == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn a_client_that_stops_in_its_upload_is_408_after_the_idle_timeout() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[upstream.default]\nidle_timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let (answer, rest) = sent(&proxy, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc").await;
    assert_eq!((answer.expect("an answer").status, rest.len()), (408, 0), "and the connection is closed");
    proxy.until("nothing is left", |status| status["blue"]["requests"] == 0).await;
}

#[tokio::test]
async fn an_endpoint_that_takes_no_upload_is_504() {
    let endpoint = Endpoint::start(flood).await;
    let (proxy, _other) = endpoint.behind("[upstream.default]\nresponse_timeout = \"500ms\"").await;
    let client = TcpStream::connect(proxy.http).await.expect("a connection");
    let (read, mut write) = client.into_split();
    let upload = tokio::spawn(async move {
        let _ = write.write_all(b"POST /stall HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n").await;
        let _ = write.write_all(&vec![b'x'; 100_000_000]).await;
    });
    let mut client = Connection::over(tokio::io::join(read, tokio::io::sink()));
    assert_eq!(client.answer().await.status, 504);
    upload.abort();
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_cut_and_logged() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[upstream.default]\nidle_timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let answer = proxy.get("/gated").await;
    assert_eq!((answer.status, answer.text(), answer.complete), (200, "[", false));
    until_access_log(&proxy, "http_response_incomplete").await;
    proxy.until("nothing is left", |status| status["blue"]["streams"] == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_answer_is_logged_as_gone() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    drop(client);
    until_access_log(&proxy, "\"error\":\"client_left\"").await;
}

#[tokio::test]
async fn a_stop_that_takes_too_long_is_cut_and_tells_the_waiting_client() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.drain = "timeout = \"300ms\"".to_owned();
    let mut proxy = setup.start().await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut gated = proxy.connect().await;
    gated.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(gated.head().await.expect("a head").status, 200);
    let mut deaf = proxy.connect().await;
    deaf.send("GET /bytes?100000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("all are under way", |s| s["blue"]["requests"] == 1 && s["blue"]["streams"] == 2).await;
    proxy.signal(Signal::TERM);
    let answer = late.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert_eq!(gated.rest().await, b"[");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.more = "[upstream.default]\nidle_timeout = \"500ms\"".to_owned();
    let proxy = setup.start().await;
    let mut deaf = proxy.connect().await;
    deaf.send("GET /bytes?100000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["streams"] == 1).await;
    proxy.until("it is over", |status| status["blue"]["streams"] == 0).await;
    until_access_log(&proxy, "\"error\":\"client_stalled\",\"blame\":\"client\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_live_through_switches() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let http = proxy.http;
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..1000)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = Connection::tcp(http).await;
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) || answered < 3 {
                    let answer = client.get("/").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    if answered == 0 {
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    answered += 1;
                }
            })
        })
        .collect();
    until("all are served", async || (served.load(Ordering::SeqCst) == 1000).then_some(())).await;
    for color in ["green", "blue", "green", "blue"] {
        proxy.switch(color).await;
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("none fails");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_while_all_others_have_requests() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_connections = 8".to_owned();
    let proxy = setup.start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.connect().await;
        client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.head().await.expect("a head").status, 200);
        clients.push(client);
    }
    let mut waiting = proxy.connect().await;
    waiting.send("GET /waited HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until_logged("No room for new connections").await;
    assert!(!blue.last_head().starts_with("GET /waited "));
    blue.open_gate();
    for client in &mut clients {
        assert_eq!(client.exactly(6).await.expect("the rest"), b"[done]", "those that are in go on");
    }
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut old = proxy.connect().await;
    assert_eq!(old.get("/").await.status, 200);
    let pid = rustix::process::Pid::from_raw(i32::try_from(proxy.pid()).expect("a pid"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).expect("it runs").count() as u64;
    let limit = Rlimit { current: Some(open + 8), maximum: Some(open + 8) };
    rustix::process::prlimit(pid, Resource::Nofile, limit).expect("a limit");
    let mut many = Vec::new();
    for _ in 0..40 {
        many.push(proxy.connect().await);
    }
    proxy.until_logged("Connections not accepted").await;
    assert_eq!(old.get("/").await.status, 200, "what is there is served");
    drop(many);
    until("new ones are served again", async || {
        let mut client = proxy.connect().await;
        client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
        (client.try_answer(false).await?.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_in_one_breath_are_answered_in_order_and_hold_no_memory() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let client = TcpStream::connect(proxy.http).await.expect("a connection");
    let (read, mut write) = client.into_split();
    assert_eq!(proxy.color().await, "blue");
    let before = resident(proxy.pid());
    let sending = tokio::spawn(async move {
        let requests: String =
            (0..10_000).map(|n| format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{n:05}")).collect();
        write.write_all(requests.as_bytes()).await.map(|()| write)
    });
    let mut client = Connection::over(tokio::io::join(read, tokio::io::sink()));
    for n in 0..10_000 {
        assert_eq!(client.answer().await.text(), format!("{n:05}"));
    }
    let grown = resident(proxy.pid()).saturating_sub(before);
    assert!(grown < 20 << 20, "{grown} bytes more");
    let _write = sending.await.expect("no panic").expect("all was taken");
}

/// With a lame duck of this length, and further changes.
async fn lame(blue: &Application, green: &Application, lame_duck: &str) -> Proxy {
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(blue, green).text(dir.path());
    Proxy::start_in(dir, &text.replace("lame_duck = \"0s\"", &format!("lame_duck = \"{lame_duck}\""))).await
}

#[tokio::test]
async fn term_is_seen_by_the_balancer_first_and_then_finishes_what_is_under_way() {
    for signal in [Signal::TERM, Signal::INT] {
        let (blue, green) = pair().await;
        let mut proxy = lame(&blue, &green, "1500ms").await;
        let mut balancer = proxy.connect().await;
        assert_eq!(balancer.get("/.cutover/ready").await.status, 200);
        let mut late = proxy.connect().await;
        late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut gated = proxy.connect().await;
        gated.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(gated.head().await.expect("a head").status, 200);
        let mut idle = proxy.connect().await;
        assert_eq!(idle.get("/").await.status, 200);
        proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;

        proxy.signal(signal);
        until("it is not ready", async || (balancer.get("/.cutover/ready").await.status == 503).then_some(())).await;
        assert_eq!(proxy.get("/").await.status, 200, "a lame duck still serves");
        assert_eq!(balancer.get("/").await.status, 200);

        assert!(idle.ended().await, "idle connections are closed");
        until("nothing listens", async || TcpStream::connect(proxy.http).await.is_err().then_some(())).await;
        blue.open_gate();
        assert_eq!(late.answer().await.text(), "blue");
        assert!(late.ended().await);
        assert_eq!(gated.exactly(6).await.expect("the rest"), b"[done]");
        assert!(gated.ended().await);
        assert_eq!(proxy.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (blue, green) = pair().await;
    let mut proxy = lame(&blue, &green, "25s").await;
    let mut late = proxy.connect().await;
    late.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    proxy.until("it is under way", |status| status["blue"]["requests"] == 1).await;
    proxy.signal(Signal::TERM);
    proxy.until_logged("Shutting down").await;
    proxy.signal(Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(15), proxy.ended()).await.expect("long before the lame duck");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn hup_opens_the_access_log_again_after_a_rotation() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    proxy.get("/before").await;
    until_access_log(&proxy, "/before").await;
    let rotated = proxy.dir.path().join("access.log.1");
    std::fs::rename(proxy.dir.path().join("access.log"), &rotated).expect("a rename");
    proxy.signal(Signal::HUP);
    until("there is a new file", async || proxy.dir.path().join("access.log").exists().then_some(())).await;
    proxy.get("/after").await;
    until_access_log(&proxy, "/after").await;
    let old = std::fs::read_to_string(rotated).expect("the old file");
    assert!(old.contains("/before") && !old.contains("/after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_was_accepted_fails_when_the_process_ends() {
    let (blue, green) = pair().await;
    let mut proxy = lame(&blue, &green, "1500ms").await;
    let http = proxy.http;
    let mut balancer = proxy.connect().await;
    let ready = Arc::new(AtomicBool::new(true));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let (answered, ready) = (Arc::clone(&answered), Arc::clone(&ready));
            tokio::spawn(async move {
                // The kernel resets what connects in the instant in which a listener is closed, so a balancer opens no
                // new connection to what is not ready. Those that are open go on.
                while ready.load(Ordering::SeqCst) {
                    let stream = TcpStream::connect(http).await.expect("a lame duck accepts");
                    let mut client = Connection::over(stream);
                    for request in 0.. {
                        let sent = client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                        let answer = if sent.is_ok() { client.try_answer(false).await } else { None };
                        let Some(answer) = answer else {
                            // A used connection may be closed at any time (RFC 9112, 9.3.1); a new one was accepted.
                            assert!(request > 0, "a new connection got no answer");
                            break;
                        };
                        assert!(answer.status == 200 && answer.complete, "{answer:?}");
                        answered.fetch_add(1, Ordering::SeqCst);
                        if answer.header("connection") == Some("close") {
                            break;
                        }
                        if request == 20 && ready.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    until("there is load", async || (answered.load(Ordering::SeqCst) > 5000).then_some(())).await;
    proxy.signal(Signal::TERM);
    until("it is not ready", async || (balancer.get("/.cutover/ready").await.status == 503).then_some(())).await;
    ready.store(false, Ordering::SeqCst);
    assert_eq!(proxy.ended().await.code(), Some(0));
    for client in clients {
        client.await.expect("none fails");
    }
}

/// With the access log elsewhere.
fn logging_to(blue: &Application, green: &Application, target: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::new(blue, green).text(dir.path());
    let usual = format!("access = \"{}/access.log\"", dir.path().display());
    assert!(text.contains(&usual));
    let text = text.replace(&usual, &format!("access = \"{target}\""));
    (dir, text)
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_no_requests() {
    let (blue, green) = pair().await;
    let (dir, text) = logging_to(&blue, &green, "/dev/full");
    let proxy = Proxy::start_in(dir, &text).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    proxy.until("all lines are counted", |status| status["access_log_dropped"] == 10).await;
    let metrics = proxy.admin("GET", "/metrics", "").await;
    assert!(metrics.text().contains("\ncutover_access_log_dropped_lines_total 10\n"), "{}", metrics.text());
    proxy.until_logged("Access log lines dropped").await;
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_costs_lines_and_no_requests_and_does_not_hold_up_the_end() {
    let (blue, green) = pair().await;
    let (dir, text) = logging_to(&blue, &green, "stdout");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut proxy = Proxy::start_with(dir, &text, Stdio::from(writer)).await;
    let mut client = proxy.connect().await;
    let path = format!("/{}", "x".repeat(2_000));
    until("lines are dropped", async || {
        for _ in 0..200 {
            assert_eq!(client.get(&path).await.status, 200);
        }
        (proxy.status().await["access_log_dropped"].as_u64() > Some(0)).then_some(())
    })
    .await;
    assert_eq!(client.get("/").await.status, 200);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.ended().await.code(), Some(0));
    drop(reader);
}

#[tokio::test]
async fn a_pipe_that_is_just_full_does_not_hold_up_the_end() {
    let (blue, green) = pair().await;
    let (dir, text) = logging_to(&blue, &green, "stdout");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut proxy = Proxy::start_with(dir, &text, Stdio::from(writer)).await;
    let path = format!("/{}", "x".repeat(40_000));
    for _ in 0..10 {
        assert_eq!(proxy.get(&path).await.status, 200);
    }
    proxy.signal(Signal::TERM);
    assert_eq!(soon("the end", proxy.ended()).await.code(), Some(0));
    drop(reader);
}
