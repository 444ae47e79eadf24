//! The ways to switch a proxy: each is an order that returns when the proxy says that the color is active.

use std::process::Stdio;
use std::time::Duration;

use cutover::internals::domain::color::Color;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::{Proxy, envoy, haproxy, nginx};
use crate::bench::Bench;
use crate::clients::connection::{Answer, Connection};
use crate::proxies;
use crate::proxies::kind::Kind;
use crate::proxies::setup::Upstream;

/// How the order to switch is given.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Api,
    /// A new file takes the name of the old one.
    Rename,
    /// The file is emptied and written, as most editors do it.
    InPlace,
    /// HAProxy's runtime socket.
    Map,
    /// nginx reads its files again.
    Reload,
    /// A runtime key in Envoy's admin API.
    Runtime,
}

impl Way {
    /// One of each proxy: the one that is meant for it.
    pub(crate) const LIVE: [Way; 4] = [Way::Api, Way::Map, Way::Reload, Way::Runtime];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Way::Api | Way::Rename | Way::InPlace => Kind::Cutover,
            Way::Map => Kind::HaProxy,
            Way::Reload => Kind::Nginx,
            Way::Runtime => Kind::Envoy,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Api => "Cutover: admin API",
            Way::Rename => "Cutover: file, renamed",
            Way::InPlace => "Cutover: file, in place",
            Way::Map => "HAProxy: set map",
            Way::Reload => "nginx: reload",
            Way::Runtime => "Envoy: runtime key",
        }
    }

    /// Returns when the command says that the color is active.
    pub(crate) async fn switch(self, to: Color, proxy: &Proxy, bench: &Bench) {
        match self {
            Way::Api => {
                let body = format!("{{\"to\":\"{to}\"}}");
                let mut connection = Connection::open(proxy.admin).await.expect("the admin API");
                let request = format!(
                    "POST /admin/switch HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    proxy.admin,
                    body.len(),
                );
                let (answer, body) = ask(&mut connection, &request).await;
                assert!(answer.status == 200 && body["active"] == to.as_str(), "{}: {body}", answer.status);
            }
            Way::Rename => {
                let edited = proxy.file("edited.toml");
                std::fs::write(&edited, with_active(proxy, to)).expect("a file");
                std::fs::rename(&edited, proxy.file(proxies::cutover::FILE)).expect("the same directory");
                until_active(to, proxy).await;
            }
            Way::InPlace => {
                std::fs::write(proxy.file(proxies::cutover::FILE), with_active(proxy, to)).expect("a file");
                until_active(to, proxy).await;
            }
            Way::Map => {
                let map = proxy.file(haproxy::MAP);
                let mut socket = UnixStream::connect(proxy.file(haproxy::SOCKET)).await.expect("the runtime socket");
                let command = format!("set map {} active {to}\n", map.display());
                socket.write_all(command.as_bytes()).await.expect("a command");
                let mut answer = String::new();
                socket.read_to_string(&mut answer).await.expect("an answer");
                assert_eq!(answer.trim(), "", "HAProxy is silent when it did what it was told");
            }
            Way::Reload => {
                std::fs::write(proxy.file(nginx::ACTIVE), nginx::active(to, Upstream::Http1)).expect("a file");
                let mut command = nginx::in_directory(&bench.programs, proxy.dir());
                command.args(["-s", "reload"]).stderr(Stdio::null());
                let status = tokio::process::Command::from(command).status().await.expect("nginx runs");
                assert!(status.success(), "{status}");
            }
            Way::Runtime => {
                let percent = if to == Color::Green { 100 } else { 0 };
                let request = format!(
                    "POST /runtime_modify?{}={percent} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    envoy::KEY,
                    proxy.admin,
                );
                let mut connection = TcpStream::connect(proxy.admin).await.expect("the admin API");
                connection.write_all(request.as_bytes()).await.expect("a request");
                let mut answer = String::new();
                connection.read_to_string(&mut answer).await.expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        }
    }
}

/// Cutover's file with another order in it.
fn with_active(proxy: &Proxy, to: Color) -> String {
    let text = proxy.read(proxies::cutover::FILE);
    text.replacen(&format!("active = \"{}\"", to.other()), &format!("active = \"{to}\""), 1)
}

/// Asks each millisecond for what is active.
async fn until_active(to: Color, proxy: &Proxy) {
    let request = format!("GET /admin/status HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.admin);
    let mut connection = Connection::open(proxy.admin).await.expect("the admin API");
    while ask(&mut connection, &request).await.1["active"] != to.as_str() {
        sleep(Duration::from_millis(1)).await;
    }
}

/// An answer of the admin API, and what it says.
async fn ask(connection: &mut Connection, request: &str) -> (Answer, Value) {
    let answer = connection.ask(request.as_bytes()).await.expect("an answer");
    let body = serde_json::from_slice(connection.body(answer)).expect("JSON");
    (answer, body)
}
