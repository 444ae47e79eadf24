//! What one HTTP/2 connection of a client can use up, and what it gets all the same.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::poll_fn;
use h2::Reason;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::pair;
use crate::http2::{
    Client, DATA, END_HEADERS, END_STREAM, Endpoint, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE,
    block, frame, post, resident, start_over_http2, whole,
};
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

fn head(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

/// The last four bytes of a payload as a number.
fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(*payload.last_chunk().expect("four bytes"))
}

#[tokio::test]
async fn padded_uploads_do_not_stall() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Raw::connect(proxy.http).await;
    client.send(frame(HEADERS, END_HEADERS, 1, &head("POST", "/echo"))).await;
    let mut padded = vec![255, b'x'];
    padded.resize(257, 0);
    // As a client that keeps to the windows that it was told.
    let (mut of_stream, mut of_connection) = (65_535, 65_535);
    let mut announced = false;
    let mut sent = 0;
    while sent < 1020 {
        if announced && of_stream >= 257 && of_connection >= 257 {
            (of_stream, of_connection) = (of_stream - 257, of_connection - 257);
            client.send(frame(DATA, 8, 1, &padded)).await;
            sent += 1;
            continue;
        }
        match soon("a window", client.frame()).await.expect("the connection goes on") {
            (SETTINGS, 0, ..) => announced = true,
            (WINDOW_UPDATE, _, 0, payload) => of_connection += number(&payload),
            (WINDOW_UPDATE, _, 1, payload) => of_stream += number(&payload),
            (PING, 0, _, payload) => client.send(frame(PING, 1, 0, &payload)).await,
            _ => {}
        }
    }
    client.send(frame(DATA, END_STREAM, 1, b"!")).await;
    let mut body = 0;
    loop {
        match soon("the answer", client.frame()).await.expect("the connection goes on") {
            (DATA, flags, 1, payload) => {
                body += payload.len();
                if flags & END_STREAM != 0 {
                    break;
                }
            }
            (RST_STREAM | GOAWAY, ..) => panic!("it is cut off"),
            _ => {}
        }
    }
    assert_eq!(body, 1021);
}

#[tokio::test]
async fn failures_of_endpoints_do_not_end_the_connection_of_a_client() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    for _ in 0..1100 {
        let error = client.try_get("/dies").await.expect_err("it is reset");
        assert!(error.is_reset(), "{error}");
    }
    assert_eq!(client.get("/").await.text(), "blue");
}

#[tokio::test]
async fn cancelled_calls_do_not_end_a_connection_that_also_takes_answers() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    for _ in 0..1002 {
        let (answer, mut send) = client.begin(post("/hangs"), false).await.expect("it is taken");
        send.send_reset(Reason::CANCEL);
        drop(answer);
        assert_eq!(client.get("/").await.text(), "blue");
    }
}

#[tokio::test]
async fn settings_with_thousands_of_entries_have_the_effect_of_the_last() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Raw::connect(proxy.http).await;
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for nth in 0..100 {
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * nth + 1, &head("GET", "/bytes?1000"))).await;
    }
    let entries: Vec<u8> = (0..2729).flat_map(|nth| [0, 4, 0, 0, 0, nth as u8]).chain([0, 4, 0, 0, 0, 10]).collect();
    for _ in 0..20 {
        client.send(frame(SETTINGS, 0, 0, &entries)).await;
    }
    let mut received = vec![0; 100];
    while received.iter().sum::<usize>() < 1000 {
        match soon("data", client.frame()).await.expect("the connection goes on") {
            (DATA, _, stream, payload) => received[stream as usize / 2] += payload.len(),
            (RST_STREAM | GOAWAY, ..) => panic!("it is cut off"),
            _ => {}
        }
    }
    assert_eq!(received, [10; 100]);
}

/// Passes everything on after this time, as a long line does.
async fn line(to: SocketAddr, delay: Duration) -> SocketAddr {
    async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        let reading = async move {
            loop {
                let mut piece = vec![0; 64 << 10];
                match from.read(&mut piece).await {
                    Ok(n @ 1..) => piece.truncate(n),
                    _ => break,
                }
                let _ = send.send((tokio::time::Instant::now() + delay, piece));
            }
        };
        let writing = async move {
            while let Some((when, piece)) = receive.recv().await {
                tokio::time::sleep_until(when).await;
                if to.write_all(&piece).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(reading, writing);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.expect("the proxy accepts");
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(pass(from_client, to_server, delay));
            tokio::spawn(pass(from_server, to_client, delay));
        }
    });
    address
}

#[tokio::test]
async fn the_window_of_an_upload_grows_on_a_long_line() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let proxy = start_over_http2(&blue, &green, |_| {}).await;
    let mut client = Client::connect(line(proxy.http, Duration::from_millis(50)).await).await;
    let (answer, mut send) = client.begin(post("/drains"), false).await.expect("it is taken");
    let (mut left, mut widest) = (12 << 20, 0);
    while left > 0 {
        send.reserve_capacity(left);
        let room = soon("a window", poll_fn(|cx| send.poll_capacity(cx))).await.expect("open").expect("open");
        let room = room.min(left);
        widest = widest.max(room);
        left -= room;
        send.send_data(vec![0; room].into(), left == 0).expect("open");
    }
    let answer = whole(answer).await.expect("an answer");
    assert_eq!(answer.text(), (12 << 20).to_string());
    assert!(widest >= 1 << 20, "{widest} bytes at once");
}

#[tokio::test]
async fn stalled_uploads_leave_the_others_of_their_connection_running() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let (answer, mut send) = client.begin(post("/late"), false).await.expect("it is taken");
        // Until the endpoint takes no more, nor the proxy.
        let mut sent = 0;
        loop {
            send.reserve_capacity(1 << 20);
            let room = tokio::time::timeout(Duration::from_millis(100), poll_fn(|cx| send.poll_capacity(cx))).await;
            let Ok(room) = room else { break };
            let room = room.expect("open").expect("open");
            sent += room;
            assert!(sent < 64 << 20, "nobody reads it, and it goes on");
            send.send_data(vec![0; room].into(), false).expect("open");
        }
        stalled.push((answer, send));
    }
    let body = vec![7; 2_000_000];
    assert!(client.echo(&body, None).await.body == body);
    blue.open_gate();
    for (answer, _send) in stalled {
        assert_eq!(soon("an answer", answer).await.expect("an answer").status(), 200);
    }
}

#[tokio::test]
async fn streams_beyond_the_configured_number_are_refused_and_the_connection_goes_on() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "max_concurrent_streams = 3".to_owned();
    let proxy = setup.start().await;
    let mut client = Raw::connect(proxy.http).await;
    let (kind, _, _, settings) = client.frame().await.expect("settings");
    assert_eq!(kind, SETTINGS);
    assert!(settings.chunks(6).any(|entry| entry == [0, 3, 0, 0, 0, 3]), "{settings:?}");
    for stream in [1, 3, 5, 7] {
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", "/gated"))).await;
    }
    let mut answered = 0;
    loop {
        match soon("an outcome", client.frame()).await.expect("the connection goes on") {
            (RST_STREAM, _, 7, code) => break assert_eq!(number(&code), REFUSED_STREAM),
            (HEADERS, ..) => answered += 1,
            (GOAWAY | RST_STREAM, ..) => panic!("others are cut off"),
            _ => {}
        }
    }
    blue.open_gate();
    while answered < 3 {
        let (kind, _, stream, _) = soon("an answer", client.frame()).await.expect("the connection goes on");
        assert!(!matches!(kind, GOAWAY | RST_STREAM), "{stream}");
        answered += usize::from(kind == HEADERS);
    }
    // A place that is free again is given again.
    until("a place is free", async || {
        let fifth = Client::connect(proxy.http).await.get("/").await;
        (fifth.status == 200).then_some(())
    })
    .await;
}

/// Streams of four connections that are opened and never read; the connections.
async fn opened(proxy: &Proxy, first: &[u8], then: &[u8], others: &[u8]) -> Vec<Raw> {
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Raw::connect(proxy.http).await;
        client.send(first).await;
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, then)).await;
        for nth in 1..100 {
            client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * nth + 1, others)).await;
        }
        clients.push(client);
    }
    clients
}

/// Fails if the proxy has grown by more than this many MiB, once it is done with what was sent to it.
async fn grown_at_most(proxy: &Proxy, before: u64, most: u64) {
    for _ in 0..20 {
        assert_eq!(Client::connect(proxy.http).await.get("/").await.text(), "blue");
    }
    let grown = resident(proxy).saturating_sub(before);
    assert!(grown < most, "it has grown by {grown} MiB");
}

/// A field that goes into the table, of `length` bytes.
pub(crate) fn into_table(length: usize) -> Vec<u8> {
    let mut block = vec![0x40, 1, b'x', 0x7f];
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    block.push(rest as u8);
    block.resize(block.len() + length, b'y');
    block
}

#[tokio::test]
async fn heads_out_of_the_compression_table_do_not_fill_the_memory() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let before = resident(&proxy);
    let plain = head("GET", "/hangs");
    // 60 KB out of 16 bytes.
    let amplified = [&plain[..], &[0x80 | 62; 16]].concat();
    let mut clients = opened(&proxy, &[], &[plain, into_table(3500)].concat(), &amplified).await;
    for client in &mut clients {
        loop {
            match soon("a refusal", client.frame()).await.expect("the connection goes on") {
                (RST_STREAM, _, _, code) => break assert_eq!(number(&code), REFUSED_STREAM),
                (GOAWAY, ..) => panic!("it is cut off"),
                _ => {}
            }
        }
    }
    grown_at_most(&proxy, before, 24).await;
}

#[tokio::test]
async fn downloads_without_a_window_do_not_fill_the_memory() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    // The queue of an endpoint on a busy machine may not take 400 connections at once.
    setup.more = "[upstream.default]\nconnect_timeout = \"20s\"\n".to_owned();
    let proxy = setup.start().await;
    let before = resident(&proxy);
    let head = head("GET", "/bytes?100000000");
    let _clients = opened(&proxy, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), &head, &head).await;
    until("all are asked for", async || (blue.heads().len() >= 400).then_some(())).await;
    grown_at_most(&proxy, before, 24).await;
}

#[tokio::test]
async fn downloads_without_a_window_from_http2_endpoints_do_not_fill_the_memory() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let proxy = start_over_http2(&blue, &green, |_| {}).await;
    let before = resident(&proxy);
    let head = head("GET", "/floods");
    let _clients = opened(&proxy, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), &head, &head).await;
    until("all are asked for", async || (blue.asked("/floods") >= 400).then_some(())).await;
    grown_at_most(&proxy, before, 56).await;
}

#[tokio::test]
async fn large_heads_of_answers_do_not_fill_the_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).await.unwrap_or(0);
                let answer = match request[..n].starts_with(b"GET /large") {
                    true => format!("HTTP/1.1 200 OK\r\nx: {}\r\nContent-Length: 4\r\n\r\nblue", "y".repeat(60_000)),
                    false => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nblue".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.read(&mut request).await;
            });
        }
    });
    let proxy = Setup::at(address, address).start().await;
    proxy.until("it is up", |status| status["blue"]["endpoints"][0]["health"] == "up").await;
    let before = resident(&proxy);
    let head = head("GET", "/large");
    // Nothing can be sent of the bodies, so that the heads stay.
    let mut clients = opened(&proxy, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]), &head, &head).await;
    grown_at_most(&proxy, before, 24).await;
    // A client that reads gets all of them.
    let client = &mut clients[0];
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await;
    let mut whole = 0;
    while whole < 100 {
        let (kind, flags, _, _) = soon("the rest", client.frame()).await.expect("the connection goes on");
        assert!(!matches!(kind, RST_STREAM | GOAWAY));
        whole += usize::from(kind == DATA && flags & END_STREAM != 0);
    }
}

#[tokio::test]
async fn a_field_block_without_its_end_is_under_the_header_timeout_beside_other_streams() {
    let (blue, green) = pair().await;
    let mut setup = Setup::new(&blue, &green);
    setup.listen = "header_timeout = \"300ms\"".to_owned();
    let proxy = setup.start().await;
    let block = head("GET", "/");
    let partial = frame(HEADERS, END_HEADERS | END_STREAM, 3, &block);
    for begun in [frame(HEADERS, END_STREAM, 3, &block), partial[..partial.len() - 1].to_vec()] {
        for others in [true, false] {
            let mut client = Raw::connect(proxy.http).await;
            if others {
                client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/gated"))).await;
            }
            client.send(&begun).await;
            loop {
                match soon("an end", client.frame()).await.expect("it is told why") {
                    (GOAWAY, _, _, payload) => break assert_eq!(number(&payload), ENHANCE_YOUR_CALM),
                    (SETTINGS | WINDOW_UPDATE, ..) => {}
                    (HEADERS | DATA, _, 1, _) if others => {}
                    other => panic!("{other:?}"),
                }
            }
            client.until_closed().await;
        }
    }
    // Those that are complete in time are served, whatever came of earlier ones.
    let mut client = Raw::connect(proxy.http).await;
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/ticks?60"))).await;
    for stream in [3, 5] {
        client.send(frame(HEADERS, END_STREAM, stream, &block)).await;
        client.send(frame(9, END_HEADERS, stream, &[])).await;
    }
    let mut ended = 0;
    while ended < 3 {
        let (kind, flags, _, _) = soon("answers", client.frame()).await.expect("the connection goes on");
        ended += usize::from(kind == DATA && flags & END_STREAM != 0);
    }
}

#[tokio::test]
async fn requests_that_are_refused_where_they_are_read_are_in_the_access_log() {
    let (blue, green) = pair().await;
    let proxy = Proxy::start(&blue, &green).await;
    let mut client = Client::connect(proxy.http).await;
    let large = "y".repeat(30_000);
    let request = Request::get("http://test/").header("a", &large).header("b", &large).header("c", &large);
    let (answer, _) = client.begin(request.body(()).expect("a request"), true).await.expect("it is taken");
    assert_eq!(whole(answer).await.expect("an answer").status, 431);
    let mut raw = Raw::connect(proxy.http).await;
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":method", "GET"), (":path", "/")]))).await;
    until("both are logged", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        [431, 400].iter().all(|status| log.contains(&format!("\"status\":{status}"))).then_some(())
    })
    .await;
    assert_eq!(client.get("/").await.text(), "blue", "the connection goes on");
}
