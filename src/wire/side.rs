//! One end of an exchange, in either version of HTTP.
//!
//! [`Side`] gives each operation to the version of its connection. A side is read (`poll_answer`, `poll_body`,
//! `trailers`), or written (`begin_request` or `begin_answer`, `poll_send`, `finish`), or both. `copy` moves a body
//! from one to another.

use std::io;
use std::task::{Context, Poll};

use crate::wire::head::Head;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::{BodyError, HeadError, Piece, Wire};
use crate::wire::http1::parse::AnswerLimits;
use crate::wire::http2::client::{Stream, Unsent};
use crate::wire::http2::server::STREAM_WINDOW;
use crate::wire::http2::server::stream::ServerStream;
use crate::wire::socket::buffer;
use crate::wire::socket::keepalive;

/// Bytes read of a response whose client takes no more now: the rest of a head, or the end of a body.
const LEAST: usize = 4 << 10;

#[derive(Debug)]
pub(crate) enum Side {
    Http1(Box<Wire>),
    /// A stream to an endpoint.
    Http2(Box<Stream>),
    /// A stream of a client.
    Served(Box<ServerStream>),
}

impl Side {
    pub(crate) fn begin_request(&mut self, head: &Head, framing: Framing) -> Result<(), Unsent> {
        match self {
            Side::Http1(wire) => wire.begin_request(head, framing),
            Side::Http2(stream) => return stream.begin_request(head, framing),
            Side::Served(_) => {}
        }
        Ok(())
    }

    /// Waits for room for a request. `tunnel`: for an extended CONNECT. False: the connection takes none any more.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, tunnel: bool) -> Poll<bool> {
        match self {
            Side::Http1(_) | Side::Served(_) => Poll::Ready(true),
            Side::Http2(stream) => stream.poll_ready(cx, tunnel),
        }
    }

    pub(crate) fn is_excused(&self) -> bool {
        matches!(self, Side::Http2(stream) if stream.is_excused())
    }

    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Side::Http2(stream) if stream.is_told())
    }

    pub(crate) fn is_bodiless(&self) -> bool {
        match self {
            Side::Http1(_) => false,
            Side::Http2(stream) => stream.is_bodiless(),
            Side::Served(stream) => stream.is_read(),
        }
    }

    /// Reads an answer's head. False: there is none.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: AnswerLimits,
    ) -> Poll<Result<bool, HeadError>> {
        match self {
            Side::Http1(wire) => wire.poll_answer(cx, head, limits),
            // `h2` applies the connection's limits.
            Side::Http2(stream) => stream.poll_answer(cx, head),
            Side::Served(_) => Poll::Ready(Ok(false)),
        }
    }

    pub(crate) fn refused_line(&self) -> &[u8] {
        match self {
            Side::Http1(wire) => wire.refused_line(),
            Side::Http2(_) | Side::Served(_) => b"",
        }
    }

    pub(crate) fn expect_body(&mut self, framing: Framing) {
        match self {
            Side::Http1(wire) => wire.expect_body(framing),
            // HTTP/2 frames tell the end of a body.
            Side::Http2(_) | Side::Served(_) => {}
        }
    }

    /// Writes an interim answer, unless the final one has begun.
    pub(crate) fn interim(&mut self, head: &Head) -> bool {
        match self {
            Side::Http1(wire) => wire.interim(head),
            Side::Http2(_) => false,
            Side::Served(stream) => stream.interim(head),
        }
    }

    pub(crate) fn takes_interim(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.takes_interim(),
            Side::Http2(_) => false,
            Side::Served(stream) => stream.takes_interim(),
        }
    }

    pub(crate) fn begin_answer(&mut self, head: &Head, framing: Framing) {
        match self {
            Side::Http1(wire) => wire.begin_answer(head, framing),
            Side::Http2(_) => {}
            Side::Served(stream) => stream.begin_answer(head, framing),
        }
    }

    pub(crate) fn has_written(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.has_written(),
            Side::Http2(stream) => stream.has_written(),
            Side::Served(_) => true,
        }
    }

    /// Output that the other end has not taken, in bytes.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Side::Http1(wire) => wire.waiting(),
            Side::Http2(_) => 0,
            Side::Served(stream) => stream.waiting(),
        }
    }

    /// More of a response may be read for this client. If not, its task is woken when it may.
    pub(crate) fn takes_response(&self) -> bool {
        match self {
            Side::Http1(_) | Side::Http2(_) => true,
            Side::Served(stream) => stream.takes_response(),
        }
    }

    pub(crate) fn read_for(&mut self, client: &Side) {
        if let (Side::Http1(source), Side::Served(sink)) = (self, client) {
            source.read_at_most(sink.window().max(LEAST));
        }
    }

    /// Charges the client's connection with response bytes held by the endpoint's side.
    pub(crate) fn charge_response(&mut self, bytes: usize) {
        if let Side::Served(stream) = self {
            stream.charge_response(bytes);
        }
    }

    pub(crate) fn memory(&mut self) -> usize {
        match self {
            Side::Http1(wire) => wire.memory(),
            Side::Http2(stream) => stream.memory(),
            Side::Served(_) => 0,
        }
    }

    /// The client takes nothing now, so that reading on would only fill memory.
    pub(super) fn must_wait_for(&mut self, client: &Side) -> bool {
        let (Side::Http1(source), Side::Served(sink)) = (self, client) else { return false };
        if !source.unread().is_empty() {
            return false;
        }
        let room = sink.room();
        source.read_at_most(room.max(LEAST));
        // The end of a body needs no window, so it is read where it may come next.
        room == 0 && (source.length_left() > 0 || !sink.takes_response())
    }

    /// The next piece of the body; the caller reports its use by [`Side::consume`].
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece<'_>, BodyError>> {
        match self {
            Side::Http1(wire) => wire.poll_body(cx),
            Side::Http2(stream) => stream.poll_body(cx),
            Side::Served(stream) => stream.poll_body(),
        }
    }

    pub(crate) fn consume(&mut self, n: usize) {
        match self {
            Side::Http1(wire) => wire.consume(n),
            Side::Http2(stream) => stream.consume(n),
            Side::Served(stream) => stream.consume(n),
        }
    }

    pub(crate) fn trailers(&self) -> &Head {
        match self {
            Side::Http1(wire) => wire.trailers(),
            Side::Http2(stream) => stream.trailers(),
            Side::Served(stream) => stream.trailers(),
        }
    }

    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Side::Http1(wire) => wire.poll_send(cx, data),
            Side::Http2(stream) => stream.poll_send(cx, data),
            Side::Served(stream) => stream.poll_send(data),
        }
    }

    pub(crate) fn finish(&mut self, trailers: &Head) {
        match self {
            Side::Http1(wire) => wire.finish(trailers),
            Side::Http2(stream) => stream.finish(trailers),
            Side::Served(stream) => stream.finish(trailers),
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Side::Http1(wire) => wire.poll_flush(cx),
            // The connection's own task writes.
            Side::Http2(_) | Side::Served(_) => Poll::Ready(Ok(())),
        }
    }

    /// Resolves when this end leaves while nothing is expected of it.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Side::Http1(wire) => wire.poll_left(cx),
            Side::Http2(stream) => stream.poll_left(cx),
            Side::Served(stream) => stream.poll_left(),
        }
    }

    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Side::Http1(wire) => wire.poll_gone(cx),
            Side::Http2(stream) => stream.poll_left(cx),
            Side::Served(stream) => stream.poll_left(),
        }
    }

    /// Bytes of a held request's body that may be received.
    pub(crate) fn room_while_held(&self, framing: Framing) -> usize {
        let body = match framing {
            Framing::None => 0,
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::Chunked | Framing::UntilEnd => usize::MAX,
        };
        match self {
            Side::Http1(wire) if body == 0 && wire.unread().is_empty() => 0,
            Side::Http1(_) => buffer::SMALL,
            Side::Http2(_) | Side::Served(_) => body.min(STREAM_WINDOW as usize),
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.is_read(),
            Side::Http2(stream) => stream.is_read(),
            Side::Served(stream) => stream.is_read(),
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Side::Http1(wire) => !wire.unread().is_empty(),
            Side::Http2(stream) => stream.has_unread(),
            Side::Served(stream) => stream.has_unread(),
        }
    }

    /// Receives available body bytes, if none were received yet.
    pub(crate) fn peek(&mut self, cx: &mut Context<'_>) {
        match self {
            // `poll_gone` reads the socket.
            Side::Http1(_) => {}
            // An error shows again at the next read.
            Side::Http2(stream) => drop(stream.poll_body(cx)),
            Side::Served(stream) => drop(stream.poll_body()),
        }
    }

    pub(crate) fn become_tunnel(&mut self) {
        match self {
            Side::Http1(wire) => {
                wire.expect_body(Framing::UntilEnd);
                wire.announce_body(Framing::UntilEnd);
                if let Some(stream) = wire.io.tcp() {
                    keepalive::bound_tunnel(stream);
                }
            }
            Side::Http2(stream) => stream.become_tunnel(),
            Side::Served(stream) => stream.become_tunnel(),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Side::Http1(wire) => wire.poll_shutdown(cx),
            // The last frame has END_STREAM.
            Side::Http2(_) | Side::Served(_) => Poll::Ready(Ok(())),
        }
    }
}
