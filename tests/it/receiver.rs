//! A receiver of notices that can do everything a bad one does.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::Stream;
use crate::until;

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Takes it.
    Takes,
    /// Answers with this status and these fields.
    Says(u16, &'static str),
    /// Says nothing, and keeps the connection.
    Hangs,
    /// Ends in the middle of an answer that began well.
    Dies,
}

/// One notice as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) manner: Manner,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    pub(crate) fn id(&self) -> String {
        self.header("webhook-id").expect("an id").to_owned()
    }

    pub(crate) fn event(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }
}

/// It lives as long as the test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    manner: Arc<Mutex<Manner>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        Receiver::speaking(None).await
    }

    pub(crate) async fn with_tls(config: Arc<rustls::ServerConfig>) -> Receiver {
        Receiver::speaking(Some(TlsAcceptor::from(config))).await
    }

    async fn speaking(tls: Option<TlsAcceptor>) -> Receiver {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (manner, received) = (Arc::new(Mutex::new(Manner::Takes)), Arc::new(Mutex::new(Vec::new())));
        let (manners, all) = (Arc::clone(&manner), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manners, all) = (Arc::clone(&manners), Arc::clone(&all));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(stream).await.ok()?, &manners, &all).await,
                        None => serve(stream, &manners, &all).await,
                    }
                });
            }
        });
        Receiver { address, scheme, manner, received }
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        *self.manner.lock().expect("no panic while it is held") = manner;
    }

    /// All that came, taken or not.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no panic while it is held").clone()
    }

    /// Waits until one came that is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Received) -> bool) -> Received {
        until(what, async || self.received().into_iter().find(&wanted)).await
    }

    /// A file with its address, with a path that nobody shall see.
    pub(crate) fn url_file(&self, dir: &Path, name: &str) -> String {
        let path = dir.join(name);
        std::fs::write(&path, format!("{}://{}/hidden-{name}\n", self.scheme, self.address)).expect("a file");
        path.display().to_string()
    }
}

async fn serve(mut stream: impl Stream, manner: &Mutex<Manner>, received: &Mutex<Vec<Received>>) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            break (head.to_owned(), length.unwrap_or(0_usize));
        }
    };
    while bytes.len() < head.len() + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[head.len() + 4..].to_vec()).expect("UTF-8");
    let manner = manner.lock().expect("no panic while it is held").clone();
    received.lock().expect("no panic while it is held").push(Received { head, body, manner: manner.clone() });
    let answer = match manner {
        Manner::Takes => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        Manner::Says(status, fields) => format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: 0\r\n\r\n"),
        Manner::Dies => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
        Manner::Hangs => {
            let _ = stream.read_buf(&mut bytes).await;
            return None;
        }
    };
    stream.write_all(answer.as_bytes()).await.ok()
}
