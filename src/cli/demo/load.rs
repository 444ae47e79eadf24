//! Load at a fixed rate on kept connections, and its results as users see them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) blue: Side,
    pub(super) green: Side,
    pub(super) lost: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) checkouts: u64,
    pub(super) checkout_time: Duration,
}

impl Side {
    pub(super) fn checkout(&self) -> Duration {
        self.checkout_time.checked_div(u32::try_from(self.checkouts).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    pages: &'static [&'static str],
    users: u32,
    free: Mutex<Vec<TcpStream>>,
    seen: Mutex<Seen>,
}

impl Load {
    /// `rate`: requests a second, to any of the pages. `users`: clients, each in its own network by `X-Forwarded-For`;
    /// 0: a single one.
    pub(super) fn start(to: SocketAddr, rate: u32, pages: &'static [&'static str], users: u32) -> Load {
        let shared = Arc::new(Shared { to, pages, users, free: Mutex::default(), seen: Mutex::default() });
        let pause = Duration::from_secs(1) / rate.max(1);
        let task = tokio::spawn(ask(Arc::clone(&shared), pause)).abort_handle();
        Load { shared, task }
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared.seen.lock().map(|seen| *seen).unwrap_or_default()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(shared: Arc<Shared>, pause: Duration) {
    let mut due = Instant::now();
    loop {
        due += pause;
        tokio::time::sleep_until(due.into()).await;
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let page = fastrand::choice(shared.pages).copied().unwrap_or("/");
            let user = (shared.users > 0).then(|| fastrand::u32(..shared.users));
            let began = Instant::now();
            let free = shared.free.lock().ok().and_then(|mut free| free.pop());
            let answer = tokio::time::timeout(PATIENCE, once(shared.to, free, page, user)).await;
            let Ok(mut seen) = shared.seen.lock() else { return };
            let Ok(Ok((stream, status, body))) = answer else {
                seen.lost += 1;
                return;
            };
            let side = match body.split(|byte| *byte == b' ').next() {
                Some(b"blue") => &mut seen.blue,
                Some(b"green") => &mut seen.green,
                _ => {
                    seen.lost += 1;
                    return;
                }
            };
            side.answered += 1;
            side.failed += u64::from(status >= 500);
            side.refused += u64::from((400..500).contains(&status));
            if page == "/checkout" {
                side.checkouts += 1;
                side.checkout_time += began.elapsed();
            }
            drop(seen);
            if let Ok(mut free) = shared.free.lock() {
                free.push(stream);
            }
        });
    }
}

async fn once(
    to: SocketAddr,
    free: Option<TcpStream>,
    page: &str,
    user: Option<u32>,
) -> std::io::Result<(TcpStream, u16, Vec<u8>)> {
    let mut stream = match free {
        Some(stream) => stream,
        None => TcpStream::connect(to).await?,
    };
    stream.set_nodelay(true)?;
    let client = user.map(|user| {
        let [_, a, b, c] = user.to_be_bytes();
        format!("X-Forwarded-For: {}.{b}.{c}.7\r\n", 11 + a)
    });
    let request = format!("GET {page} HTTP/1.1\r\nHost: shop\r\n{}\r\n", client.unwrap_or_default());
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if length.is_some_and(|length| read.len() >= end + 4 + length) {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            return Ok((stream, status, read.split_off(end + 4)));
        }
    }
}
