//! A small shop per release, with behavior that can change while it serves. Latencies are lognormal, nearly as in real
//! applications; the median of `/checkout` is twice that of the rest.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const PAGES: [&str; 3] = ["/", "/search", "/checkout"];
const SLOW_PAGE: &str = "/checkout";
pub(super) const LOGIN: &str = "/login";

#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) errors: f64,
    /// Median latency; zero: no request takes any time.
    pub(super) median: Duration,
    pub(super) sigma: f64,
    /// Factor on the latency of `/checkout`.
    pub(super) slower: f64,
    pub(super) refused: f64,
}

#[derive(Debug)]
pub(super) struct Shop {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `blue` or `green`; each answer begins with it.
    color: &'static str,
    manner: Mutex<Manner>,
    requests: AtomicU64,
}

impl Shop {
    pub(super) async fn open(color: &'static str, manner: Manner) -> std::io::Result<Shop> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { color, manner: Mutex::new(manner), requests: AtomicU64::new(0) });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&serving)))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Ok(Shop { address, shared })
    }

    pub(super) fn behaves(&self, manner: Manner) {
        if let Ok(mut now) = self.shared.manner.lock() {
            *now = manner;
        }
    }

    /// Without health checks.
    pub(super) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

type Outcome = (&'static str, &'static str);
const GOOD: Outcome = ("200 OK", "sold");
const REFUSED: Outcome = ("401 Unauthorized", "refused");
const FAILED: Outcome = ("500 Internal Server Error", "failed");

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::with_capacity(1024);
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8_lossy(&read);
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (status, word) = if path == "/healthz" { GOOD } else { shared.work(path).await };
        let body = format!("{} {word}\n", shared.color);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        read.clear();
        stream.write_all(answer.as_bytes()).await?;
    }
}

impl Shared {
    async fn work(&self, path: &str) -> Outcome {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Ok(manner) = self.manner.lock().map(|manner| *manner) else { return FAILED };
        let factor = if path == SLOW_PAGE { 2.0 * manner.slower } else { 1.0 };
        let time = manner.median.mul_f64(factor * (manner.sigma * normal()).exp());
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        if fastrand::f64() < manner.errors {
            FAILED
        } else if path == LOGIN && fastrand::f64() < manner.refused {
            REFUSED
        } else {
            GOOD
        }
    }
}

/// Standard normal, by Box and Muller.
fn normal() -> f64 {
    let (u, v) = (1.0 - fastrand::f64(), fastrand::f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
