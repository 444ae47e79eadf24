//! Upgrades in HTTP/1.1, extended CONNECT in HTTP/2, and endpoints that do neither.

use h2::ext::Protocol;
use http::{Request, Response};

use crate::application::pair;
use crate::http2::{Client, bodiless, some, until_extended_connect, websocket};
use crate::proxy::{Proxy, Setup};
use crate::requests::messages::{EJECT, all_are_up, assert_blamed, assert_nobody_is_blamed, endpoint, in_front_of};
use crate::soon;

const UPGRADE: &str = "Host: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";

#[tokio::test]
async fn a_post_with_a_body_and_an_upgrade_becomes_a_tunnel_behind_its_body() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    for (framing, body) in
        [("Content-Length: 2", "{}"), ("Content-Length: 0", ""), ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n")]
    {
        let mut client = proxy.connect().await;
        client.send(format!("POST /upgrade HTTP/1.1\r\n{UPGRADE}{framing}\r\n\r\n{body}")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("upgrade")), (101, Some("tcp")), "{framing}");
        client.send("hello").await;
        assert_eq!(client.exactly(5).await.expect("the tunnel answers"), b"HELLO", "{framing}");

        let mut client = proxy.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\n{UPGRADE}{framing}\r\n\r\n{body}")).await;
        let expected = if framing.ends_with(": 0") { "" } else { "{}" };
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, expected), "the application may ignore it");
        assert_eq!(client.get("/").await.text(), "blue", "and the connection goes on");
    }
}

#[tokio::test]
async fn an_endpoint_that_switches_before_the_body_is_over_gets_all_of_it_first() {
    let switch = |_: &str| "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".to_owned();
    let proxy = in_front_of(endpoint(switch).await, "").await;
    let mut client = proxy.connect().await;
    client.send(format!("POST / HTTP/1.1\r\n{UPGRADE}Content-Length: 10\r\n\r\nabcde")).await;
    client.send("fghij").await;
    assert_eq!(client.answer().await.status, 101);
    client.send("klmno").await;
    assert_eq!(client.exactly(15).await.expect("all of it, once"), b"ABCDEFGHIJKLMNO");
}

#[tokio::test]
async fn an_upgrade_in_http_1_0_is_not_passed_on() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(!blue.last_head().to_ascii_lowercase().contains("upgrade"), "{}", blue.last_head());
}

#[tokio::test]
async fn a_426_says_what_to_upgrade_to() {
    let required = |_: &str| {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket, tcp/2\r\nContent-Length: 2";
        format!("HTTP/1.1 426 Upgrade Required\r\n{fields}\r\n\r\nno")
    };
    let proxy = in_front_of(endpoint(required).await, "").await;
    let answer = proxy.get("/").await;
    assert_eq!((answer.status, answer.text()), (426, "no"));
    assert_eq!(answer.header("upgrade"), Some("websocket, tcp/2"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    let answer = Client::connect(proxy.http).await.get("/").await;
    assert_eq!((answer.status, answer.header("upgrade"), answer.header("connection")), (426, None, None));
}

#[tokio::test]
async fn a_101_that_nobody_asked_for_is_502_and_the_log_names_it() {
    let wrong = |head: &str| {
        let field = match head.split(' ').nth(1) {
            Some("/none") => "",
            Some("/empty") => "Upgrade:\r\n",
            Some("/other") => "Upgrade: shout\r\n",
            _ => "Upgrade: tcp, shout\r\n",
        };
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{field}\r\n")
    };
    let proxy = in_front_of(endpoint(wrong).await, "").await;
    for path in ["/none", "/empty", "/other", "/more"] {
        let mut client = proxy.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\n{UPGRADE}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 502, "{path}");
        assert_eq!(answer.header("proxy-status"), Some("cutover; error=http_protocol_error"), "{path}");
    }
    assert_blamed(&proxy, "http_protocol_error", "endpoint", 4).await;
    let log = proxy.until_logged("upgrade: shout").await;
    assert!(log.contains("A 101 has to name a protocol that the request offers."), "{log}");
}

#[tokio::test]
async fn an_extended_connect_is_granted_only_if_the_endpoint_switched() {
    let answers = |head: &str| match head.split(' ').nth(1) {
        Some("/200") => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        Some("/403") => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        Some("/101") => {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n".to_owned()
        }
        _ => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let proxy = in_front_of(endpoint(answers).await, EJECT).await;
    let mut client = Client::connect(proxy.http).await;
    until_extended_connect(&mut client).await;
    for (path, status) in [("/200", 502), ("/204", 502), ("/403", 403)] {
        let (answer, _send) = client.begin(websocket(path), false).await.expect("it is taken");
        let answer = soon("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        if status == 502 {
            assert_eq!(answer.headers()["proxy-status"], "cutover; error=http_upgrade_failed", "{path}");
        }
    }
    let (answer, mut send) = client.begin(websocket("/101"), false).await.expect("it is taken");
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    send.send_data("hello".into(), false).expect("open");
    assert_eq!(some(&mut answer.into_body(), 5).await, b"HELLO");
    assert_nobody_is_blamed("HTTP/1.1", &proxy).await;
    assert_blamed(&proxy, "http_upgrade_failed", "nobody", 2).await;
}

#[tokio::test]
async fn a_tunnel_of_http2_frames_is_501() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    until_extended_connect(&mut client).await;
    let request = Request::connect("http://test/").extension(Protocol::from_static("h2c")).body(()).expect("a request");
    let (answer, _send) = client.begin(request, false).await.expect("it is taken");
    assert_eq!(soon("an answer", answer).await.expect("an answer").status(), 501);
    assert!(blue.heads().is_empty());
}

/// An application that speaks HTTP/2 and knows nothing of RFC 8441.
async fn without_extended_connect() -> std::net::SocketAddr {
    bodiless(|_| Response::new(())).await
}

#[tokio::test]
async fn an_http2_endpoint_without_extended_connect_is_not_asked_for_a_tunnel_and_not_blamed() {
    let (first, second) = (without_extended_connect().await, without_extended_connect().await);
    let mut setup = Setup::at(first, second);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{first}\", \"{second}\"]");
    setup.more = format!("[upstream.default]\nprotocol = \"http2\"\n{EJECT}");
    let proxy = setup.start().await;
    proxy.until("they are up", all_are_up).await;
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // Also the first one on a connection, whose settings have not arrived when the request has.
    for _ in 0..6 {
        let mut client = proxy.connect().await;
        client.send(upgrade).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 501);
        assert_eq!(answer.header("proxy-status"), Some("cutover; error=http_upgrade_failed"));
        let mut client = Client::connect(proxy.http).await;
        until_extended_connect(&mut client).await;
        let (answer, _send) = client.begin(websocket("/"), false).await.expect("it is taken");
        assert_eq!(soon("an answer", answer).await.expect("an answer").status(), 501);
    }
    assert_eq!(proxy.get("/").await.status, 200);
    assert_nobody_is_blamed("HTTP/2", &proxy).await;
    assert_blamed(&proxy, "http_upgrade_failed", "nobody", 12).await;
}
