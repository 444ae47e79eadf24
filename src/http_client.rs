//! One HTTP/1.1 request on a connection of its own: for commands, notices and probes, never for clients' requests.

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A response with an unread body. Dropping it closes the connection.
pub(crate) struct Response {
    head: response::Parts,
    body: Incoming,
    _connection: JoinSet<Result<(), hyper::Error>>,
}

pub(crate) async fn send(
    stream: impl Stream + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Response { head, body, _connection: connections })
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn head(&self) -> &response::Parts {
        &self.head
    }

    /// Errors if the body is longer than `most`.
    pub(crate) async fn whole(self, most: usize) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Limited::new(self.body, most).collect().await?.to_bytes())
    }

    /// The first `enough` bytes of the body, or a few more.
    pub(crate) async fn beginning(&mut self, enough: usize) -> Result<Bytes, hyper::Error> {
        let mut read = BytesMut::new();
        while read.len() < enough {
            let Some(frame) = self.body.frame().await else { break };
            read.extend_from_slice(frame?.data_ref().map_or(&[], |data| data));
        }
        Ok(read.freeze())
    }
}
