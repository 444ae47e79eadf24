//! HTTP/2 connections to endpoints whose packets vanish.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http2::{Client, Endpoint};
use crate::proxy::{Proxy, Setup};
use crate::requests::messages::all_are_up;
use crate::until;

/// Passes bytes on, until it is told to swallow those of all connections that there are. New ones work.
struct Relay {
    address: SocketAddr,
    swallow: watch::Sender<u64>,
    connections: watch::Receiver<u64>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (swallow, _) = watch::channel(0);
        let (count, connections) = watch::channel(0);
        let orders = swallow.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(to).await else { continue };
                count.send_modify(|count| *count += 1);
                let ((read, write), (other_read, other_write)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(read, other_write, orders.subscribe()));
                tokio::spawn(pass(other_read, write, orders.subscribe()));
            }
        });
        Relay { address, swallow, connections }
    }

    fn swallow(&self) {
        self.swallow.send_modify(|times| *times += 1);
    }

    fn connections(&self) -> u64 {
        *self.connections.borrow()
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut orders: watch::Receiver<u64>) {
    let mut block = vec![0; 16 << 10];
    loop {
        tokio::select! {
            biased;
            Ok(()) = orders.changed() => break,
            read = from.read(&mut block) => match read {
                Ok(n @ 1..) if to.write_all(&block[..n]).await.is_ok() => {}
                _ => return,
            },
        }
    }
    // Neither an end nor a byte more.
    while matches!(from.read(&mut block).await, Ok(1..)) {}
    std::future::pending::<()>().await;
}

async fn behind_relay(endpoint: &Endpoint, other: &Endpoint, policy: &str) -> (Relay, Proxy) {
    let relay = Relay::start(endpoint.address).await;
    let mut setup = Setup::at(relay.address, other.address);
    // Probes have connections of their own; one that is under way at the wrong moment must not decide the test.
    setup.health = "interval = \"1s\"".to_owned();
    setup.more = format!("[upstream.default]\nprotocol = \"http2\"\n{policy}");
    let proxy = setup.start().await;
    proxy.until("it is up", all_are_up).await;
    (relay, proxy)
}

#[tokio::test]
async fn a_dead_connection_is_found_before_the_next_request_uses_it() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let (relay, proxy) = behind_relay(&blue, &green, "ping_timeout = \"100ms\"\nresponse_timeout = \"20s\"\n").await;
    let mut client = proxy.connect().await;
    assert_eq!(client.get("/").await.text(), "blue");
    // Idle for longer than `ping_timeout`, the connection is asked first, and lives.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let connections = relay.connections();
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer().await.text(), "ok");
    relay.swallow();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // Not idempotent: it can't be sent twice, so it must not be sent on the dead one.
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert!(relay.connections() > connections, "a new connection was made");
    let status = proxy.status().await;
    assert_eq!(status["blue"]["endpoints"][0]["ejected_for_ms"], serde_json::Value::Null, "{status}");
}

#[tokio::test]
async fn requests_under_way_on_a_dead_connection_recover_on_a_new_one() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let (relay, proxy) = behind_relay(&blue, &green, "ping_timeout = \"200ms\"\nresponse_timeout = \"20s\"\n").await;
    for _ in 0..4 {
        assert_eq!(Client::connect(proxy.http).await.get("/").await.text(), "blue");
    }
    relay.swallow();
    let asked = (0..24).map(async |_| proxy.get("/").await.status);
    assert_eq!(join_all(asked).await, vec![200; 24]);
    proxy.until_logged("HTTP/2 connection to an endpoint is dead").await;
}

#[tokio::test]
async fn a_slow_answer_is_no_dead_connection() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let (_relay, proxy) = behind_relay(&blue, &green, "ping_timeout = \"100ms\"\n").await;
    let mut client = proxy.connect().await;
    client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.expect("a head").status, 200);
    // Many times the timeout, in which the endpoint answers its PING and nothing else.
    tokio::time::sleep(std::time::Duration::from_millis(1000)).await;
    blue.open_gate();
    assert_eq!(client.exactly(5).await.map(|head| head.len()), Some(5), "it goes on");
    assert!(!proxy.log().contains("is dead"), "{}", proxy.log());
}

#[tokio::test]
async fn after_an_ejection_no_connection_from_before_it_is_used() {
    let (blue, green) = (Endpoint::start("blue").await, Endpoint::start("green").await);
    let relay = Relay::start(blue.address).await;
    let mut setup = Setup::at(relay.address, green.address);
    setup.blue = format!("release = \"1\"\nendpoints = [\"{}\", \"{}\"]", relay.address, green.address);
    setup.health = "interval = \"1s\"".to_owned();
    // No PING helps here.
    setup.more = "[upstream.default]\nprotocol = \"http2\"\nping_timeout = \"1h\"\nresponse_timeout = \"100ms\"\n\
                  balance = \"round-robin\"\neject = { consecutive = 1, for = \"100ms\" }\n"
        .to_owned();
    let proxy = setup.start().await;
    proxy.until("both are up", all_are_up).await;
    for _ in 0..8 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    relay.swallow();
    until("a request runs into it", async || (proxy.get("/").await.status == 504).then_some(())).await;
    // The ejection lasts for a tenth of a second; each worker has a connection of its own.
    until("both endpoints answer again", async || {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..8 {
            let answer = proxy.get("/").await;
            if answer.status != 200 {
                return None;
            }
            seen.insert(answer.text().to_owned());
        }
        (seen.len() == 2).then_some(())
    })
    .await;
}
