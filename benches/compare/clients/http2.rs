//! Clients that speak HTTP/2 over TLS: streams that share connections, for small answers and for unary calls of gRPC.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{Method, Request, StatusCode};

use crate::applications::grpc::{self, drain};
use crate::applications::http1::BODY;
use crate::certificate::{Certificate, handshake};
use crate::clients::crew::Worker;

/// Streams of one connection that are busy at the same time.
pub(crate) const STREAMS: usize = 16;

/// What a stream is for.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// The request that all sections make.
    Small,
    Grpc,
}

/// One stream after the other.
pub(crate) struct Streams(SendRequest<Bytes>, Call);

/// Connects, and shares the connection among [`STREAMS`] clients.
pub(crate) async fn open(to: SocketAddr, certificate: &Certificate, call: Call) -> io::Result<Vec<Streams>> {
    let stream = handshake(to, &certificate.client(b"h2", true)).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("no HTTP/2"));
    }
    let mut builder = Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
    let (send, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let send = send.ready().await.map_err(io::Error::other)?;
    Ok(vec![send; STREAMS].into_iter().map(|send| Streams(send, call)).collect())
}

/// True when a call comes back as it has to.
pub(crate) async fn answers(to: SocketAddr, certificate: &Certificate) -> bool {
    let Ok(mut streams) = open(to, certificate, Call::Grpc).await else { return false };
    streams[0].step().await.is_ok()
}

impl Worker for Streams {
    async fn step(&mut self) -> io::Result<()> {
        self.call().await.map_err(io::Error::other)?
    }
}

impl Streams {
    async fn call(&mut self) -> Result<io::Result<()>, h2::Error> {
        let Streams(send, call) = self;
        let mut send = send.clone().ready().await?;
        let request = match call {
            Call::Small => Request::get("https://shop.example.com/orders/17").header("accept", "*/*").body(()),
            Call::Grpc => Request::builder()
                .method(Method::POST)
                .uri("https://shop.example.com/shop.Orders/Get")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(()),
        };
        let request = request.expect("a request");
        let response = match call {
            Call::Small => send.send_request(request, true)?.0,
            Call::Grpc => {
                let (response, mut body) = send.send_request(request, false)?;
                body.send_data(Bytes::from_static(&grpc::MESSAGE), true)?;
                response
            }
        };
        let (head, mut body) = response.await?.into_parts();
        let length = drain(&mut body).await?;
        let good = match call {
            Call::Small => length == BODY && head.headers.contains_key("x-color"),
            Call::Grpc => {
                let trailers = body.trailers().await?;
                let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
                length == grpc::MESSAGE.len() && status.is_some_and(|status| status == "0")
            }
        };
        let outcome = if good && head.status == StatusCode::OK { Ok(()) } else { Err(head) };
        Ok(outcome.map_err(|head| io::Error::other(format!("{length} bytes after {head:?}"))))
    }
}
