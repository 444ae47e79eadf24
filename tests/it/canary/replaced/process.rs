//! A process of an application as process managers replace it: it stops gracefully, which closes its listener, and lives on
//! for the connections that it has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::client::Stream;

/// Where processes listen, one after the other.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Place {
    /// A port that nobody else gets while the test runs.
    pub(super) fn tcp() -> (Place, socket2::Socket) {
        let reserved = socket("127.0.0.1:0".parse().expect("an address"));
        let address = reserved.local_addr().expect("bound").as_socket().expect("an address");
        (Place::Tcp(address), reserved)
    }

    /// As the configuration writes it.
    pub(super) fn endpoint(&self) -> String {
        match self {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// Bound, and not listening: several may be, as before and after a restart with `SO_REUSEPORT`.
fn socket(address: SocketAddr) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    socket.bind(&address.into()).expect("a free port");
    socket
}

/// How it speaks.
#[derive(Clone)]
pub(super) struct Speaks {
    pub(super) http2: bool,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

/// One process.
pub(super) struct Process {
    pub(super) name: String,
    shared: Arc<Shared>,
    leaves: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

struct Shared {
    /// What it answers, in the body and in `X-Release`.
    name: Mutex<String>,
    open: AtomicUsize,
    /// It breaks off each third request: closes its connection, or resets its stream.
    flaky: AtomicBool,
    asked: AtomicUsize,
    /// Lets the rest of `/held` follow.
    gate: watch::Sender<bool>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> Option<Box<dyn Stream>> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await.ok()?;
                stream.set_nodelay(true).ok()?;
                Some(Box::new(stream))
            }
            Listener::Unix(listener) => Some(Box::new(listener.accept().await.ok()?.0)),
        }
    }
}

impl Process {
    /// It listens when this returns; on a unix socket it has then taken the place of the one before.
    pub(super) fn start(name: &str, place: &Place, speaks: &Speaks) -> Process {
        let listener = match place {
            Place::Tcp(address) => {
                let socket = socket(*address);
                socket.set_nonblocking(true).expect("an option");
                socket.listen(1024).expect("it listens");
                Listener::Tcp(TcpListener::from_std(socket.into()).expect("a listener"))
            }
            Place::Unix(path) => {
                let own = path.with_extension(name);
                let listener = UnixListener::bind(&own).expect("a new socket");
                std::fs::rename(&own, path).expect("a rename");
                Listener::Unix(listener)
            }
        };
        let shared = Arc::new(Shared {
            name: Mutex::new(name.to_owned()),
            open: AtomicUsize::new(0),
            flaky: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            gate: watch::Sender::new(false),
        });
        let leaves = watch::Sender::new(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), speaks.clone(), leaves.subscribe()));
        Process { name: name.to_owned(), shared, leaves, accepting }
    }

    /// Nobody can connect to it any more; on its open connections it answers for as long as there is anybody.
    pub(super) async fn stop_gracefully(&mut self) {
        self.leaves.send_replace(true);
        (&mut self.accepting).await.expect("it accepts until it is told to stop");
    }

    /// Open connections.
    pub(super) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// From now on it answers as if it were another one.
    pub(super) fn says(&self, name: &str) {
        name.clone_into(&mut self.shared.name.lock().expect("no panic while it is held"));
    }

    /// Lets every `/held` end.
    pub(super) fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    pub(super) fn be_flaky(&self) {
        self.shared.flaky.store(true, Ordering::SeqCst);
    }
}

async fn accept(listener: Listener, shared: Arc<Shared>, speaks: Speaks, mut leaves: watch::Receiver<bool>) {
    loop {
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            _ = leaves.changed() => break,
        };
        tokio::spawn(open(stream.expect("a connection"), Arc::clone(&shared), speaks.clone()));
    }
    // Those that have connected already.
    while let Some(Some(stream)) = listener.accept().now_or_never() {
        tokio::spawn(open(stream, Arc::clone(&shared), speaks.clone()));
    }
}

/// One connection, to its end.
async fn open(stream: Box<dyn Stream>, shared: Arc<Shared>, speaks: Speaks) {
    shared.open.fetch_add(1, Ordering::SeqCst);
    let served = async {
        let stream = match &speaks.tls {
            Some(tls) => Box::new(TlsAcceptor::from(Arc::clone(tls)).accept(stream).await.ok()?) as Box<dyn Stream>,
            None => stream,
        };
        if speaks.http2 { http2(stream, &shared).await } else { http1(stream, &shared).await }
    };
    served.await;
    shared.open.fetch_sub(1, Ordering::SeqCst);
}

impl Shared {
    fn name(&self) -> String {
        self.name.lock().expect("no panic while it is held").clone()
    }

    async fn may_end(&self, is_held: bool) {
        if is_held {
            let _ = self.gate.subscribe().wait_for(|open| *open).await;
        }
    }

    fn breaks(&self) -> bool {
        self.flaky.load(Ordering::SeqCst) && self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(3)
    }
}

async fn http1(mut stream: impl Stream, shared: &Shared) -> Option<()> {
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        let (is_probe, is_held) = (read.starts_with(b"GET /healthz"), read.starts_with(b"GET /held"));
        read.clear();
        if !is_probe && shared.breaks() {
            return None;
        }
        let name = shared.name();
        let fields = format!("X-Release: {name}\r\nContent-Length: {}", name.len());
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
        shared.may_end(is_held).await;
        stream.write_all(name.as_bytes()).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn http2(stream: impl Stream, shared: &Arc<Shared>) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request.ok()?;
        if request.uri().path() != "/healthz" && shared.breaks() {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            continue;
        }
        let name = shared.name();
        let answer = http::Response::builder().header("x-release", &name).header("content-length", name.len());
        let answer = answer.body(()).ok()?;
        let mut body = respond.send_response(answer, false).ok()?;
        let (shared, is_held) = (Arc::clone(shared), request.uri().path() == "/held");
        tokio::spawn(async move {
            shared.may_end(is_held).await;
            // The client may have left.
            let _ = body.send_data(Bytes::from(name), true);
        });
    }
    None
}
