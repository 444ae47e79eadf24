//! One client connection, from accept to close.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::Service;

use crate::listen::http2::serve_http2;
use crate::proxy::answer::After;
use crate::proxy::client::ClientConnection;
use crate::proxy::error::{refusal, slow_head};
use crate::proxy::exchange::log_refusal;
use crate::proxy::forward::Inquiry;
use crate::proxy::slot::{Fired, Phase};
use crate::proxy::stack::stack;
use crate::wire::head::{Head, Version};
use crate::wire::http1::{HeadError, Wire};
use crate::wire::http2::PREFACE;
use crate::wire::side::Side;
use crate::wire::socket::Socket;

/// How long a closed connection goes on reading, so that the client gets to read the answer: closing a socket with
/// unread bytes resets it, and a reset overtakes what was written.
const LINGER: Duration = Duration::from_secs(1);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;

/// Serves a connection until it is closed.
pub(crate) async fn serve(client: Rc<ClientConnection>, tcp: TcpStream) {
    // Small answers must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let mut serving = pin!(serve_any(Rc::clone(&client), Socket::Tcp(tcp)));
    std::future::poll_fn(|cx| {
        client.worker.tick();
        client.slot.register(cx);
        serving.as_mut().poll(cx)
    })
    .await;
}

/// Serves whatever version of HTTP the client begins with.
async fn serve_any(client: Rc<ClientConnection>, socket: Socket) {
    let mut wire = Box::new(Wire::new(socket));
    client.idle();
    match std::future::poll_fn(|cx| poll_version(&client, &mut wire, cx)).await {
        Some(Version::Http2) => Box::pin(serve_http2(client, wire.into_rewound())).await,
        Some(Version::Http10 | Version::Http11) => serve_http1(client, wire).await,
        None => {}
    }
}

/// Looks at the first bytes. `None`: none came.
fn poll_version(client: &ClientConnection, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Option<Version>> {
    loop {
        let unread = wire.unread();
        let compared = unread.len().min(PREFACE.len());
        if compared > 0 && (unread[..compared] != PREFACE[..compared]) {
            return Poll::Ready(Some(Version::Http11));
        }
        if compared == PREFACE.len() {
            return Poll::Ready(Some(Version::Http2));
        }
        match wire.poll_more(cx) {
            Poll::Ready(true) if client.slot.phase() == Phase::Idle => client.head_began(),
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(None),
            Poll::Pending => {
                let over = client.slot.fired().is_some() || client.slot.is_closing();
                return match over {
                    // A request that has begun is answered, if only with what it lacks.
                    true => Poll::Ready((compared > 0).then_some(Version::Http11)),
                    false => Poll::Pending,
                };
            }
        }
    }
}

async fn serve_http1(client: Rc<ClientConnection>, mut wire: Box<Wire>) {
    let mut stack = stack();
    let mut head = Head::default();
    loop {
        let max_header_bytes = client.worker.live.with(|snapshot| snapshot.edge.max_header_bytes);
        match next(&client, &mut wire, &mut head, max_header_bytes).await {
            Next::Request => {}
            Next::Refused(status, answer) => {
                log_refusal(&client, status);
                let _ = wire.io.write_all(answer.as_bytes()).await;
                return close(*wire).await;
            }
            Next::Over => return,
        }
        let inquiry =
            Inquiry { client: Rc::clone(&client), slot: Rc::clone(&client.slot), side: Side::Http1(wire), head };
        let Ok(answered) = stack.call(inquiry).await;
        head = answered.head;
        let Side::Http1(back) = answered.side else { return };
        match answered.after {
            After::Next => wire = back,
            After::Close => return close(*back).await,
            After::Cut => return,
        }
    }
}

enum Next {
    /// A request's head is here.
    Request,
    /// This answer goes out, and nothing else.
    Refused(u16, String),
    /// Nothing more comes.
    Over,
}

/// Waits for a request, and reads its head.
async fn next(client: &ClientConnection, wire: &mut Wire, head: &mut Head, max: usize) -> Next {
    client.idle();
    std::future::poll_fn(|cx| {
        if client.slot.phase() == Phase::Idle {
            match wire.poll_begun(cx) {
                // A request that is here is answered, also when the process stops: closing would reset it.
                Poll::Ready(true) => client.head_began(),
                Poll::Ready(false) => return Poll::Ready(Next::Over),
                Poll::Pending if client.slot.fired().is_some() || client.slot.is_closing() => {
                    return Poll::Ready(Next::Over);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        match wire.poll_request(cx, head, max) {
            Poll::Ready(Ok(true)) => Poll::Ready(Next::Request),
            Poll::Ready(Ok(false) | Err(HeadError::Incomplete | HeadError::Io(_))) => Poll::Ready(Next::Over),
            Poll::Ready(Err(HeadError::Refused(refused))) => {
                let (status, answer) = refusal(refused);
                Poll::Ready(Next::Refused(status, answer))
            }
            Poll::Pending => match client.slot.fired() {
                Some(Fired::Deadline) => Poll::Ready(Next::Refused(408, slow_head(client.header_timeout()))),
                Some(Fired::Cut) => Poll::Ready(Next::Over),
                Some(Fired::Ended | Fired::Closing) | None => Poll::Pending,
            },
        }
    })
    .await
}

/// Closes so that the client can read what was written.
async fn close(mut wire: Wire) {
    let ended = wire.has_ended();
    if wire.io.shutdown().await.is_err() || ended {
        return;
    }
    let drain = async {
        let mut left = LINGER_BYTES;
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = wire.io.read(&mut buffer).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
