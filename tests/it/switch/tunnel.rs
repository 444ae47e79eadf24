//! Long-lived exchanges across many switches, byte for byte: a WebSocket by a real library, and a download.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};

use crate::application::pair;
use crate::proxy::{Proxy, Setup};
use crate::{soon, until};

/// A WebSocket application that sends back what it gets; its address.
pub(crate) async fn echo() -> std::net::SocketAddr {
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
    let (blue, green) = pair().await;
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

/// When the kernel next probes the connection from `local` to `remote`, in hundredths of a second, if it has keep-alive.
#[cfg(target_os = "linux")]
fn keep_alive_due(local: u16, remote: u16) -> Option<u64> {
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let established = fields[3] == "01";
        let ours = port(fields[1]) == Some(local) && port(fields[2]) == Some(remote);
        let (timer, due) = fields[5].split_once(':')?;
        (established && ours && timer == "02").then(|| u64::from_str_radix(due, 16).ok())?
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_quiet_tunnel_is_under_keep_alive_on_both_sides() {
    let echo_server = echo().await;
    let dir = tempfile::tempdir().expect("a directory");
    let text = Setup::at(echo_server, echo_server).text(dir.path()).replace("path = \"/healthz\"\n", "");
    let proxy = Proxy::start_in(dir, &text).await;
    let stream = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
    let client = stream.local_addr().expect("connected").port();
    let (_socket, answer) = client_async("ws://test/ws", stream).await.expect("an upgrade");
    assert_eq!(answer.status(), 101);
    // Within a minute, where the system's default is two hours.
    until("keep-alive towards the client", async || {
        keep_alive_due(proxy.http.port(), client).filter(|due| *due <= 6_000)
    })
    .await;
    until("keep-alive towards the endpoint", async || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let to_endpoint = table.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
            (port(fields[2]) == Some(echo_server.port())).then(|| port(fields[1]))?
        });
        to_endpoint.filter_map(|port| keep_alive_due(port, echo_server.port())).find(|due| *due <= 6_000)
    })
    .await;
}
