//! One client connection, from accept to close.

use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::proxy::error::{refusal, slow_head};
use crate::proxy::refused;
use crate::proxy::request::respond::After;
use crate::proxy::request::serve::{IncomingRequest, forward};
use crate::server::client::{ClientConnection, Open};
use crate::server::http2::serve_http2;
use crate::server::lingering_close::{UPLOAD, linger};
use crate::telemetry::refused::Refusal;
use crate::tls::{client_certificate_is_over, client_subject};
use crate::wire::head::{Head, Version};
use crate::wire::http1::connection::{HeadError, Wire};
use crate::wire::http1::parse::Refused;
use crate::wire::http2::server::PREFACE;
use crate::wire::proxy_protocol::{self, Parsed};
use crate::wire::side::Side;
use crate::wire::socket::Socket;

/// Time to write a last answer; the client may not read it.
const LAST_ANSWER: Duration = Duration::from_secs(1);

pub(crate) fn serve(open: Open, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> {
    let (worker, slot) = (Rc::clone(&open.worker), Rc::clone(&open.slot));
    // Boxed, because the runtime moves the future of a task eight times, and this one has 3 KiB.
    let mut serving = Box::pin(async move {
        // In sequence, so that the state of TLS takes no memory while HTTP is spoken.
        match begin(open, Wire::new(Socket::Tcp(tcp)), peer).await {
            Some((client, Spoken::Http1(wire))) => serve_http1(client, wire).await,
            Some((client, Spoken::Http2(socket))) => Box::pin(serve_http2(client, socket)).await,
            None => {}
        }
    });
    poll_fn(move |cx| {
        worker.tick();
        slot.register(cx);
        serving.as_mut().poll(cx)
    })
}

enum Spoken {
    Http1(Box<Wire>),
    Http2(Socket),
}

/// The PROXY protocol and TLS. `None`: the connection is over.
async fn begin(mut open: Open, mut wire: Wire, mut peer: SocketAddr) -> Option<(ClientConnection, Spoken)> {
    let (from_balancer, header_timeout, idle_timeout, handshake_timeout) = open.worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        let from_balancer = edge.proxy_protocol.iter().any(|net| net.contains(&peer.ip().to_canonical()));
        (from_balancer, edge.header_timeout, edge.idle_timeout, edge.handshake_timeout)
    });
    if from_balancer {
        open.enter(Phase::Head, header_timeout);
        match poll_fn(|cx| poll_source(&open, &mut wire, cx)).await {
            Ok(Some(source)) => peer = source,
            Ok(None) => {}
            Err(reason) => {
                if let Some(reason) = reason {
                    refused::connection(&open.worker, peer, Refusal::ProxyHeader, &reason);
                }
                return None;
            }
        }
    }
    if !open.count_for(peer.ip()) {
        let limit = "the client has listen.max_connections_per_client connections";
        refused::connection(&open.worker, peer, Refusal::MaxConnectionsPerClient, &limit);
        return None;
    }
    if open.listener.is_tls() {
        let refuse = |reason, error: &dyn Display| refused::connection(&open.worker, peer, reason, error);
        let Some(config) = open.worker.live.tls() else {
            refuse(Refusal::TlsHandshake, &"there is no certificate");
            return None;
        };
        open.enter(Phase::Head, handshake_timeout);
        // A check of the port connects and sends nothing; that is no failed handshake.
        if !poll_fn(|cx| poll_first_byte(&open, &wire, cx)).await {
            return None;
        }
        let mut handshake = Box::pin(TlsAcceptor::from(config).accept(wire.into_socket()));
        let shaken = poll_fn(|cx| match handshake.as_mut().poll(cx) {
            Poll::Pending if open.is_over() => Poll::Ready(None),
            polled => polled.map(Some),
        });
        let stream = match shaken.await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                refuse(Refusal::TlsHandshake, &error);
                return None;
            }
            None => {
                if open.slot.fired() == Some(Fired::Deadline) {
                    refuse(Refusal::TlsHandshake, &"the handshake was not complete in time");
                }
                return None;
            }
        };
        drop(handshake);
        let connection = stream.get_ref().1;
        if client_certificate_is_over(connection, SystemTime::now()) {
            refuse(Refusal::ClientCertificate, &"the client certificate has expired");
            return None;
        }
        open.enter(Phase::Idle, idle_timeout);
        let http2 = connection.alpn_protocol() == Some(b"h2");
        let client = ClientConnection::new(open, peer, client_subject(connection));
        let socket = Socket::Client(Box::new(stream));
        let spoken = if http2 { Spoken::Http2(socket) } else { Spoken::Http1(Box::new(Wire::new(socket))) };
        return Some((client, spoken));
    }
    open.enter(Phase::Idle, idle_timeout);
    let client = ClientConnection::new(open, peer, None);
    let spoken = match poll_fn(|cx| poll_version(&client, &mut wire, cx)).await? {
        Version::Http2 => Spoken::Http2(wire.into_socket()),
        Version::Http10 | Version::Http11 => Spoken::Http1(Box::new(wire)),
    };
    Some((client, spoken))
}

/// Reads the client's address from a PROXY header. An error closes the connection; it has a reason if bytes were sent.
fn poll_source(
    open: &Open,
    wire: &mut Wire,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<SocketAddr>, Option<proxy_protocol::Malformed>>> {
    let malformed = |reason| Some(proxy_protocol::Malformed(reason));
    loop {
        match proxy_protocol::parse(wire.unread()) {
            Ok(Parsed::Complete { length, source }) => {
                wire.skip(length);
                return Poll::Ready(Ok(source));
            }
            Ok(Parsed::Partial) => {}
            Err(malformed) => return Poll::Ready(Err(Some(malformed))),
        }
        match wire.poll_more(cx) {
            Poll::Ready(true) => {}
            Poll::Ready(false) if wire.unread().is_empty() => return Poll::Ready(Err(None)),
            Poll::Ready(false) => return Poll::Ready(Err(malformed("the connection ended in it"))),
            Poll::Pending => match open.slot.fired() {
                Some(Fired::Deadline) => return Poll::Ready(Err(malformed("it was not complete in time"))),
                _ if open.is_over() => return Poll::Ready(Err(None)),
                _ => return Poll::Pending,
            },
        }
    }
}

/// Waits for the first byte of a handshake, and leaves it unread. False: none came.
fn poll_first_byte(open: &Open, wire: &Wire, cx: &mut Context<'_>) -> Poll<bool> {
    let Socket::Tcp(tcp) = &wire.io else { return Poll::Ready(true) };
    if !wire.unread().is_empty() {
        return Poll::Ready(true);
    }
    match tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
        Poll::Ready(peeked) => Poll::Ready(matches!(peeked, Ok(1..))),
        Poll::Pending if open.is_over() => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    }
}

fn poll_version(client: &ClientConnection, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Option<Version>> {
    loop {
        let unread = wire.unread();
        let compared = unread.len().min(PREFACE.len());
        if compared > 0 && unread[..compared] != PREFACE[..compared] {
            return Poll::Ready(Some(Version::Http11));
        }
        if compared == PREFACE.len() {
            return Poll::Ready(Some(Version::Http2));
        }
        match wire.poll_more(cx) {
            Poll::Ready(true) if client.slot().phase() == Phase::Idle => client.head_began(),
            Poll::Ready(true) => {}
            Poll::Ready(false) => {
                if compared > 0 {
                    refused::head(client.worker(), client.peer(), Refusal::IncompleteHead, 499);
                }
                return Poll::Ready(None);
            }
            // An incomplete request is answered with its error.
            Poll::Pending if client.is_over() => return Poll::Ready((compared > 0).then_some(Version::Http11)),
            Poll::Pending => return Poll::Pending,
        }
    }
}

async fn serve_http1(client: ClientConnection, mut wire: Box<Wire>) {
    let mut head = Head::default();
    loop {
        let max_header_bytes = client.worker().live.with(|snapshot| snapshot.edge.max_header_bytes);
        match next(&client, &mut wire, &mut head, max_header_bytes).await {
            Next::Request => {}
            Next::Refused(refusal, status, answer) => {
                refused::head(client.worker(), client.peer(), refusal, status);
                return refuse(client.slot(), *wire, answer.as_bytes()).await;
            }
            Next::Over => return,
        }
        let request = IncomingRequest {
            client: Rc::clone(&client.client),
            slot: Rc::clone(client.slot()),
            side: Side::Http1(wire),
            head,
        };
        let finished = forward(request).await;
        // An idle connection keeps no head.
        client.worker().give_head(finished.head);
        head = Head::default();
        let Side::Http1(back) = finished.side else { return };
        match finished.after {
            After::Next => wire = back,
            After::Close => return Box::pin(close(client.slot(), *back)).await,
            After::Cut => return,
        }
    }
}

enum Next {
    Request,
    Refused(Refusal, u16, String),
    Over,
}

async fn next(client: &ClientConnection, wire: &mut Wire, head: &mut Head, max: usize) -> Next {
    // The deadline counts from the head's first byte, which may have come while the version was detected.
    if client.slot().phase() != Phase::Head {
        client.idle();
    }
    poll_fn(|cx| {
        if client.slot().phase() == Phase::Idle {
            match wire.poll_begun(cx) {
                // A request that arrived is answered even at shutdown: closing would reset it.
                Poll::Ready(true) => client.head_began(),
                Poll::Ready(false) => return Poll::Ready(Next::Over),
                Poll::Pending if client.slot().is_over() => return Poll::Ready(Next::Over),
                Poll::Pending => return Poll::Pending,
            }
        }
        // Taken only now: half a head waits in the buffer.
        *head = client.worker().take_head();
        let polled = wire.poll_request(cx, head, max);
        if polled.is_pending() {
            client.worker().give_head(std::mem::take(head));
        }
        match polled {
            Poll::Ready(Ok(true)) => Poll::Ready(Next::Request),
            Poll::Ready(Ok(false)) => Poll::Ready(Next::Over),
            Poll::Ready(Err(HeadError::Incomplete | HeadError::Io(_))) => {
                refused::head(client.worker(), client.peer(), Refusal::IncompleteHead, 499);
                Poll::Ready(Next::Over)
            }
            Poll::Ready(Err(HeadError::Refused(refused))) => {
                let (status, answer) = refusal(refused);
                Poll::Ready(Next::Refused(reason(refused), status, answer))
            }
            Poll::Pending => match client.slot().fired() {
                Some(Fired::Deadline) => {
                    let answer = slow_head(client.header_timeout());
                    Poll::Ready(Next::Refused(Refusal::SlowHead, 408, answer))
                }
                Some(Fired::Cut) => Poll::Ready(Next::Over),
                Some(Fired::Ended | Fired::Idle | Fired::Closing) | None => Poll::Pending,
            },
        }
    })
    .await
}

fn reason(refused: Refused) -> Refusal {
    match refused {
        Refused::Malformed(_) => Refusal::Malformed,
        Refused::TargetTooLong => Refusal::TargetTooLong,
        Refused::TooLarge | Refused::TooManyFields => Refusal::HeadTooLarge,
        Refused::NoMemory => Refusal::Memory,
    }
}

async fn refuse(slot: &DeadlineSlot, mut wire: Wire, answer: &[u8]) {
    if let Ok(Ok(())) = tokio::time::timeout(LAST_ANSWER, wire.io.write_all(answer)).await {
        Box::pin(close(slot, wire)).await;
    }
}

async fn close(slot: &DeadlineSlot, mut wire: Wire) {
    let all_read = wire.is_read() && wire.unread().is_empty();
    if all_read && matches!(wire.io, Socket::Tcp(_)) {
        // Nothing unread, so no reset. Only TLS has a closing message; TCP ends with the socket.
        return;
    }
    if all_read || wire.has_ended() {
        let _ = tokio::time::timeout(LAST_ANSWER, wire.io.shutdown()).await;
    } else {
        linger(slot, &mut wire.io, &UPLOAD).await;
    }
}

#[cfg(test)]
mod tests;
