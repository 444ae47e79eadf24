//! Long-lived exchanges across many switches, byte for byte: a WebSocket by a real library, and a download.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::application::Application;
use crate::proxy::{Proxy, Setup};
use crate::soon;

/// A WebSocket application that sends back what it gets; its address.
async fn echo() -> std::net::SocketAddr {
    use futures_util::{SinkExt, StreamExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(socket) = accept_async(stream).await else { return };
                let (mut write, mut read) = socket.split();
                while let Some(Ok(message)) = read.next().await {
                    if message.is_close() || write.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_slow_websocket_and_a_download_survive_ten_switches_byte_for_byte() {
    use futures_util::{SinkExt, StreamExt};
    let (blue, green) = (Application::start("blue").await, Application::start("green").await);
    let (blue_echo, green_echo) = (echo().await, echo().await);
    let mut setup = Setup::new(&blue, &green);
    setup.blue.push_str(&format!("\n[blue.upstreams]\nws = [\"{blue_echo}\"]"));
    setup.green.push_str(&format!("\n[green.upstreams]\nws = [\"{green_echo}\"]"));
    setup.more =
        "[[route]]\npath = \"/ws\"\nupstream = \"ws\"\n[[route]]\npath = \"/\"\nupstream = \"default\"".to_owned();
    let dir = tempfile::tempdir().expect("a directory");
    // These know no HTTP but WebSocket's: a connection is the check.
    let text = setup.text(dir.path()).replace("path = \"/healthz\"\n", "");
    let proxy = Proxy::start_in(dir, &text).await;

    let stream = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
    let (mut socket, answer) = client_async("ws://test/ws", stream).await.expect("an upgrade");
    assert_eq!(answer.status(), 101);
    let mut download = proxy.connect().await;
    let ticks = 200;
    download.send(format!("GET /ticks?{ticks} HTTP/1.1\r\nHost: a\r\n\r\n")).await;

    for round in 0..10_u32 {
        let color = if round % 2 == 0 { "green" } else { "blue" };
        proxy.switch(color).await;
        assert_eq!(proxy.color().await, color);
        let sent = vec![round as u8; 1000 * (1 + round as usize)];
        socket.send(Message::binary(sent.clone())).await.expect("the tunnel stands");
        let back = soon("an echo", socket.next()).await.expect("the tunnel stands").expect("a message");
        assert_eq!(back.into_data(), sent);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let whole: String = (0..ticks).map(|tick| format!("blue {tick}\n")).collect();
    let answer = download.answer().await;
    assert_eq!((answer.text(), answer.complete), (whole.as_str(), true));
    socket.close(None).await.expect("a clean end");
}
