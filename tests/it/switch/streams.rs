//! WebSockets at a switch, frame by frame: how they are ended, which of them, and what is done about ends that do not go along.
//! Both ends are sockets that say exactly what they are told to; `clients.rs` has real libraries.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::client::Connection;
use crate::http2;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

const TEXT: u8 = 0x01;
const CONTINUATION: u8 = 0x00;
const CLOSE: u8 = 0x08;
const FIN: u8 = 0x80;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// Service restart.
const RESTART: u16 = 1012;

/// A frame as RFC 6455, 5.2, has it.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(masked | short as u8),
        middle @ 126..0x1_0000 => {
            frame.push(masked | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(masked | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some(MASK))
}

fn from_endpoint(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, None)
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A short frame: its first byte, whether it is masked, what it says. `None` at the end.
async fn next(connection: &mut Connection) -> Option<(u8, bool, Vec<u8>)> {
    let head = soon("a frame", connection.exactly(2)).await?;
    let (masked, length) = (head[1] & 0x80 != 0, usize::from(head[1] & 0x7f));
    assert!(length < 126, "the tests' own frames are short where they are read by this");
    let mask = if masked { connection.exactly(4).await? } else { vec![0; 4] };
    let payload = connection.exactly(length).await?;
    Some((head[0], masked, payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()))
}

async fn told_to_come_again(connection: &mut Connection, masked: bool) {
    let (first, is_masked, payload) = next(connection).await.expect("a close frame");
    assert_eq!((first, is_masked), (FIN | CLOSE, masked));
    assert_eq!(payload, close(RESTART, "service restart"));
}

/// An endpoint that grants every upgrade and hands the socket out.
struct Endpoint {
    address: SocketAddr,
    sockets: mpsc::UnboundedReceiver<Connection>,
}

impl Endpoint {
    async fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (opened, sockets) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let opened = opened.clone();
                tokio::spawn(async move {
                    // A probe only connects.
                    let Some(stream) = asked(stream).await else { return };
                    let _ = opened.send(Connection::over(stream));
                });
            }
        });
        Endpoint { address, sockets }
    }

    /// One that was asked, and did not answer yet.
    async fn asked(&mut self) -> Connection {
        soon("a request", self.sockets.recv()).await.expect("it is there")
    }

    async fn granted(&mut self) -> Connection {
        let mut socket = self.asked().await;
        grant(&mut socket).await;
        socket
    }
}

async fn asked(mut stream: TcpStream) -> Option<TcpStream> {
    let _ = stream.set_nodelay(true);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(stream)
}

async fn grant(socket: &mut Connection) {
    socket.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
}

struct World {
    blue: Endpoint,
    green: Endpoint,
    proxy: Proxy,
}

impl World {
    async fn start(drain: &str) -> World {
        let (blue, green) = (Endpoint::start().await, Endpoint::start().await);
        let mut setup = Setup::at(blue.address, green.address);
        setup.drain = drain.to_owned();
        // These know no HTTP but WebSocket's: a connection is the check.
        setup.health = "interval = \"100ms\"".to_owned();
        World { blue, green, proxy: setup.start().await }
    }

    async fn ask(&self) -> Connection {
        let mut client = self.proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        client
    }

    /// Both ends of a WebSocket to blue.
    async fn open(&mut self) -> (Connection, Connection) {
        let mut client = self.ask().await;
        let endpoint = self.blue.granted().await;
        assert_eq!(client.answer().await.status, 101);
        (client, endpoint)
    }

    /// How the drain of blue ended.
    async fn drained(&self) -> serde_json::Value {
        until("the history tells it", async || {
            let history = self.proxy.admin("GET", "/admin/history", "").await.json();
            let lines = history["transitions"].as_array().expect("a list").iter();
            lines.map(|line| &line["drained"]).find(|drained| drained["color"] == "blue").cloned()
        })
        .await
    }
}

const AT_ONCE: &str = "timeout = \"60s\"\nstreams = \"close\"";

/// What is heard is sent on, so that the socket is known to be alive.
async fn is_alive(client: &mut Connection, endpoint: &mut Connection) {
    client.send(from_client(FIN | TEXT, b"there?")).await;
    assert_eq!(next(endpoint).await.expect("a frame"), (FIN | TEXT, true, b"there?".to_vec()));
    endpoint.send(from_endpoint(FIN | TEXT, b"here")).await;
    assert_eq!(next(client).await.expect("a frame"), (FIN | TEXT, false, b"here".to_vec()));
}

#[tokio::test]
async fn both_ends_are_told_between_two_frames_and_have_their_last_word() {
    let mut world = World::start(AT_ONCE).await;
    let (mut client, mut endpoint) = world.open().await;
    // One direction is in a long payload, within a message in fragments; the other in the middle of a header.
    let up = [from_client(TEXT, b"a fragment, "), from_client(CONTINUATION, &[7; 70_000])].concat();
    let down = from_endpoint(FIN | TEXT, &[8; 300]);
    client.send(&up[..1000]).await;
    endpoint.send(&down[..3]).await;
    assert_eq!(endpoint.exactly(1000).await.expect("it goes on"), up[..1000]);
    assert_eq!(client.exactly(3).await.expect("it goes on"), down[..3]);

    world.proxy.switch("green").await;
    client.send(&up[1000..]).await;
    endpoint.send(&down[3..]).await;
    assert_eq!(endpoint.exactly(up.len() - 1000).await.expect("the rest of the frame"), up[1000..]);
    assert_eq!(client.exactly(down.len() - 3).await.expect("the rest of the frame"), down[3..]);
    told_to_come_again(&mut endpoint, true).await;
    told_to_come_again(&mut client, false).await;
    // What is said after that is nobody's any more, up to the answers.
    client.send(from_client(FIN | CONTINUATION, b"and an end")).await;
    client.send(from_client(FIN | CLOSE, &close(RESTART, ""))).await;
    endpoint.send(from_endpoint(FIN | CLOSE, &close(RESTART, ""))).await;
    assert!(client.ended().await && endpoint.ended().await);

    let drained = world.drained().await;
    assert_eq!(drained["by_kind"], json!({ "requests": 0, "streams": 0, "tunnels": 1 }));
    assert_eq!((&drained["ended"], &drained["timed_out"]), (&json!(1), &json!(false)));
}

#[tokio::test]
async fn who_says_goodbye_at_that_moment_has_the_answer_of_the_other_end() {
    let mut world = World::start(AT_ONCE).await;
    let (mut client, mut endpoint) = world.open().await;
    client.send(from_client(FIN | CLOSE, &close(1000, "bye"))).await;
    assert_eq!(next(&mut endpoint).await.expect("a frame"), (FIN | CLOSE, true, close(1000, "bye")));
    let (mut other, mut others_endpoint) = world.open().await;
    others_endpoint.send(from_endpoint(FIN | CLOSE, &close(4001, ""))).await;
    assert_eq!(next(&mut other).await.expect("a frame"), (FIN | CLOSE, false, close(4001, "")));

    world.proxy.switch("green").await;
    endpoint.send(from_endpoint(FIN | TEXT, b"one more")).await;
    endpoint.send(from_endpoint(FIN | CLOSE, &close(1000, "bye"))).await;
    assert_eq!(next(&mut client).await.expect("a frame"), (FIN | TEXT, false, b"one more".to_vec()));
    assert_eq!(next(&mut client).await.expect("a frame"), (FIN | CLOSE, false, close(1000, "bye")));
    other.send(from_client(FIN | CLOSE, &close(4001, ""))).await;
    assert_eq!(next(&mut others_endpoint).await.expect("a frame"), (FIN | CLOSE, true, close(4001, "")));
    for end in [&mut client, &mut endpoint, &mut other, &mut others_endpoint] {
        assert!(end.ended().await);
    }
}

#[tokio::test]
async fn an_end_that_does_not_go_along_does_not_hold_up_the_drain() {
    let mut world = World::start(AT_ONCE).await;
    // Neither of these answers.
    let (mut silent, mut silent_endpoint) = world.open().await;
    // This frame never ends.
    let (mut waiting, mut endless) = world.open().await;
    endless.send(&from_endpoint(FIN | TEXT, &[9; 5000])[..2000]).await;
    waiting.exactly(2000).await.expect("the beginning");
    // This client does not read.
    let (_deaf, mut eager) = world.open().await;
    let eager =
        tokio::spawn(async move { while eager.try_send(from_endpoint(FIN | TEXT, &[9; 60_000])).await.is_ok() {} });
    // This one was never a WebSocket: what a client sends is masked.
    let (mut lost, mut losts_endpoint) = world.open().await;
    lost.send(from_endpoint(FIN | TEXT, b"no mask")).await;
    assert_eq!(next(&mut losts_endpoint).await.expect("it goes on"), (FIN | TEXT, false, b"no mask".to_vec()));

    world.proxy.switch("green").await;
    told_to_come_again(&mut silent, false).await;
    told_to_come_again(&mut silent_endpoint, true).await;
    assert!(soon("the end", silent.ended()).await && soon("the end", silent_endpoint.ended()).await);
    assert!(soon("the end", waiting.ended()).await, "no close frame stands within a frame");
    told_to_come_again(&mut endless, true).await;
    told_to_come_again(&mut lost, false).await;
    assert!(soon("the end", losts_endpoint.ended()).await, "nobody knows where a frame would stand");
    soon("the end", eager).await.expect("it has ended");
    let drained = world.drained().await;
    assert_eq!((&drained["ended"], &drained["timed_out"]), (&json!(4), &json!(false)));
}

#[tokio::test]
async fn one_that_is_kept_is_told_at_the_end_of_the_drain() {
    let mut world = World::start("timeout = \"300ms\"\nstreams = \"keep\"").await;
    let (mut client, mut endpoint) = world.open().await;
    world.proxy.switch("green").await;
    told_to_come_again(&mut client, false).await;
    client.send(from_client(FIN | CLOSE, &close(RESTART, ""))).await;
    told_to_come_again(&mut endpoint, true).await;
    endpoint.send(from_endpoint(FIN | CLOSE, &close(RESTART, ""))).await;
    assert!(client.ended().await && endpoint.ended().await);
    assert_eq!(world.drained().await["timed_out"], true);
}

#[tokio::test]
async fn one_that_is_granted_after_the_switch_is_ended_as_well() {
    let mut world = World::start(AT_ONCE).await;
    let mut client = world.ask().await;
    let mut endpoint = world.blue.asked().await;
    world.proxy.switch("green").await;
    grant(&mut endpoint).await;
    assert_eq!(client.answer().await.status, 101);
    told_to_come_again(&mut client, false).await;
}

#[tokio::test]
async fn a_rollback_keeps_what_a_spread_has_not_ended_and_ends_what_was_opened_in_between() {
    let mut world = World::start("timeout = \"60s\"\nstreams = \"spread\"\nspread = \"4s\"").await;
    let mut sockets = Vec::new();
    for _ in 0..12 {
        sockets.push(world.open().await);
    }
    world.proxy.switch("green").await;
    let mut between = world.ask().await;
    let mut betweens_endpoint = world.green.granted().await;
    assert_eq!(between.answer().await.status, 101);
    let answer = world.proxy.post("/admin/rollback", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    told_to_come_again(&mut between, false).await;
    told_to_come_again(&mut betweens_endpoint, true).await;
    // Longer than the spread would have taken.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let mut kept = 0;
    for (mut client, mut endpoint) in sockets {
        let _ = client.try_send(from_client(FIN | TEXT, b"there?")).await;
        if next(&mut endpoint).await == Some((FIN | TEXT, true, b"there?".to_vec())) {
            kept += 1;
        }
    }
    assert!(kept > 0, "the rollback came in the middle");
}

#[tokio::test]
async fn the_other_color_goes_on_while_one_is_spread_away() {
    let mut world = World::start("timeout = \"60s\"\nstreams = \"spread\"\nspread = \"1s\"").await;
    let (mut client, mut endpoint) = world.open().await;
    world.proxy.switch("green").await;
    let mut other = world.ask().await;
    let mut others_endpoint = world.green.granted().await;
    assert_eq!(other.answer().await.status, 101);
    told_to_come_again(&mut client, false).await;
    told_to_come_again(&mut endpoint, true).await;
    drop((client, endpoint));
    world.drained().await;
    is_alive(&mut other, &mut others_endpoint).await;
}

#[tokio::test]
async fn one_over_http2_is_told_in_its_stream_which_then_ends() {
    let mut world = World::start(AT_ONCE).await;
    let mut client = http2::Client::connect(world.proxy.http).await;
    http2::until_extended_connect(&mut client).await;
    let (answer, mut send) = client.begin(http2::websocket("/"), false).await.expect("it is taken");
    let mut endpoint = world.blue.granted().await;
    let mut body = soon("an answer", answer).await.expect("an answer").into_body();
    endpoint.send(from_endpoint(FIN | TEXT, b"hello")).await;
    assert_eq!(http2::some(&mut body, 7).await, from_endpoint(FIN | TEXT, b"hello"));

    world.proxy.switch("green").await;
    let expected = from_endpoint(FIN | CLOSE, &close(RESTART, "service restart"));
    assert_eq!(http2::some(&mut body, expected.len()).await, expected);
    told_to_come_again(&mut endpoint, true).await;
    send.send_data(Bytes::from(from_client(FIN | CLOSE, &close(RESTART, ""))), true).expect("open");
    endpoint.send(from_endpoint(FIN | CLOSE, &close(RESTART, ""))).await;
    http2::over(&mut body).await;
    assert!(endpoint.ended().await);
    assert_eq!(world.drained().await["by_kind"]["tunnels"], 1);
}

#[tokio::test]
async fn a_process_that_stops_tells_them() {
    for streams in ["streams = \"close\"", "streams = \"keep\""] {
        let mut world = World::start(&format!("timeout = \"300ms\"\n{streams}")).await;
        let (mut client, mut endpoint) = world.open().await;
        let mut second = http2::Client::connect(world.proxy.http).await;
        http2::until_extended_connect(&mut second).await;
        let (answer, _send) = second.begin(http2::websocket("/"), false).await.expect("it is taken");
        let mut seconds_endpoint = world.blue.granted().await;
        let mut body = soon("an answer", answer).await.expect("an answer").into_body();
        world.proxy.signal(rustix::process::Signal::TERM);
        told_to_come_again(&mut client, false).await;
        told_to_come_again(&mut endpoint, true).await;
        let expected = from_endpoint(FIN | CLOSE, &close(RESTART, "service restart"));
        assert_eq!(http2::some(&mut body, expected.len()).await, expected);
        told_to_come_again(&mut seconds_endpoint, true).await;
        drop((client, endpoint, second, seconds_endpoint));
        assert!(world.proxy.ended().await.success());
    }
}
