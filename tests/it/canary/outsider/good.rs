//! Good users: they ask, read and come back, over HTTP/1.1 and HTTP/2, each with a cookie of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;

use crate::client::Connection;
use crate::http2::Client;

const USERS: usize = 12;

/// Users at work until [`Good::end`].
pub(super) struct Good {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicUsize,
    ended: AtomicBool,
    /// How each request that was lost was lost.
    failed: Mutex<Vec<String>>,
}

impl Good {
    /// Half of the users speak HTTP/1.1, the others HTTP/2.
    pub(super) fn start(proxy: SocketAddr, path: &'static str) -> Good {
        let shared = Arc::new(Shared::default());
        for user in 0..USERS {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                if user % 2 == 0 {
                    over_http1(proxy, path, user, &shared).await
                } else {
                    over_http2(proxy, path, user, &shared).await
                }
            });
        }
        Good { shared }
    }

    pub(super) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// So many were answered, and these were lost.
    pub(super) fn end(self) -> (usize, Vec<String>) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let failed = self.shared.failed.lock().expect("no panic while it is held").clone();
        (self.answered(), failed)
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// The application's own answers count as answered, whatever their status; a status of the proxy's is a loss.
    fn saw(&self, status: u16, by_proxy: bool, how: &str) {
        if by_proxy {
            self.failed.lock().expect("no panic while it is held").push(format!("{how}: {status}"));
        } else {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn lost(&self, how: &str) {
        if !self.is_over() {
            self.failed.lock().expect("no panic while it is held").push(how.to_owned());
        }
    }
}

async fn over_http1(proxy: SocketAddr, path: &str, user: usize, shared: &Shared) {
    let mut connection = Connection::tcp(proxy).await;
    while !shared.is_over() {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop\r\nCookie: user=good{user}\r\n\r\n");
        if connection.try_send(request).await.is_err() {
            shared.lost("HTTP/1.1: the connection was closed");
            return;
        }
        match connection.try_answer(false).await {
            Some(answer) if answer.complete => {
                shared.saw(answer.status, answer.header("proxy-status").is_some(), "HTTP/1.1");
            }
            _ => return shared.lost("HTTP/1.1: no whole answer"),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn over_http2(proxy: SocketAddr, path: &str, user: usize, shared: &Shared) {
    let mut client = Client::connect(proxy).await;
    while !shared.is_over() {
        let request = Request::get(format!("http://shop{path}")).header("cookie", format!("user=good{user}"));
        match client.try_ask(request.body(()).expect("a request")).await {
            Ok(answer) => shared.saw(answer.status, answer.header("proxy-status").is_some(), "HTTP/2"),
            Err(error) => return shared.lost(&format!("HTTP/2: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
