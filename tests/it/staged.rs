//! A release with the files that a test gives it, over HTTP/1.1 and HTTP/2, TCP, TLS and unix sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;

use crate::client::Stream;

/// What is said to requests for one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Not before this.
    pub(crate) after: Duration,
    /// The connection ends in the middle of the body.
    pub(crate) cut: bool,
}

impl Says {
    pub(crate) fn new(status: u16, body: impl AsRef<[u8]>) -> Says {
        Says { status, body: body.as_ref().to_vec(), ..Says::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Says {
        self.fields.push((name, value.to_owned()));
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Of this number.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One release. It ends with the test.
pub(crate) struct Staged {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Says>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    abandoned: AtomicUsize,
    unhealthy: AtomicBool,
    open: AtomicUsize,
}

impl Staged {
    /// Over HTTP/1.1.
    pub(crate) async fn start(files: &[(&str, Says)]) -> Staged {
        Staged::listen(files, false, None).await
    }

    /// Over HTTP/2 without TLS.
    pub(crate) async fn start_http2(files: &[(&str, Says)]) -> Staged {
        Staged::listen(files, true, None).await
    }

    pub(crate) async fn start_tls(files: &[(&str, Says)], tls: Arc<rustls::ServerConfig>, http2: bool) -> Staged {
        Staged::listen(files, http2, Some(tls)).await
    }

    async fn listen(files: &[(&str, Says)], http2: bool, tls: Option<Arc<rustls::ServerConfig>>) -> Staged {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, shared, http2).await,
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                serve(stream, shared, http2).await;
                            }
                        }
                    }
                });
            }
        });
        let staged = Staged { address, shared, task: task.abort_handle() };
        for (path, says) in files {
            staged.says(path, says.clone());
        }
        staged
    }

    /// The same on a unix socket as well.
    pub(crate) fn also_at(&self, path: &Path) {
        let listener = UnixListener::bind(path).expect("a new socket");
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), false));
            }
        });
    }

    pub(crate) fn says(&self, path: &str, says: Says) {
        self.shared.files.lock().expect("no panic while it is held").insert(path.to_owned(), says);
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.shared.unhealthy.store(!healthy, Ordering::SeqCst);
    }

    /// Requests, health checks left out.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic while it is held").clone()
    }

    /// Requests for a path.
    pub(crate) fn asked_for(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Requests whose connection ended before their answer.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn answer(&self, asked: Asked) -> Says {
        if asked.path == "/healthz" {
            let status = if self.unhealthy.load(Ordering::SeqCst) { 503 } else { 200 };
            return Says::new(status, "");
        }
        let file = self.files.lock().expect("no panic while it is held").get(&asked.path).cloned();
        self.asked.lock().expect("no panic while it is held").push(asked.clone());
        let Some(mut file) = file else { return Says::new(404, "no such file") };
        tokio::time::sleep(file.after).await;
        let etag = file.fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.as_str());
        if etag.is_some() && etag == asked.field("if-none-match") {
            return Says { status: 304, body: Vec::new(), ..file };
        }
        let range = asked.field("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        if let Some((from, to)) = range
            && file.status == 200
        {
            let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
            file.fields.push(("content-range", format!("bytes {from}-{to}/{}", file.body.len())));
            file.body = file.body[from..=to].to_vec();
            file.status = 206;
        }
        file
    }
}

/// An open connection.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(stream: impl Stream + 'static, shared: Arc<Shared>, http2: bool) {
    let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&shared));
    if http2 {
        serve_http2(stream, shared, connection).await;
    } else {
        serve_http1(stream, shared, connection).await;
    }
}

async fn serve_http1(mut stream: impl Stream, shared: Arc<Shared>, connection: usize) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            (stream.read_buf(&mut read).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8(read.drain(..end).collect()).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let fields: Vec<(String, String)> =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect();
        let mut asked = Asked { method, path, fields, body: Vec::new(), connection };
        let length = asked.field("content-length").map_or(0, |length| length.parse().expect("a number"));
        while read.len() < length {
            (stream.read_buf(&mut read).await.ok()? > 0).then_some(())?;
        }
        asked.body = read.drain(..length).collect();
        let closes = asked.field("connection") == Some("close");
        let head_only = asked.method == "HEAD";
        let says = tokio::select! {
            says = shared.answer(asked) => says,
            // The proxy does not send a request before the answer to the one before.
            _ = stream.read_buf(&mut read) => {
                shared.abandoned.fetch_add(1, Ordering::SeqCst);
                return None;
            }
        };
        let mut text = format!("HTTP/1.1 {} Said\r\n", says.status);
        for (name, value) in &says.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if says.status != 304 {
            text.push_str(&format!("content-length: {}\r\n", says.body.len()));
        }
        text.push_str("\r\n");
        let mut wire = text.into_bytes();
        if !head_only {
            wire.extend_from_slice(&says.body[..if says.cut { says.body.len() / 2 } else { says.body.len() }]);
        }
        stream.write_all(&wire).await.ok()?;
        stream.flush().await.ok()?;
        if closes || says.cut {
            return None;
        }
    }
}

async fn serve_http2(stream: impl Stream + 'static, shared: Arc<Shared>, number: usize) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let (parts, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(data)) = incoming.data().await {
                let _ = incoming.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            let fields = parts.headers.iter();
            let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
            let mut fields: Vec<_> = fields.collect();
            fields.extend(parts.uri.authority().map(|host| ("host".to_owned(), host.to_string())));
            let path = parts.uri.path_and_query().expect("a path").to_string();
            let asked = Asked { method: parts.method.to_string(), path, fields, body, connection: number };
            let head_only = asked.method == "HEAD";
            let says = shared.answer(asked).await;
            let mut response = http::Response::builder().status(says.status);
            for (name, value) in &says.fields {
                response = response.header(*name, value);
            }
            let empty = head_only || says.body.is_empty();
            let Ok(mut send) = respond.send_response(response.body(()).expect("a head"), empty) else { return };
            if empty {
                return;
            }
            if says.cut {
                let _ = send.send_data(Bytes::from(says.body[..says.body.len() / 2].to_vec()), false);
                return send.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            let _ = send.send_data(Bytes::from(says.body), true);
        });
    }
}
