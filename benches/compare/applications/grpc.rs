//! An application that answers unary calls of gRPC, over HTTP/2 without TLS: each with the message that came.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use super::listen;

/// A message of 32 bytes, with what gRPC puts before it.
pub(crate) const MESSAGE: [u8; 37] = {
    let mut message = [b'.'; 37];
    (message[0], message[1], message[2], message[3], message[4]) = (0, 0, 0, 0, 32);
    message
};

/// Serves for as long as the runtime lives.
pub(super) fn start(address: SocketAddr) -> SocketAddr {
    let listener = listen(address).expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an open connection");
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = Builder::new().max_concurrent_streams(1000).handshake(stream).await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request, respond));
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let length = drain(&mut request.into_body()).await?;
    assert_eq!(length, MESSAGE.len(), "the whole message");
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut body = respond.send_response(head, false)?;
    body.send_data(Bytes::from_static(&MESSAGE), false)?;
    body.send_trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]))
}

/// Reads a body to its end, and says how long it was.
pub(crate) async fn drain(body: &mut RecvStream) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?.len();
        body.flow_control().release_capacity(data)?;
        length += data;
    }
    Ok(length)
}
