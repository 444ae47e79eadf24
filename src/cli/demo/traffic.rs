//! A trickle of requests, and its results.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Traffic {
    address: SocketAddr,
    blue: AtomicU64,
    green: AtomicU64,
    failed: AtomicU64,
}

impl Traffic {
    pub(super) fn start(address: SocketAddr) -> Arc<Traffic> {
        let zero = || AtomicU64::new(0);
        let traffic = Arc::new(Traffic { address, blue: zero(), green: zero(), failed: zero() });
        let going = Arc::clone(&traffic);
        tokio::spawn(async move {
            loop {
                let counter = match going.ask().await {
                    Ok(text) if text.starts_with("blue") => &going.blue,
                    Ok(text) if text.starts_with("green") => &going.green,
                    Ok(_) | Err(_) => &going.failed,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        });
        traffic
    }

    pub(super) async fn ask(&self) -> std::io::Result<String> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(self.address).await?;
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        });
        let answer = asked.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
            _ => Err(std::io::Error::other(answer.lines().next().unwrap_or("no answer").to_owned())),
        }
    }

    pub(super) fn summary(&self) -> String {
        let [blue, green, failed] = [&self.blue, &self.green, &self.failed].map(|n| n.load(Ordering::Relaxed));
        format!("{blue} requests answered by blue, {green} by green, {failed} failed")
    }
}
