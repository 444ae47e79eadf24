//! One client connection, from accept to close.
//!
//! hyper parses and encodes. This task polls it, watches the connection's slot, and decides how the connection ends:
//! parked while nothing comes, as a tunnel, with a 408, or with a close that lets the client read its last answer.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listen::stream::ClientStream;
use crate::proxy::client::{ClientConnection, PARK_AFTER};
use crate::proxy::error::slow_head;
use crate::proxy::slot::{Fired, Phase};
use crate::proxy::stack::stack;
use crate::proxy::worker::Worker;

/// How long a closed connection goes on reading, so that the client gets to read the answer: closing a socket with
/// unread bytes resets it, and a reset overtakes what was written.
const LINGER: Duration = Duration::from_secs(1);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;

/// How a stretch of HTTP on a connection ended.
enum Ending {
    /// hyper is done: closed, failed, or a tunnel begins.
    Done,
    /// Nothing has come for a while: give the buffers back.
    Park,
    /// A head has begun and did not get complete.
    SlowHead,
    /// Close at once.
    Close,
}

/// Serves a connection until it is closed.
pub(crate) async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr) {
    // Small answers must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let client = ClientConnection::new(worker, peer);
    let mut stream = ClientStream::new(tcp, Rc::clone(&client));
    loop {
        let max_header_bytes = client.worker.live.with(|snapshot| snapshot.edge.max_header_bytes);
        let mut http = http1::Builder::new()
            .header_read_timeout(None)
            .max_buf_size(max_header_bytes)
            .serve_connection(TokioIo::new(stream), stack(&client));
        let ending = std::future::poll_fn(|cx| {
            client.worker.tick();
            client.slot.register(cx);
            let done = client.driver.poll(cx, |cx| {
                let done = Pin::new(&mut http).poll(cx).is_ready();
                if !done && client.uploading.get() {
                    // Even while hyper is not asking for more of the answer: a client that sends all of its request
                    // before it reads would wait forever.
                    client.drive();
                }
                done
            });
            client.driver.settle(client.upstream.borrow().is_some());
            if done {
                return Poll::Ready(Ending::Done);
            }
            judge(&client, Pin::new(&mut http))
        })
        .await;
        let parts = http.into_parts();
        stream = parts.io.into_inner();
        match ending {
            Ending::Done => {
                let tunnel = client.tunnel.take();
                match tunnel {
                    Some(tunnel) => tunnel.run(&mut stream, parts.read_buf).await,
                    None => close(&client, stream).await,
                }
                return;
            }
            Ending::SlowHead => {
                let _ = stream.write_all(slow_head(client.header_timeout()).as_bytes()).await;
                close(&client, stream).await;
                return;
            }
            Ending::Close => return,
            Ending::Park => {
                if !park(&client, &mut stream, &parts.read_buf).await {
                    return;
                }
            }
        }
    }
}

/// What follows from the state of the slot, once everybody else has had a look at it.
fn judge<S>(client: &ClientConnection, http: Pin<&mut http1::Connection<TokioIo<ClientStream>, S>>) -> Poll<Ending>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(fired) = client.slot.take_fired() else { return Poll::Pending };
    match (fired, client.slot.phase()) {
        (Fired::Deadline, Phase::Idle) if client.flushed.get() => Poll::Ready(Ending::Park),
        (Fired::Deadline, Phase::Head) => Poll::Ready(Ending::SlowHead),
        // The answer that is being written can't be taken back, and nobody reads it.
        (Fired::Deadline | Fired::Ended | Fired::Cut, _) => Poll::Ready(Ending::Close),
        (Fired::Closing, Phase::Idle) if client.flushed.get() => Poll::Ready(Ending::Close),
        (Fired::Closing, _) => {
            http.graceful_shutdown();
            Poll::Pending
        }
    }
}

/// Waits for the next request without any buffer. False: the connection is over.
async fn park(client: &ClientConnection, stream: &mut ClientStream, read_ahead: &Bytes) -> bool {
    debug_assert!(read_ahead.is_empty(), "idle means that nothing was read");
    client.idle_until(Instant::now() + client.idle_timeout().saturating_sub(PARK_AFTER));
    if client.slot.is_closing() {
        return false;
    }
    let mut readable = std::pin::pin!(stream.tcp.readable());
    let comes = std::future::poll_fn(|cx| {
        client.slot.register(cx);
        match client.slot.take_fired() {
            Some(_) => Poll::Ready(false),
            None => readable.as_mut().poll(cx).map(|ready| ready.is_ok()),
        }
    });
    let comes = comes.await;
    if comes {
        client.between_requests();
    }
    comes
}

/// Closes so that the client can read what was written.
async fn close(client: &ClientConnection, mut stream: ClientStream) {
    if stream.shutdown().await.is_err() || client.ended.get() {
        return;
    }
    let drain = async {
        let mut left = LINGER_BYTES;
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = stream.tcp.read(&mut buffer).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
