//! HTTP/2 on both sides: as everybody speaks it, and as nobody should.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn};
use h2::Reason;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::application::{Application, pair};
use crate::http2::{
    ACK, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, Outcome, PING, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, block, frame, get, over, over_http2, post, resident, send_all, some,
    until_extended_connect, websocket, whole,
};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

#[tokio::test]
async fn an_empty_answer_of_an_http_2_endpoint_ends_for_clients_of_both_versions() {
    let (_blue, _green, proxy) = over_http2().await;
    let mut client = proxy.connect().await;
    for path in ["/missing.php", "/missing.php"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.header("content-length")), (404, Some("0")), "{answer:?}");
    }
    client.send("HEAD /missing.php HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        client.answer_to_head().await.header("content-length"),
        None,
        "a HEAD says what a GET would say, or nothing"
    );
    let answer = Client::connect(proxy.http).await.get("/missing.php").await;
    assert_eq!((answer.status, answer.header("content-length")), (404, None));
}

#[tokio::test]
async fn clients_that_read_nothing_do_not_stop_others_on_the_shared_connection_to_an_endpoint() {
    let (_blue, _green, proxy) = over_http2().await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut client = proxy.connect().await;
        client.send("GET /bytes?20000000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.head().await.map(|answer| answer.status), Some(200));
        idle.push(client);
    }
    for _ in 0..8 {
        assert_eq!(proxy.color().await, "blue");
    }
}

#[tokio::test]
async fn many_streams_of_one_connection_are_answered_and_follow_a_switch() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    for color in ["blue", "green", "blue"] {
        if proxy.color().await != color {
            proxy.switch(color).await;
        }
        let answers = join_all((0..100).map(|_| {
            let mut client = client.sender.clone();
            async move {
                let (answer, _) = {
                    poll_fn(|cx| client.poll_ready(cx)).await.expect("it is open");
                    client.send_request(get("/"), true).expect("it is taken")
                };
                whole(answer).await.expect("an answer")
            }
        }));
        for answer in answers.await {
            assert_eq!((answer.status, answer.text()), (200, color));
        }
    }
    let head = blue.last_head();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nhost: test\r\n") && head.contains("\r\nvia: 2.0 cutover\r\n"), "{head}");
    assert_eq!(client.get("/hop").await.header("connection"), None);
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let trailers = HeaderMap::from_iter([("x-sum".parse().expect("a name"), "17".parse().expect("a value"))]);
    let answer = client.echo(&body, Some(trailers.clone())).await;
    assert!(answer.body == body, "{} bytes", answer.body.len());
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "17".to_owned())]);
    assert_eq!(client.get("/trailers").await.trailers, [("x-sum".to_owned(), "17".to_owned())]);
    assert_eq!(client.get("/empty").await.status, 204);
    let (answer, _) = client.begin(Request::head("http://test/").body(()).expect("a request"), true).await.expect("ok");
    let answer = whole(answer).await.expect("an answer");
    assert_eq!((answer.header("content-length"), answer.body.len()), (Some("1234"), 0));

    let (_blue, _green, proxy) = over_http2().await;
    let mut client = Client::connect(proxy.http).await;
    let answer = client.echo(&body, Some(trailers)).await;
    assert!(answer.body == body, "{} bytes", answer.body.len());
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "17".to_owned())]);
}

#[tokio::test]
async fn trailers_behind_a_body_whose_length_was_told_are_not_lost() {
    let (_blue, _green, proxy) = over_http2().await;
    let answer = Client::connect(proxy.http).await.get("/status").await;
    assert_eq!((answer.header("content-length"), answer.text()), (Some("4"), "body"));
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    let answer = proxy.get("/status").await;
    assert_eq!((answer.text(), answer.complete), ("body", true));
}

#[tokio::test]
async fn a_client_that_reads_slowly_holds_up_no_other_stream_and_costs_no_memory() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    assert_eq!(client.get("/").await.text(), "blue");
    let before = resident(&proxy);
    let mut slow = Vec::new();
    for _ in 0..20 {
        let (answer, _) = client.begin(get("/bytes?100000000"), true).await.expect("it is taken");
        slow.push(soon("a head", answer).await.expect("a head").into_body());
    }
    // Another one is served.
    let mut other = Client::connect(proxy.http).await;
    assert_eq!(other.get("/").await.text(), "blue");
    // One that is read to the end goes on beside those that are not.
    let first = slow[0].data().await.expect("some").expect("some");
    slow[0].flow_control().release_capacity(first.len()).expect("it is open");
    let mut read = first.len();
    while read < 2_000_000 {
        let data = soon("more", slow[0].data()).await.expect("some").expect("some");
        slow[0].flow_control().release_capacity(data.len()).expect("it is open");
        read += data.len();
    }
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB for what nobody reads");
}

#[tokio::test]
async fn one_slow_stream_of_a_connection_leaves_room_for_the_others() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let stream = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(10_000).initial_connection_window_size(1 << 20);
    let (sender, connection) = builder.handshake(stream).await.expect("a handshake");
    let mut client = Client { sender, connection: tokio::spawn(connection) };
    let mut slow = Vec::new();
    for _ in 0..10 {
        let (answer, _) = client.begin(get("/bytes?1000000"), true).await.expect("it is taken");
        slow.push(soon("a head", answer).await.expect("a head"));
    }
    for _ in 0..10 {
        assert_eq!(client.get("/bytes?100000").await.body.len(), 100_000);
    }
}

#[tokio::test]
async fn a_body_that_the_endpoint_does_not_take_stops_at_the_client() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let before = resident(&proxy);
    let (answer, mut send) = client.begin(post("/late"), false).await.expect("it is taken");
    let mut sent = 0;
    let stalled = async {
        loop {
            send.reserve_capacity(1 << 20);
            let room = poll_fn(|cx| send.poll_capacity(cx)).await.expect("open").expect("open");
            send.send_data(vec![0; room].into(), false).expect("open");
            sent += room;
            assert!(sent < 64 << 20, "nobody reads it, and it goes on");
        }
    };
    // It stalls when nothing more is taken although another stream is served a few times.
    let others = async {
        for _ in 0..20 {
            assert_eq!(proxy.color().await, "blue");
        }
    };
    tokio::select! {
        () = stalled => {}
        () = others => {}
    }
    assert!(resident(&proxy).saturating_sub(before) < 32);
    blue.open_gate();
    assert_eq!(soon("an answer", answer).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn requests_share_one_connection_to_an_endpoint() {
    let (blue, green, proxy) = over_http2().await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let mut client = proxy.connect().await;
        client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    until("all are under way", async || (blue.asked("/gated") == 40).then_some(())).await;
    let used = blue.shared.used.load(Ordering::SeqCst);
    assert!(used <= 2, "{used} connections of two workers");
    let head = blue.heads().pop().expect("it came");
    assert_eq!(head.uri().to_string(), "http://a/gated");
    assert_eq!(head.headers()["via"], "1.1 cutover");
    assert!(!head.headers().contains_key("connection") && !head.headers().contains_key("host"), "{head:?}");

    proxy.switch("green").await;
    assert_eq!(proxy.color().await, "green");
    blue.open_gate();
    for mut client in clients {
        assert_eq!(client.answer().await.text(), "[done]");
    }
    assert_eq!(green.asked("/"), 1);
}

#[tokio::test]
async fn an_endpoint_that_goes_away_fails_no_request() {
    let (blue, _green, proxy) = over_http2().await;
    let mut long = proxy.connect().await;
    long.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(long.head().await.expect("a head").status, 200);
    let mut http2 = Client::connect(proxy.http).await;
    for round in 0..20 {
        blue.leave();
        for _ in 0..10 {
            assert_eq!(http2.get("/").await.status, 200, "in round {round}");
            let answer = proxy.get("/").await;
            assert_eq!((answer.status, answer.text()), (200, "blue"), "in round {round}");
            let mut client = proxy.connect().await;
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
            assert_eq!(client.answer().await.text(), "hello", "in round {round}");
        }
    }
    blue.open_gate();
    assert_eq!(long.exactly(6).await.as_deref(), None.or(Some(&b"1\r\n[\r\n"[..])), "it was begun");
}

#[tokio::test]
async fn a_request_that_was_refused_unprocessed_is_made_again() {
    let (blue, _green, proxy) = over_http2().await;
    // The connection is there already.
    assert_eq!(proxy.color().await, "blue");
    let mut client = proxy.connect().await;
    client.send("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "blue"));
    assert_eq!(blue.asked("/refused"), 2);
}

#[tokio::test]
async fn a_probe_that_was_refused_unprocessed_is_made_again_and_says_nothing_about_the_endpoint() {
    let (blue, _green, proxy) = over_http2().await;
    let since = proxy.status().await["blue"]["endpoints"][0]["since"].clone();
    assert!(since.is_string());
    blue.shared.refuses_probes.store(true, Ordering::SeqCst);
    let before = blue.shared.probes.load(Ordering::SeqCst);
    until("some were", async || (blue.shared.probes.load(Ordering::SeqCst) > before + 6).then_some(())).await;
    let status = proxy.status().await;
    let endpoint = &status["blue"]["endpoints"][0];
    assert_eq!((&endpoint["health"], &endpoint["since"]), (&"up".into(), &since));
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let (blue, _green, proxy) = over_http2().await;
    let mut client = Client::connect(proxy.http).await;
    let (answer, _) = client.begin(get("/breaks"), true).await.expect("it is taken");
    let mut body = soon("a head", answer).await.expect("a head").into_body();
    assert_eq!(some(&mut body, 4).await, b"half");
    blue.open_gate();
    let error = soon("an end", body.data()).await.expect("not a clean end").expect_err("it is reset");
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert_eq!(client.get("/").await.text(), "blue", "the connection goes on");
    blue.shared.gate.send_replace(false);
    let mut client = proxy.connect().await;
    client.send("GET /breaks HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    blue.open_gate();
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));

    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let error = client.try_get("/dies").await.expect_err("it is reset");
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert_eq!(client.get("/").await.text(), "blue", "the connection goes on");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives_whole() {
    let (_blue, _green, proxy) = over_http2().await;
    let mut client = Client::connect(proxy.http).await;
    for _ in 0..20 {
        let (answer, mut send) = client.begin(post("/early"), false).await.expect("it is taken");
        send.send_data("some".into(), false).expect("open");
        let answer = whole(answer).await.expect("an answer");
        assert_eq!((answer.status, answer.text()), (413, "too much"));
        drop(send);
        let mut http1 = proxy.connect().await;
        http1.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome").await;
        let answer = http1.answer().await;
        assert_eq!((answer.status, answer.text(), answer.complete), (413, "too much", true));
    }
}

#[tokio::test]
async fn a_client_that_gives_up_is_heard_of_at_the_endpoint() {
    let (blue, _green, proxy) = over_http2().await;
    let mut client = Client::connect(proxy.http).await;
    let (answer, mut send) = client.begin(get("/hangs"), true).await.expect("it is taken");
    until("it is there", async || (blue.asked("/hangs") == 1).then_some(())).await;
    send.send_reset(Reason::CANCEL);
    drop(answer);
    until("it is told", async || (blue.shared.cancelled.load(Ordering::SeqCst) == 1).then_some(())).await;
    let mut http1 = proxy.connect().await;
    http1.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n").await;
    until("it is there", async || (blue.asked("/hangs") == 2).then_some(())).await;
    drop(http1);
    until("it is told", async || (blue.shared.cancelled.load(Ordering::SeqCst) == 2).then_some(())).await;

    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let (answer, mut send) = client.begin(get("/hangs"), true).await.expect("it is taken");
    until("it is there", async || (blue.heads().len() == 1).then_some(())).await;
    send.send_reset(Reason::CANCEL);
    drop(answer);
    proxy.until("it is given up", |status| status["blue"]["requests"] == 0).await;
}

#[tokio::test]
async fn websockets_of_http2_reach_an_application_that_speaks_http1() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    until_extended_connect(&mut client).await;
    let (answer, mut send) = client.begin(websocket("/upgrade"), false).await.expect("it is taken");
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let head = blue.last_head().to_ascii_lowercase();
    assert!(head.starts_with("get /upgrade http/1.1\r\n"), "{head}");
    for field in ["\r\nupgrade: websocket\r\n", "\r\nconnection: upgrade\r\n", "\r\nsec-websocket-key: "] {
        assert!(head.contains(field), "{head}");
    }
    let mut body = answer.into_body();
    for word in ["one", "two"] {
        send.send_data(word.into(), false).expect("open");
        assert_eq!(some(&mut body, word.len()).await, word.to_ascii_uppercase().as_bytes());
    }
    proxy.until("it is a tunnel", |status| status["blue"]["tunnels"] == 1).await;
    // Both ends close: first the client, and then the application.
    send.send_data(Bytes::new(), true).expect("open");
    over(&mut body).await;
    proxy.until("it is over", |status| status["blue"]["tunnels"] == 0).await;
}

#[tokio::test]
async fn what_is_sent_before_a_websocket_is_granted_is_never_a_request() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    client.get("/").await;
    for end in [true, false] {
        // This path grants nothing.
        let (answer, mut send) = client.begin(websocket("/"), false).await.expect("it is taken");
        send.send_data("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".into(), end).expect("open");
        let answer = whole(answer).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 502);
        }
        drop(send);
        for _ in 0..5 {
            assert_eq!(proxy.color().await, "blue");
        }
    }
    for head in blue.heads() {
        assert!(!head.contains("smuggled"), "{head}");
    }
}

#[tokio::test]
async fn websockets_of_http1_reach_an_application_that_speaks_http2() {
    let (blue, _green, proxy) = over_http2().await;
    let mut client = proxy.connect().await;
    client
        .send(
            "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    let head = blue.heads().pop().expect("it came");
    assert_eq!(head.method(), Method::CONNECT);
    assert_eq!(head.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
    assert_eq!(head.headers().get("sec-websocket-version").map(|version| version.as_bytes()), Some(&b"13"[..]));
    assert_eq!(head.headers().get("sec-websocket-key"), None);
    client.send("hello").await;
    assert_eq!(client.exactly(5).await.expect("an answer"), b"HELLO");
    drop(client);
    proxy.until("it is over", |status| status["blue"]["tunnels"] == 0).await;

    let mut client = Client::connect(proxy.http).await;
    client.get("/").await;
    let (answer, mut send) = client.begin(websocket("/socket"), false).await.expect("it is taken");
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    send.send_data("again".into(), false).expect("open");
    let mut body = answer.into_body();
    assert_eq!(some(&mut body, 5).await, b"AGAIN");
    send.send_data(Bytes::new(), true).expect("open");
    over(&mut body).await;
}

#[tokio::test]
async fn what_the_proxy_itself_says_to_grpc_is_trailers_only() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    blue.stop().await;
    let mut client = Client::connect(proxy.http).await;
    let request = Request::post("http://test/package.Service/Method").header("content-type", "application/grpc+proto");
    let request = request.header("te", "trailers").body(()).expect("a request");
    let (answer, mut send) = client.begin(request, false).await.expect("it is taken");
    let _ = send.send_data(Bytes::from_static(b"\0\0\0\0\0"), true);
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.body().is_end_stream(), "there is nothing but the head");
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert!(answer.headers().contains_key("grpc-message") && answer.headers().contains_key("proxy-status"));
    // Everybody else gets what HTTP says.
    assert!(matches!(client.get("/").await.status, 502 | 503));
}

#[tokio::test]
async fn a_call_whose_endpoint_breaks_off_is_unavailable() {
    let (blue, _green, proxy) = over_http2().await;
    let mut client = Client::connect(proxy.http).await;
    let (answer, mut send) = client.begin(post("/call-breaks"), false).await.expect("it is taken");
    send_all(&mut send, "question".into(), true).await.expect("it is taken");
    let mut body = soon("a head", answer).await.expect("a head").into_body();
    assert_eq!(some(&mut body, 4).await, b"half");
    blue.open_gate();
    assert!(soon("an end", body.data()).await.is_none(), "no reset, which clients take for an error of the call");
    let trailers = soon("trailers", body.trailers()).await.expect("a clean end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(trailers["grpc-message"], "The endpoint broke off in its answer.");
}

#[tokio::test]
async fn interim_answers_reach_a_client() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let (mut answer, _) = client.begin(get("/hints"), true).await.expect("it is taken");
    let hints = soon("hints", poll_fn(|cx| answer.poll_informational(cx))).await;
    let hints = hints.expect("they come").expect("they come");
    assert_eq!(
        (hints.status().as_u16(), hints.headers()["link"].to_str().ok()),
        (103, Some("</style.css>; rel=preload"))
    );
    assert_eq!(whole(answer).await.expect("an answer").text(), "blue");
}

#[tokio::test]
async fn cookies_arrive_in_one_piece() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let request = Request::get("http://test/").header("cookie", "a=1").header("cookie", "b=2").body(()).expect("ok");
    let (answer, _) = client.begin(request, true).await.expect("it is taken");
    whole(answer).await.expect("an answer");
    assert!(blue.last_head().to_ascii_lowercase().contains("\r\ncookie: a=1; b=2\r\n"), "{}", blue.last_head());
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_the_idle_timeout() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "idle_timeout = \"1s\"".to_owned();
    let proxy = setup.start().await;
    let mut client = Client::connect(proxy.http).await;
    assert_eq!(client.get("/").await.text(), "blue");
    let _ = client.ended().await;
    // Also one that answers nothing, and reads nothing.
    let mut silent = Raw::connect(proxy.http).await;
    silent.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GET))).await;
    let mut idle = Raw::connect(proxy.http).await;
    assert!(matches!(silent.outcome(1).await, Outcome::Answer(200)));
    idle.until_closed().await;
    silent.until_closed().await;
    proxy.until("none is open", |_| true).await;
}

#[tokio::test]
async fn streams_under_way_are_finished_when_the_process_stops() {
    let (blue, green) = pair().await;
    let mut proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let (answer, _) = client.begin(get("/gated"), true).await.expect("it is taken");
    let mut body = soon("a head", answer).await.expect("a head").into_body();
    let mut idle = Client::connect(proxy.http).await;
    idle.get("/").await;
    proxy.signal(Signal::TERM);
    idle.ended().await.expect("a clean end");
    // Nothing new is taken, and what was is finished.
    until("it takes nothing new", async || client.try_get("/").await.is_err().then_some(())).await;
    blue.open_gate();
    assert_eq!(some(&mut body, 6).await, b"[done]");
    over(&mut body).await;
    client.ended().await.expect("a clean end");
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn requests_that_break_the_rules_are_refused_and_nothing_of_them_arrives() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let without = |name: &str| GET.into_iter().filter(|(found, _)| *found != name).collect::<Vec<_>>();
    let plus = |field: (&'static str, &'static str)| GET.into_iter().chain([field]).collect::<Vec<_>>();
    let instead = |field: (&'static str, &'static str)| {
        GET.into_iter().map(|found| if found.0 == field.0 { field } else { found }).collect::<Vec<_>>()
    };
    let rows = [
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("two methods", plus((":method", "POST"))),
        ("two paths", plus((":path", "/smuggled"))),
        ("two authorities", plus((":authority", "b"))),
        ("two schemes", plus((":scheme", "https"))),
        ("an unknown pseudo-header", plus((":foo", "bar"))),
        ("a pseudo-header of answers", plus((":status", "200"))),
        ("a pseudo-header behind a field", [&[("x", "y")][..], &GET].concat()),
        ("a name in upper case", plus(("X-A", "b"))),
        ("a name with a space", plus(("x a", "b"))),
        ("a name with a colon", plus(("x:a", "b"))),
        ("a name with CR LF", plus(("x\r\nsmuggled", "b"))),
        ("an empty name", plus(("", "b"))),
        ("CR LF in a value", plus(("x", "a\r\nsmuggled: b"))),
        ("LF in a value", plus(("x", "a\nsmuggled: b"))),
        ("CR in a value", plus(("x", "a\rb"))),
        ("NUL in a value", plus(("x", "a\0b"))),
        ("connection", plus(("connection", "close"))),
        ("keep-alive", plus(("keep-alive", "timeout=5"))),
        ("proxy-connection", plus(("proxy-connection", "close"))),
        ("transfer-encoding", plus(("transfer-encoding", "chunked"))),
        ("upgrade", plus(("upgrade", "websocket"))),
        ("te that is not trailers", plus(("te", "gzip"))),
        ("an empty path", instead((":path", ""))),
        ("a path without a slash", instead((":path", "smuggled"))),
        ("a path with a space", instead((":path", "/ HTTP/1.1\r\nsmuggled: 1"))),
        ("a path with an authority", instead((":path", "http://smuggled/"))),
        ("a method with a space", instead((":method", "GET /smuggled"))),
        ("an empty method", instead((":method", ""))),
        ("an authority with a user", instead((":authority", "u@a"))),
        ("an authority with a path", instead((":authority", "a/smuggled"))),
        ("an authority with CR LF", instead((":authority", "a\r\nsmuggled: 1"))),
        ("another Host", plus(("host", "smuggled"))),
        ("two Hosts", [&without(":authority")[..], &[("host", "a"), ("host", "smuggled")]].concat()),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "smuggled:443")]),
        ("a protocol without CONNECT", plus((":protocol", "websocket"))),
        ("a length and no body", plus(("content-length", "5"))),
        ("a length that is none", plus(("content-length", "smuggled"))),
        ("a negative length", plus(("content-length", "-1"))),
        ("two lengths", [&GET[..], &[("content-length", "0"), ("content-length", "1")]].concat()),
    ];
    for (name, fields) in rows {
        let mut client = Raw::connect(proxy.http).await;
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        match client.outcome(1).await {
            Outcome::Answer(400) | Outcome::Reset | Outcome::GoAway | Outcome::Closed => {}
            outcome @ Outcome::Answer(_) => panic!("{name}: {outcome:?}"),
        }
    }
    assert_eq!(blue.heads(), Vec::<String>::new());
    assert_eq!(proxy.color().await, "blue", "everybody else is served");
}

#[tokio::test]
async fn a_host_that_says_the_same_as_the_authority_or_stands_for_it_is_fine() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let with = [GET.to_vec(), vec![("host", "a")]].concat();
    let instead: Vec<_> = GET.into_iter().filter(|(name, _)| *name != ":authority").chain([("host", "a")]).collect();
    for fields in [with, instead] {
        let mut client = Raw::connect(proxy.http).await;
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        let outcome = client.outcome(1).await;
        assert!(matches!(outcome, Outcome::Answer(200)), "{outcome:?}");
        assert_eq!(blue.last_head().to_ascii_lowercase().matches("\r\nhost: a\r\n").count(), 1);
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_was_said_is_refused() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let head =
        [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/echo"), ("content-length", "5")];
    for body in ["hell", "hello!", "hello GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut client = Raw::connect(proxy.http).await;
        client.send(frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
        client.send(frame(DATA, END_STREAM, 1, body.as_bytes())).await;
        let outcome = client.outcome(1).await;
        assert!(!matches!(outcome, Outcome::Answer(200)), "{body}: {outcome:?}");
    }
    assert!(blue.heads().iter().all(|head| !head.contains("smuggled")));
    for _ in 0..5 {
        assert_eq!(proxy.color().await, "blue");
    }
}

#[tokio::test]
async fn requests_that_are_opened_and_reset_without_end_end_the_connection() {
    let (blue, _green, proxy, mut other, before) = flooded().await;
    let mut client = Raw::connect(proxy.http).await;
    let mut stream = 1;
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/hangs")]);
    let ended = flood(&mut client, 4 << 20, || {
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        stream += 2;
        bytes
    })
    .await;
    assert!(ended, "{stream} streams were taken");
    assert!(blue.heads().len() < 2000, "{} reached the endpoint", blue.heads().len());
    unharmed(&proxy, before, &mut other).await;
}

#[tokio::test]
async fn a_head_that_never_ends_ends_the_connection() {
    let (_blue, _green, proxy, mut other, before) = flooded().await;
    for piece in [&[][..], &block(&[("x", "y")]), &block(&[("x", &"y".repeat(120))]).repeat(100)] {
        let mut client = Raw::connect(proxy.http).await;
        client.send(frame(HEADERS, 0, 1, &block(&GET))).await;
        let ended = flood(&mut client, 32 << 20, || frame(CONTINUATION, 0, 1, piece).repeat(10)).await;
        assert!(ended, "pieces of {}", piece.len());
        unharmed(&proxy, before, &mut other).await;
    }
}

#[tokio::test]
async fn streams_that_the_proxy_is_made_to_reset_without_end_end_the_connection() {
    let (blue, _green, proxy, mut other, before) = flooded().await;
    let head = block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/hangs")]);
    // Each of them breaks a rule of its stream, so that it is the proxy that resets it (CVE-2025-8671).
    let breaks: [fn(u32) -> Vec<u8>; 4] = [
        |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
        |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()),
        |stream| frame(DATA, 0, stream, b"x"),
        |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &[]),
    ];
    for broken in breaks {
        let mut client = Raw::connect(proxy.http).await;
        let mut stream = 1;
        let ended = flood(&mut client, 4 << 20, || {
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
            bytes.extend(broken(stream));
            stream += 2;
            bytes
        })
        .await;
        assert!(ended, "{stream} streams were taken");
    }
    assert!(blue.heads().len() < 2000, "{} reached the endpoint", blue.heads().len());
    unharmed(&proxy, before, &mut other).await;
    proxy.until("all are given up", |status| status["blue"]["requests"] == 0).await;
}

#[tokio::test]
async fn frames_that_bring_nothing_on_end_the_connection() {
    let (_blue, _green, proxy, mut other, before) = flooded().await;
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100);
    let ping = frame(PING, 0, 0, &[7; 8]).repeat(100);
    let window = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(100);
    let priority = frame(2, 0, 1, &[0; 5]).repeat(100);
    let unknown = frame(0xee, 0, 0, &[]).repeat(100);
    for bytes in [settings, ping, window, priority, unknown] {
        // The answers are not read.
        let mut client = Raw::connect(proxy.http).await;
        assert!(flood(&mut client, 32 << 20, || bytes.clone()).await, "{:?}", &bytes[..9]);
        unharmed(&proxy, before, &mut other).await;
    }
}

#[tokio::test]
async fn empty_pieces_of_a_body_without_end_end_the_connection() {
    let (_blue, _green, proxy, mut other, before) = flooded().await;
    let mut client = Raw::connect(proxy.http).await;
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/echo")];
    client.send(frame(HEADERS, END_HEADERS, 1, &block(&head))).await;
    assert!(flood(&mut client, 8 << 20, || frame(DATA, 0, 1, &[]).repeat(100)).await);
    unharmed(&proxy, before, &mut other).await;
}

#[tokio::test]
async fn a_client_that_opens_windows_and_reads_nothing_costs_a_buffer() {
    let (_blue, _green, proxy, mut other, before) = flooded().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Raw::connect(proxy.http).await;
        client.send(frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).await;
        client.send(frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).await;
        let head =
            block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/bytes?100000000")]);
        for stream in 0..10 {
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &head)).await;
        }
        clients.push(client);
    }
    for _ in 0..20 {
        assert_eq!(other.get("/").await.text(), "blue");
    }
    // Each of the two hundred has a connection to the endpoint, with a block of what came.
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB for what nobody reads");
}

#[tokio::test]
async fn fields_that_unpack_to_much_more_than_was_sent_are_refused() {
    let (blue, _green, proxy, mut other, before) = flooded().await;
    let mut client = Raw::connect(proxy.http).await;
    let mut bomb = block(&GET);
    // Into the table, 4000 bytes long, and out of it 10000 times.
    bomb.extend([0x40, 1, b'x', 0x7f]);
    let (mut length, value) = (4000 - 127, vec![b'y'; 4000]);
    while length >= 128 {
        bomb.push(u8::try_from(length % 128 + 128).expect("a byte"));
        length /= 128;
    }
    bomb.push(u8::try_from(length).expect("a byte"));
    bomb.extend(value);
    bomb.extend([0x80 | 62; 10_000]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)).await;
    match client.outcome(1).await {
        Outcome::Answer(200) => panic!("40 MB of fields are served"),
        Outcome::Answer(_) | Outcome::Reset | Outcome::GoAway | Outcome::Closed => {}
    }
    assert!(blue.heads().iter().all(|head| head.len() < 100_000));
    unharmed(&proxy, before, &mut other).await;
}

#[tokio::test]
async fn a_connection_that_breaks_the_framing_is_ended() {
    let (_blue, _green, proxy, mut other, before) = flooded().await;
    let get = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GET));
    let rows = [
        ("a frame larger than was allowed", vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
        ("data on no stream", frame(DATA, 0, 0, b"x")),
        ("data on a stream that is idle", frame(DATA, 0, 1, b"x")),
        ("a head on an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&GET))),
        (
            "a head that goes on elsewhere",
            [frame(HEADERS, 0, 1, &block(&GET)), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
        ),
        ("a head with another frame inside", [frame(HEADERS, 0, 1, &block(&GET)), frame(PING, 0, 0, &[0; 8])].concat()),
        ("fields that can't be unpacked", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80])),
        ("settings of no length", frame(SETTINGS, 0, 0, &[1])),
        ("settings with an answer inside", frame(SETTINGS, ACK, 0, &[0; 6])),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
        ("a window that opens by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window of a stream that is idle", frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("a reset of a stream that is idle", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("a reset of no stream", frame(RST_STREAM, 0, 0, &[0; 4])),
        ("a reset of no length", frame(RST_STREAM, 0, 1, &[0; 3])),
        ("a head on no stream", frame(HEADERS, END_HEADERS | END_STREAM, 0, &block(&GET))),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        ("a ping that is too long", frame(PING, 0, 0, &[0; 9])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("a promise", frame(5, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("a head that goes on and never began", frame(CONTINUATION, END_HEADERS, 1, &block(&GET))),
        ("more padding than there is", frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &[9, 0x82])),
        ("padding of no length", frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &[])),
        (
            "more padding of data than there is",
            [frame(HEADERS, END_HEADERS, 1, &block(&GET)), frame(DATA, 8, 1, &[200])].concat(),
        ),
        (
            "a stream number that goes back",
            [
                frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&GET)),
                frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&GET)),
            ]
            .concat(),
        ),
    ];
    for (name, bytes) in rows {
        let mut client = Raw::connect(proxy.http).await;
        client.send(bytes).await;
        client.send(&get).await;
        soon(name, async {
            loop {
                match client.frame().await {
                    Ok((GOAWAY, ..)) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        })
        .await;
        client.until_closed().await;
    }
    unharmed(&proxy, before, &mut other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_under_load_over_http2_on_both_sides_lose_nothing() {
    let (_blue, _green, proxy) = over_http2().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, http) = (Arc::clone(&stop), proxy.http);
            tokio::spawn(async move {
                let mut client = Client::connect(http).await;
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get("/").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut there = Client::connect(proxy.http).await;
    for round in 0..10 {
        let answer = proxy.post("/admin/switch", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for _ in 0..20 {
            assert_eq!(there.get("/").await.text(), if round % 2 == 0 { "green" } else { "blue" }, "{}", proxy.log());
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let answered = client.await.unwrap_or_else(|error| panic!("{error}\n{}", proxy.log()));
        assert!(answered > 0);
    }
}

/// Sends until the connection is ended, at most so many bytes; whether it was.
async fn flood(client: &mut Raw, most: usize, mut next: impl FnMut() -> Vec<u8>) -> bool {
    let mut sent = 0;
    while sent < most {
        let bytes = next();
        sent += bytes.len();
        // Where nobody reads any more, and nobody closes: it is the flooder who waits.
        match tokio::time::timeout(std::time::Duration::from_secs(2), client.try_send(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}

async fn unharmed(proxy: &Proxy, before: u64, other: &mut Client) {
    assert_eq!(other.get("/").await.text(), "blue", "a connection that was there");
    assert_eq!(proxy.color().await, "blue");
    let grown = resident(proxy).saturating_sub(before);
    assert!(grown < 48, "it has grown by {grown} MiB");
}

async fn flooded() -> (Application, Application, Proxy, Client, u64) {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut other = Client::connect(proxy.http).await;
    assert_eq!(other.get("/").await.text(), "blue");
    let before = resident(&proxy);
    (blue, green, proxy, other, before)
}
