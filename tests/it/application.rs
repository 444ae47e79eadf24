//! The application behind the proxy: one color, real sockets, and every behaviour a test may want, by path.
//!
//! It speaks HTTP by hand, so that it can also do what no well-behaved application would.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::client::Stream;
use crate::until;

/// One color.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    color: &'static str,
    healthy: AtomicBool,
    /// Probes get no answer while it is so.
    silent: watch::Sender<bool>,
    probes: AtomicUsize,
    release: Mutex<Option<String>>,
    connections: AtomicUsize,
    /// Heads as they came, probes left out.
    heads: Mutex<Vec<String>>,
    /// Lets `/gated` go on.
    gate: watch::Sender<bool>,
}

impl Application {
    pub(crate) async fn start(color: &'static str) -> Application {
        Application::at(color, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn at(color: &'static str, address: SocketAddr) -> Application {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            color,
            healthy: AtomicBool::new(true),
            silent: watch::Sender::new(false),
            probes: AtomicUsize::new(0),
            release: Mutex::default(),
            connections: AtomicUsize::new(0),
            heads: Mutex::default(),
            gate: watch::Sender::new(false),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _): (TcpStream, _) = listener.accept().await.expect("a connection");
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Application { address, shared, task: task.abort_handle() }
    }

    /// The same on a unix socket as well.
    pub(crate) fn also_at(&self, path: &std::path::Path) {
        let listener = UnixListener::bind(path).expect("a new socket");
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
    }

    /// The same over TLS as well; where.
    pub(crate) async fn also_over_tls(&self, config: Arc<rustls::ServerConfig>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (shared, acceptor) = (Arc::clone(&self.shared), tokio_rustls::TlsAcceptor::from(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (shared, accepting) = (Arc::clone(&shared), acceptor.accept(stream));
                tokio::spawn(async move {
                    if let Ok(stream) = accepting.await {
                        serve(stream, shared).await;
                    }
                });
            }
        });
        address
    }

    /// What it says to probes of itself.
    pub(crate) fn says_release(&self, release: &str) {
        *self.shared.release.lock().expect("no panic while it is held") = Some(release.to_owned());
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Leaves probes without an answer, or answers them again.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.shared.silent.send_replace(silent);
    }

    /// Lets every `/gated` answer, now and later, end.
    pub(crate) fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    /// Ends it: nothing listens any more, and every connection is closed.
    pub(crate) async fn stop(self) {
        self.task.abort();
        until("its connections are closed", async || (self.connections() == 0).then_some(())).await;
    }

    pub(crate) fn probes(&self) -> usize {
        self.shared.probes.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().expect("no panic while it is held").clone()
    }

    /// Begins anew with [`Application::heads`].
    pub(crate) fn forget(&self) {
        self.shared.heads.lock().expect("no panic while it is held").clear();
    }

    pub(crate) fn last_head(&self) -> String {
        self.heads().last().cloned().expect("a request came")
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Requests and their bodies from one connection.
struct Inbound<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: Stream> Inbound<S> {
    async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).ok();
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let n = self.stream.read_buf(&mut self.read).await.ok()?;
        (n > 0).then_some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).ok();
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.read.len() < n {
            self.more().await?;
        }
        Some(self.read.drain(..n).collect())
    }

    /// The request's body and its trailers, whatever its framing.
    async fn body(&mut self, head: &str) -> Option<(Vec<u8>, Vec<String>)> {
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            let mut body = Vec::new();
            loop {
                let size = usize::from_str_radix(self.line().await?.split(';').next()?.trim(), 16).ok()?;
                if size == 0 {
                    break;
                }
                body.extend(self.exactly(size).await?);
                self.line().await?;
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    return Some((body, trailers));
                }
                trailers.push(line);
            }
        }
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        Some((self.exactly(length.unwrap_or(0)).await?, Vec::new()))
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(bytes.as_ref()).await.ok()?;
        self.stream.flush().await.ok()
    }
}

async fn serve(stream: impl Stream, shared: Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    // Before the stream, so that it goes after it: what is not counted any more is closed.
    let _counted = Counted(Arc::clone(&shared));
    let mut inbound = Inbound { stream, read: Vec::new() };
    while answered(&mut inbound, &shared).await.is_some() {}
}

/// An open connection.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

fn plain(color: &str, text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Color: {color}\r\n\r\n{text}", text.len())
}

/// One request; `None` ends the connection.
async fn answered<S: Stream>(inbound: &mut Inbound<S>, shared: &Shared) -> Option<()> {
    let color = shared.color;
    let head = inbound.head().await?;
    let path = head.split(' ').nth(1)?.to_owned();
    if path == "/healthz" {
        shared.probes.fetch_add(1, Ordering::SeqCst);
        shared.silent.subscribe().wait_for(|silent| !silent).await.ok()?;
        let status = if shared.healthy.load(Ordering::SeqCst) { "200 OK" } else { "503 Service Unavailable" };
        let release = match shared.release.lock().expect("no panic while it is held").as_deref() {
            Some(release) => format!("X-Release: {release}\r\n"),
            None => String::new(),
        };
        inbound.send(format!("HTTP/1.1 {status}\r\n{release}Content-Length: 0\r\nConnection: close\r\n\r\n")).await?;
        return None;
    }
    shared.heads.lock().expect("no panic while it is held").push(head.clone());
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    match path {
        // The body comes back as it came, with its trailers.
        "/echo" => {
            if head.to_ascii_lowercase().contains("expect: 100-continue") {
                inbound.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let (body, trailers) = inbound.body(&head).await?;
            let mut answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Color: {color}\r\n");
            if !trailers.is_empty() {
                answer.push_str("Trailer: x-sum\r\n");
            }
            answer.push_str("\r\n");
            inbound.send(answer).await?;
            for chunk in body.chunks(16 << 10) {
                inbound.send(format!("{:x}\r\n", chunk.len())).await?;
                inbound.send(chunk).await?;
                inbound.send("\r\n").await?;
            }
            inbound.send("0\r\n").await?;
            for trailer in trailers {
                inbound.send(format!("{trailer}\r\n")).await?;
            }
            inbound.send("\r\n").await
        }
        // A head and a first byte; the rest when the gate opens.
        "/gated" => {
            inbound.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Color: {color}\r\n\r\n[")).await?;
            shared.gate.subscribe().wait_for(|open| *open).await.ok()?;
            inbound.send("done]").await
        }
        // No head before the gate opens.
        "/late" => {
            shared.gate.subscribe().wait_for(|open| *open).await.ok()?;
            inbound.send(plain(color, color)).await
        }
        // A line each few milliseconds, as many as asked for.
        "/ticks" => {
            let ticks: usize = query.parse().ok()?;
            inbound.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Color: {color}\r\n\r\n")).await?;
            for tick in 0..ticks {
                let line = format!("{color} {tick}\n");
                inbound.send(format!("{:x}\r\n{line}\r\n", line.len())).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            inbound.send("0\r\n\r\n").await
        }
        "/bytes" => {
            let n: usize = query.parse().ok()?;
            inbound.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nX-Color: {color}\r\n\r\n")).await?;
            let block = vec![b'x'; 64 << 10];
            let mut left = n;
            while left > 0 {
                let take = left.min(block.len());
                inbound.send(&block[..take]).await?;
                left -= take;
            }
            Some(())
        }
        // So many bytes in chunks.
        "/chunks" => {
            let mut left: usize = query.parse().ok()?;
            inbound.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Color: {color}\r\n\r\n")).await?;
            let block = vec![b'x'; 64 << 10];
            while left > 0 {
                let take = left.min(block.len());
                inbound.send(format!("{take:x}\r\n")).await?;
                inbound.send(&block[..take]).await?;
                inbound.send("\r\n").await?;
                left -= take;
            }
            inbound.send("0\r\n\r\n").await
        }
        // An event stream without events.
        "/events" => {
            let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked";
            inbound.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\nX-Color: {color}\r\n\r\n")).await?;
            inbound.more().await;
            None
        }
        // A server with a read timeout: an upload that takes longer is answered 408.
        "/impatient" => {
            let body = tokio::time::timeout(Duration::from_millis(100), inbound.body(&head)).await;
            if body.is_ok() {
                return inbound.send(plain(color, color)).await;
            }
            inbound.send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await?;
            None
        }
        "/login" => {
            inbound.body(&head).await?;
            inbound.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await
        }
        _ if path.ends_with(".php") => inbound.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
        // Half of what was promised, then nothing.
        "/dies" => {
            inbound.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await?;
            None
        }
        "/vanishes" => None,
        "/hangs" => {
            std::future::pending::<()>().await;
            None
        }
        "/garbage" => {
            inbound.send("SSH-2.0-OpenSSH_9.2\r\n\r\n").await?;
            None
        }
        "/hints" => {
            inbound.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await?;
            inbound.send(plain(color, color)).await
        }
        "/trailers" => {
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                          3\r\nabc\r\n0\r\nX-Sum: 17\r\n\r\n";
            inbound.send(answer).await
        }
        // Until the connection closes, as in HTTP/1.0.
        "/closing" => {
            inbound.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await?;
            None
        }
        // For every cache there is.
        "/cached" => {
            let fields = "Cache-Control: public, max-age=60, s-maxage=600\r\nCDN-Cache-Control: max-age=600\r\n\
                          Surrogate-Control: max-age=600\r\nVary: Accept\r\nX-Cutover-Color: red";
            inbound.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n\r\n")).await
        }
        // Broken on the color that the query names.
        "/broken" if query == color => {
            inbound.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await
        }
        // Where users and strangers ask for all kinds of things.
        "/shop" => match query {
            "fails" => inbound.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await,
            "missing" => inbound.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
            "slow" => {
                tokio::time::sleep(Duration::from_millis(150)).await;
                inbound.send(plain(color, color)).await
            }
            _ if query.strip_prefix("broken-") == Some(color) => {
                inbound.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await
            }
            _ => inbound.send(plain(color, color)).await,
        },
        // As a form is answered, and as a request that is to go elsewhere.
        "/see-other" | "/elsewhere" => {
            inbound.body(&head).await?;
            let status = if path == "/see-other" { "303 See Other" } else { "307 Temporary Redirect" };
            inbound.send(format!("HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")).await
        }
        "/empty" => inbound.send("HTTP/1.1 204 No Content\r\n\r\n").await,
        "/hop" => {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\
                          Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\n\r\n";
            inbound.send(answer).await
        }
        // Any protocol: what comes is sent back in upper case.
        "/upgrade" => {
            inbound.body(&head).await?;
            let asked =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("upgrade: ").map(str::to_owned));
            let asked = asked.unwrap_or_default();
            inbound
                .send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {asked}\r\n\r\n"))
                .await?;
            loop {
                let shout = inbound.read.to_ascii_uppercase();
                inbound.read.clear();
                inbound.send(shout).await?;
                inbound.more().await?;
            }
        }
        _ if head.starts_with("HEAD ") => {
            inbound.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Color: {color}\r\n\r\n")).await
        }
        _ => {
            inbound.body(&head).await?;
            inbound.send(plain(color, color)).await
        }
    }
}
