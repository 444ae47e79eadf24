//! Connections that are made ahead of a switch, and those that their endpoint closes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::proxy::{Proxy, Setup};
use crate::until;

/// It answers one request on each connection, and then closes its side.
struct Endpoint {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    /// Connections that the proxy closed.
    closed: Arc<AtomicUsize>,
}

impl Endpoint {
    async fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (accepted, closed): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let (accepting, closing) = (Arc::clone(&accepted), Arc::clone(&closed));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepting.fetch_add(1, Ordering::SeqCst);
                let closing = Arc::clone(&closing);
                tokio::spawn(async move {
                    let mut read = [0; 4096];
                    if let Ok(1..) = stream.read(&mut read).await {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                        let _ = stream.shutdown().await;
                        while let Ok(1..) = stream.read(&mut read).await {}
                    }
                    closing.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Endpoint { address, accepted, closed }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A proxy whose health checks the endpoints do not see.
async fn start(blue: &Endpoint, green: &[Endpoint]) -> Proxy {
    let mut setup = Setup::at(blue.address, green[0].address);
    let addresses: Vec<String> = green.iter().map(|endpoint| format!("\"{}\"", endpoint.address)).collect();
    setup.green = format!("release = \"2.0\"\nendpoints = [{}]", addresses.join(", "));
    setup.health = "interval = \"1h\"".to_owned();
    setup.start().await
}

#[tokio::test]
async fn a_dry_run_makes_no_connections() {
    let (blue, green) = (Endpoint::start().await, [Endpoint::start().await]);
    let proxy = start(&blue, &green).await;
    for _ in 0..3 {
        let tried = proxy.post("/admin/switch", json!({ "dry_run": true })).await;
        assert_eq!(tried.status, 200, "{}", tried.text());
    }
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green" })).await.status, 200);
    until("each worker has one", async || (green[0].accepted() >= 2).then_some(())).await;
    assert_eq!(green[0].accepted(), 2, "none was made before the switch");
}

/// More than a move waits for.
#[tokio::test]
async fn each_worker_gets_a_connection_to_every_one_of_many_endpoints() {
    let blue = Endpoint::start().await;
    let mut green = Vec::new();
    for _ in 0..160 {
        green.push(Endpoint::start().await);
    }
    let proxy = start(&blue, &green).await;
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green" })).await.status, 200);
    let all = async || green.iter().all(|endpoint| endpoint.accepted() >= 2).then_some(());
    until("each worker has one to each endpoint", all).await;
}

/// More than a move waits for, and several to each endpoint.
#[tokio::test]
async fn a_crowd_finds_as_many_connections_as_it_uses() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let blue = Endpoint { address: silent.local_addr().expect("bound"), ..Endpoint::start().await };
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(accepted) = silent.accept().await {
            kept.push(accepted);
        }
    });
    let mut green = Vec::new();
    for _ in 0..4 {
        green.push(Endpoint::start().await);
    }
    let proxy = start(&blue, &green).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    proxy.until("they are under way", |status| status["blue"]["requests"] == 300).await;
    assert_eq!(proxy.post("/admin/switch", json!({ "to": "green" })).await.status, 200);
    // Two workers wait for 128 each, and each makes 64 to one endpoint at most.
    let made = async || (green.iter().map(Endpoint::accepted).sum::<usize>() > 256).then_some(());
    until("the further connections are made as well", made).await;
}

#[tokio::test]
async fn a_free_connection_that_its_endpoint_closes_is_closed_without_a_request() {
    let (blue, green) = (Endpoint::start().await, [Endpoint::start().await]);
    let proxy = start(&blue, &green).await;
    assert_eq!(proxy.get("/").await.status, 200);
    until("the proxy closed it", async || (blue.closed.load(Ordering::SeqCst) == 1).then_some(())).await;
}
