//! Bodies larger than what the proxy may hold of them: they go through, and cost no memory.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::Application;
use crate::proxy::{Proxy, Setup};
use crate::soon;

const SIZE: usize = 256 << 20;
const PIECE: usize = 64 << 10;

/// Takes bodies and says how long they were, what stands around chunks included.
async fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let (mut head, mut block) = (Vec::new(), vec![0; PIECE]);
                let body = loop {
                    let n = stream.read(&mut block).await.unwrap_or(0);
                    if n == 0 {
                        return;
                    }
                    head.extend_from_slice(&block[..n]);
                    if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                        break head.split_off(end + 4);
                    }
                };
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                let chunked = head.contains("transfer-encoding: chunked");
                let (mut count, mut tail) = (body.len(), body);
                while if chunked { !tail.ends_with(b"0\r\n\r\n") } else { count < SIZE } {
                    let n = stream.read(&mut block).await.unwrap_or(0);
                    if n == 0 {
                        return;
                    }
                    count += n;
                    tail = [&tail[tail.len().saturating_sub(8)..], &block[..n]].concat();
                }
                let answer = format!("{count}");
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                let _ = stream.write_all((head + &answer).as_bytes()).await;
            });
        }
    });
    address
}

fn resident(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

#[tokio::test]
async fn bodies_of_any_size_go_both_ways_in_constant_memory() {
    let sink = sink().await;
    let application = Application::start("blue").await;
    let mut setup = Setup::at(sink, application.address);
    setup.health = "interval = \"1h\"".to_owned();
    let proxy = setup.start().await;
    let before = resident(&proxy);
    for chunked in [false, true] {
        let mut client = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
        let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
        client.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes()).await.expect("taken");
        let block = vec![b'u'; PIECE];
        for _ in 0..SIZE / PIECE {
            let piece =
                if chunked { [format!("{PIECE:x}\r\n").as_bytes(), &block, b"\r\n"].concat() } else { block.clone() };
            soon("it is taken", client.write_all(&piece)).await.expect("open");
        }
        if chunked {
            client.write_all(b"0\r\n\r\n").await.expect("open");
        }
        let mut answer = vec![0; 4096];
        let n = soon("an answer", client.read(&mut answer)).await.expect("open");
        let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
        let count: usize = answer.rsplit("\r\n").next().and_then(|count| count.parse().ok()).expect("a number");
        assert!(if chunked { count > SIZE } else { count == SIZE }, "{answer}");
    }
    proxy.post("/admin/switch", serde_json::json!({ "force": true })).await;
    let mut client = TcpStream::connect(proxy.http).await.expect("the proxy accepts");
    let request = format!("GET /bytes?{SIZE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("taken");
    let (mut read, mut block) = (0, vec![0; PIECE]);
    loop {
        match soon("more", client.read(&mut block)).await.expect("open") {
            0 => break,
            n => read += n,
        }
    }
    assert!(read > SIZE && read < SIZE + 1000, "{read}");
    let grown = resident(&proxy).saturating_sub(before);
    assert!(grown < 16, "{grown} MiB more at its peak");
}
