//! What is asked of every proxy in the section `scenarios`, and the clients that ask for it.

use std::io;

use crate::applications::http1::LARGER;
use crate::bench::Bench;
use crate::clients::crew::Crew;
use crate::clients::http1::{Anew, Dial, Kept, Request};
use crate::clients::http2::{self, Call, Streams};
use crate::clients::websocket::Socket;
use crate::proxies::Proxy;
use crate::proxies::kind::Kind;
use crate::proxies::setup::{Setup, Upstream};
use crate::report::histogram::Histogram;

/// Connections for HTTP/2.
const HTTP2_CONNECTIONS: usize = 8;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    Small,
    Body16k,
    Body128k,
    Body1m,
    Post16k,
    Post1m,
    Connections,
    Tls,
    TlsFull,
    TlsResumed,
    Http2,
    Grpc,
    Websocket,
}

/// Clients that are connected.
pub(crate) enum Load {
    Kept(Crew<Kept>),
    Anew(Crew<Anew>),
    Streams(Crew<Streams>),
    Sockets(Crew<Socket>),
}

impl Scenario {
    /// What a row of the table is called.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Scenario::Small => "1 KiB answers",
            Scenario::Body16k => "16 KiB answers",
            Scenario::Body128k => "128 KiB answers",
            Scenario::Body1m => "1 MiB answers",
            Scenario::Post16k => "POST of 16 KiB",
            Scenario::Post1m => "POST of 1 MiB",
            Scenario::Connections => "a connection each",
            Scenario::Tls => "TLS, kept connections",
            Scenario::TlsFull => "TLS, a full handshake each",
            Scenario::TlsResumed => "TLS, a resumed one each",
            Scenario::Http2 => "HTTP/2 over TLS, 8 x 16",
            Scenario::Grpc => "gRPC over TLS, to h2c",
            Scenario::Websocket => "WebSocket messages",
        }
    }

    /// The unit of work's number, so that each scenario takes about as long.
    pub(crate) fn requests(self, small: u64) -> u64 {
        let share = match self {
            Scenario::Small | Scenario::Tls | Scenario::Http2 | Scenario::Websocket => 1,
            Scenario::Body16k | Scenario::Post16k | Scenario::Grpc => 2,
            Scenario::Connections => 4,
            Scenario::Body128k => 8,
            Scenario::TlsFull | Scenario::TlsResumed => 10,
            Scenario::Body1m | Scenario::Post1m => 20,
        };
        (small / share).max(100)
    }

    pub(crate) fn setup(self) -> Setup {
        let upstream = if self == Scenario::Grpc { Upstream::Http2 } else { Upstream::Http1 };
        Setup { tls: self.is_secure(), upstream, ..Setup::default() }
    }

    /// The relay has no TLS.
    pub(crate) fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Relay => !self.is_secure(),
            Kind::Cutover | Kind::HaProxy | Kind::Nginx | Kind::Envoy | Kind::Sozu => true,
        }
    }

    fn is_secure(self) -> bool {
        matches!(self, Scenario::Tls | Scenario::TlsFull | Scenario::TlsResumed | Scenario::Http2 | Scenario::Grpc)
    }

    /// Connects the clients to a proxy that was started for this.
    pub(crate) async fn connect(self, proxy: &Proxy, bench: &Bench) -> io::Result<Load> {
        let certificate = &bench.certificate;
        let request = match self {
            Scenario::Body16k => Request::get(LARGER[0]),
            Scenario::Body128k => Request::get(LARGER[1]),
            Scenario::Body1m => Request::get(LARGER[2]),
            Scenario::Post16k => Request::post(LARGER[0]),
            Scenario::Post1m => Request::post(LARGER[2]),
            _ => Request::small(),
        };
        let secure = |index: usize| (index < bench.connections).then(|| Dial::tls(proxy.https, certificate));
        let plain = |index: usize| (index < bench.connections).then_some(Dial::Plain(proxy.http));
        Ok(match self {
            Scenario::Small
            | Scenario::Body16k
            | Scenario::Body128k
            | Scenario::Body1m
            | Scenario::Post16k
            | Scenario::Post1m => Load::Kept(kept((0..).map_while(plain), &request).await?),
            Scenario::Tls => Load::Kept(kept((0..).map_while(secure), &request).await?),
            Scenario::Connections => {
                Load::Anew(Crew((0..bench.connections).map(|_| Anew::plain(proxy.http)).collect()))
            }
            Scenario::TlsFull => {
                Load::Anew(Crew((0..bench.connections).map(|_| Anew::full(proxy.https, certificate)).collect()))
            }
            Scenario::TlsResumed => {
                let mut clients = Vec::new();
                while clients.len() < bench.connections {
                    clients.push(Anew::resumed(proxy.https, certificate).await?);
                }
                Load::Anew(Crew(clients))
            }
            Scenario::Http2 | Scenario::Grpc => {
                let call = if self == Scenario::Grpc { Call::Grpc } else { Call::Small };
                let mut streams = Vec::new();
                for _ in 0..HTTP2_CONNECTIONS {
                    streams.extend(http2::open(proxy.https, certificate, call).await?);
                }
                Load::Streams(Crew(streams))
            }
            Scenario::Websocket => {
                let mut sockets = Vec::new();
                while sockets.len() < bench.connections {
                    sockets.push(Socket::open(proxy.http).await?);
                }
                Load::Sockets(Crew(sockets))
            }
        })
    }
}

async fn kept(dials: impl Iterator<Item = Dial>, request: &Request) -> io::Result<Crew<Kept>> {
    let mut clients = Vec::new();
    for dial in dials {
        clients.push(Kept(dial.open().await?, request.clone()));
    }
    Ok(Crew(clients))
}

impl Load {
    /// Makes so many requests; each has to succeed.
    pub(crate) async fn work(&mut self, requests: u64) -> Histogram {
        match self {
            Load::Kept(crew) => crew.work(requests).await,
            Load::Anew(crew) => crew.work(requests).await,
            Load::Streams(crew) => crew.work(requests).await,
            Load::Sockets(crew) => crew.work(requests).await,
        }
    }
}
