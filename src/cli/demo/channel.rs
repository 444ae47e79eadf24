//! A receiver of notices, shaped like a Slack incoming webhook: it answers `ok` and hands each post on.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(super) async fn open() -> std::io::Result<(SocketAddr, UnboundedReceiver<Value>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (posted, posts) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, posted.clone()));
        }
    });
    Ok((address, posts))
}

async fn take(mut stream: TcpStream, posted: UnboundedSender<Value>) -> Option<()> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok())?;
        if read.len() >= end + 4 + length {
            let post = serde_json::from_slice(&read[end + 4..end + 4 + length]).ok()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.ok()?;
            let _ = posted.send(post);
            return Some(());
        }
    }
}

pub(super) fn readable(message: &Value) -> Vec<String> {
    let text = |value: &Value| value["text"].as_str().map(unescaped);
    let mut lines: Vec<String> = text(message).into_iter().collect();
    for block in message["blocks"].as_array().into_iter().flatten() {
        lines.push(String::new());
        lines.extend(text(&block["text"]));
        let parts = ["fields", "elements"].iter().filter_map(|key| block[*key].as_array()).flatten();
        for part in parts {
            lines.extend(text(part).or_else(|| text(&part["text"])));
        }
    }
    lines.iter().flat_map(|line| line.split('\n')).map(str::to_owned).collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
