//! What a request and an answer mean, whichever version of HTTP each side speaks.

mod host;
mod limits;
mod routes;
mod silent;
mod target;
mod upgrade;
mod via;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::application::Application;
use crate::http2::{Endpoint, start_over_http2};
use crate::proxy::{Proxy, Setup};
use crate::until;

/// One proxy whose endpoints speak HTTP/1.1 and one whose endpoints speak HTTP/2. An endpoint that fails once is ejected.
struct Both {
    http1: Proxy,
    http2: Proxy,
    applications: Vec<Application>,
    endpoints: Vec<Endpoint>,
}

const EJECT: &str = "eject = { consecutive = 1, for = \"1h\" }\n";

impl Both {
    /// `policy`: further keys of `[upstream.default]`, and sections.
    async fn start(policy: &str) -> Both {
        let mut applications = Vec::new();
        let mut endpoints = Vec::new();
        for color in ["blue", "blue", "green"] {
            applications.push(Application::start(color).await);
            endpoints.push(Endpoint::start(color).await);
        }
        let mut setup = Setup::new(&applications[0], &applications[2]);
        setup.blue =
            format!("release = \"1\"\nendpoints = [\"{}\", \"{}\"]", applications[0].address, applications[1].address);
        setup.more = format!("[upstream.default]\n{EJECT}{policy}");
        let http1 = setup.start().await;
        let http2 = start_over_http2(&endpoints[0], &endpoints[2], |setup| {
            setup.blue =
                format!("release = \"1\"\nendpoints = [\"{}\", \"{}\"]", endpoints[0].address, endpoints[1].address);
            setup.more.push_str(EJECT);
            setup.more.push_str(policy);
        })
        .await;
        for proxy in [&http1, &http2] {
            proxy.until("all are up", all_are_up).await;
        }
        Both { http1, http2, applications, endpoints }
    }

    fn proxies(&self) -> [(&'static str, &Proxy); 2] {
        [("HTTP/1.1", &self.http1), ("HTTP/2", &self.http2)]
    }

    /// How many requests arrived at endpoints of either version.
    fn arrived(&self) -> usize {
        let http1: usize = self.applications.iter().map(|application| application.heads().len()).sum();
        http1 + self.endpoints.iter().map(|endpoint| endpoint.heads().len()).sum::<usize>()
    }

    /// Nobody was blamed for anything: no endpoint is ejected or down, and nothing was sent again.
    async fn assert_nobody_is_blamed(&self) {
        for (version, proxy) in self.proxies() {
            assert_nobody_is_blamed(version, proxy).await;
        }
    }
}

/// The access log has so many lines with this error, and all of them name this one to blame.
async fn assert_blamed(proxy: &Proxy, error: &str, blame: &str, count: usize) {
    let (error, blame) = (format!("\"error\":\"{error}\""), format!("\"blame\":\"{blame}\""));
    until("the lines are in the access log", async || {
        let log = std::fs::read_to_string(proxy.dir.path().join("access.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&error)).collect();
        assert!(lines.iter().all(|line| line.contains(&blame)), "{lines:?}");
        (lines.len() == count).then_some(())
    })
    .await;
}

fn all_are_up(status: &Value) -> bool {
    status["blue"]["endpoints"].as_array().is_some_and(|all| all.iter().all(|one| one["health"] == "up"))
}

async fn assert_nobody_is_blamed(version: &str, proxy: &Proxy) {
    let status = proxy.status().await;
    assert!(all_are_up(&status), "{version}: {status}");
    for endpoint in status["blue"]["endpoints"].as_array().expect("endpoints") {
        assert_eq!(endpoint["ejected_for_ms"], Value::Null, "{version}: {endpoint}");
    }
    let metrics = proxy.admin("GET", "/metrics", "").await.text().to_owned();
    for line in metrics.lines().filter(|line| line.starts_with("cutover_retries_total{color=\"blue\"")) {
        assert!(line.ends_with(" 0"), "{version}: {line}");
    }
}

/// An HTTP/1.1 endpoint that answers each head with what `says` makes of it, and then sends back in upper case what comes.
/// Probes pass.
async fn endpoint(says: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let says = Arc::new(says);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let says = Arc::clone(&says);
            tokio::spawn(async move {
                let mut read = Vec::new();
                loop {
                    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
                        match stream.read_buf(&mut read).await {
                            Ok(1..) => continue,
                            _ => return,
                        }
                    };
                    let head: Vec<u8> = read.drain(..end + 4).collect();
                    let head = String::from_utf8(head).expect("text");
                    let answer = match head.contains(" /healthz ") {
                        true => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                        false => says(&head),
                    };
                    let _ = stream.write_all(answer.as_bytes()).await;
                    if answer.starts_with("HTTP/1.1 101 ") {
                        loop {
                            let _ = stream.write_all(&read.to_ascii_uppercase()).await;
                            read.clear();
                            if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                                return;
                            }
                        }
                    }
                    if answer.contains("Connection: close") {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A proxy whose blue is this endpoint.
async fn in_front_of(address: SocketAddr, policy: &str) -> Proxy {
    let other = Application::start("green").await;
    let mut setup = Setup::at(address, other.address);
    setup.more = format!("[upstream.default]\n{policy}\n");
    let proxy = setup.start().await;
    proxy.until("it is up", all_are_up).await;
    proxy
}
