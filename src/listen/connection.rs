//! One client connection, from accept to close.
//!
//! hyper parses and encodes. This task polls it, watches the connection's slot, and decides how the connection ends:
//! parked while nothing comes, as a tunnel, with a 408, or with a close that lets the client read its last answer.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::listen::stream::ClientStream;
use crate::proxy::client::{ClientConnection, PARK_AFTER};
use crate::proxy::error::{refusal, slow_head};
use crate::proxy::exchange::log_refusal;
use crate::proxy::slot::{Fired, Phase};
use crate::proxy::stack::stack;

/// How long a closed connection goes on reading, so that the client gets to read the answer: closing a socket with
/// unread bytes resets it, and a reset overtakes what was written.
const LINGER: Duration = Duration::from_secs(1);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;

/// How a stretch of HTTP on a connection ended.
enum Ending {
    /// hyper is done: closed, failed, or a tunnel begins.
    Done(hyper::Result<()>),
    /// Nothing has come for a while: give the buffers back.
    Park,
    /// A head has begun and did not get complete.
    SlowHead,
    /// Close at once.
    Close,
}

/// Serves a connection until it is closed.
pub(crate) async fn serve(client: Rc<ClientConnection>, tcp: TcpStream) {
    // Small answers must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let mut stream = ClientStream::new(tcp, Rc::clone(&client));
    let mut idle_for = Duration::ZERO;
    loop {
        // Until a request comes, also the first one, nothing of hyper's is there: its buffers are most of what a
        // connection costs.
        if stream.ahead.is_empty() && !parked(&client, &mut stream, idle_for).await {
            return;
        }
        let (ending, read_ahead);
        (ending, stream, read_ahead) = Box::pin(speak(&client, stream)).await;
        match ending {
            Ending::Done(result) => {
                if result.is_err_and(|error| error.is_parse_version_h2()) {
                    client.refused.set(Some(505));
                    let _ = stream.tcp.write_all(refusal(505, None).as_bytes()).await;
                }
                if let Some(status) = client.refused.take() {
                    log_refusal(&client, status);
                }
                let tunnel = client.tunnel.take();
                match tunnel {
                    Some(tunnel) => tunnel.run(&mut stream, read_ahead).await,
                    None => close(&client, stream).await,
                }
                return;
            }
            Ending::SlowHead => {
                let _ = stream.tcp.write_all(slow_head(client.header_timeout()).as_bytes()).await;
                log_refusal(&client, 408);
                close(&client, stream).await;
                return;
            }
            Ending::Close => return,
            // The beginning of a head came together with the request before it.
            Ending::Park if !read_ahead.is_empty() => {
                stream.ahead = read_ahead;
                client.head_began();
            }
            Ending::Park => {
                idle_for = PARK_AFTER;
                client.worker.freed.set(true);
            }
        }
    }
}

/// Speaks HTTP until something else has to happen: why, the stream, and what was read beyond it.
async fn speak(client: &Rc<ClientConnection>, stream: ClientStream) -> (Ending, ClientStream, Bytes) {
    let max_header_bytes = client.worker.live.with(|snapshot| snapshot.edge.max_header_bytes);
    let mut http = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(max_header_bytes)
        .serve_connection(TokioIo::new(stream), stack(client));
    let ending = std::future::poll_fn(|cx| {
        client.worker.tick();
        client.slot.register(cx);
        let done = client.driver.poll(cx, |cx| {
            let done = Pin::new(&mut http).poll(cx);
            if done.is_pending() && client.uploading.get() {
                // Even while hyper is not asking for more of the answer: a client that sends all of its request
                // before it reads would wait forever.
                client.drive();
            }
            done
        });
        client.driver.settle(client.upstream.borrow().is_some());
        if let Poll::Ready(result) = done {
            return Poll::Ready(Ending::Done(result));
        }
        judge(client, Pin::new(&mut http))
    })
    .await;
    let parts = http.into_parts();
    // An empty one would keep the whole buffer.
    let read_ahead = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
    (ending, parts.io.into_inner(), read_ahead)
}

/// What follows from the state of the slot, once everybody else has had a look at it.
fn judge<S>(client: &ClientConnection, http: Pin<&mut http1::Connection<TokioIo<ClientStream>, S>>) -> Poll<Ending>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(fired) = client.slot.fired() else { return Poll::Pending };
    match (fired, client.slot.phase()) {
        (Fired::Deadline, Phase::Idle) if client.flushed.get() => {
            client.slot.take_fired();
            Poll::Ready(Ending::Park)
        }
        (Fired::Deadline, Phase::Head) => Poll::Ready(Ending::SlowHead),
        // The answer that is being written can't be taken back, and nobody reads it. The reason stays, for the log.
        (Fired::Deadline | Fired::Ended | Fired::Cut, _) => Poll::Ready(Ending::Close),
        (Fired::Closing, Phase::Idle) if client.flushed.get() => Poll::Ready(Ending::Close),
        (Fired::Closing, _) => {
            client.slot.take_fired();
            http.graceful_shutdown();
            Poll::Pending
        }
    }
}

/// Waits for a request without any buffer; it has been idle for so long already. False: the connection is over.
async fn parked(client: &ClientConnection, stream: &mut ClientStream, idle_for: Duration) -> bool {
    client.idle_until(Instant::now() + client.idle_timeout().saturating_sub(idle_for));
    let comes = std::future::poll_fn(|cx| {
        client.slot.register(cx);
        // A look at one byte and not at readiness alone: an accepted socket counts as readable before anything came.
        let mut byte = [0];
        // A request that is here is answered, also when the process stops: closing would reset it.
        if let Poll::Ready(peeked) = stream.tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            return Poll::Ready(peeked.is_ok_and(|bytes| bytes > 0));
        }
        if client.slot.take_fired().is_some() || client.slot.is_closing() {
            return Poll::Ready(false);
        }
        Poll::Pending
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
