//! One end of an exchange, whatever version of HTTP it speaks.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use crate::wire::head::Head;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::{BodyError, HeadError, Piece, Wire};
use crate::wire::http1::parse::AnswerLimits;
use crate::wire::http2::client::{Stream, Unsent};
use crate::wire::http2::server::STREAM_WINDOW;
use crate::wire::http2::server::stream::ServerStream;
use crate::wire::socket::buffer;
use crate::wire::socket::keepalive;

/// Read at once of a response, though the client takes no more of it now: the rest of a head, or the end of a body.
const LEAST: usize = 4 << 10;

/// Copied of one body before other connections of the worker have their turn.
const TURN: u64 = 1 << 20;

/// The client's or the endpoint's end.
#[derive(Debug)]
pub(crate) enum Side {
    Http1(Box<Wire>),
    /// To an endpoint.
    Http2(Box<Stream>),
    /// Of a client.
    Served(Box<ServerStream>),
}

/// Which end broke.
#[derive(Debug)]
pub(crate) enum CopyError {
    Source(BodyError),
    Sink(io::Error),
}

/// How far the copying of one body is.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    /// The source is over, and the sink knows.
    finished: bool,
    /// The last bit of it was taken.
    pub(crate) over: bool,
    /// It is the source that is waited for, and not the sink.
    pub(crate) waits_for_source: bool,
    trailers: Trailers,
}

/// The trailers that are passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Trailers {
    #[default]
    All,
    /// All but the fields of this name.
    Without(&'static str),
    /// None (RFC 9110, 6.5.1).
    Discarded,
}

impl Copied {
    pub(crate) fn new(trailers: Trailers) -> Copied {
        Copied { trailers, ..Copied::default() }
    }

    /// Begins again, by the same rules.
    pub(crate) fn restart(&mut self) {
        *self = Copied::new(self.trailers);
    }
}

impl Side {
    /// Begins a request: its head goes out with what follows.
    pub(crate) fn begin_request(&mut self, head: &Head, framing: Framing) -> Result<(), Unsent> {
        match self {
            Side::Http1(wire) => wire.begin_request(head, framing),
            Side::Http2(stream) => return stream.begin_request(head, framing),
            // Clients are asked nothing.
            Side::Served(_) => {}
        }
        Ok(())
    }

    /// Waits until a request can be made, a tunnel's where `tunnel` says so. False: none can any more.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, tunnel: bool) -> Poll<bool> {
        match self {
            Side::Http1(_) | Side::Served(_) => Poll::Ready(true),
            Side::Http2(stream) => stream.poll_ready(cx, tunnel),
        }
    }

    /// The connection to the endpoint ended for what requests on it did, be they whose they may.
    pub(crate) fn is_excused(&self) -> bool {
        matches!(self, Side::Http2(stream) if stream.is_excused())
    }

    /// The same, and the endpoint said so.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Side::Http2(stream) if stream.is_told())
    }

    /// The message that came has no body, whatever its head says.
    pub(crate) fn is_bodiless(&self) -> bool {
        match self {
            Side::Http1(_) => false,
            Side::Http2(stream) => stream.is_bodiless(),
            Side::Served(stream) => stream.is_read(),
        }
    }

    /// Reads the head of the answer. False: there is none.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: AnswerLimits,
    ) -> Poll<Result<bool, HeadError>> {
        match self {
            Side::Http1(wire) => wire.poll_answer(cx, head, limits),
            // It has those of its connection.
            Side::Http2(stream) => stream.poll_answer(cx, head),
            Side::Served(_) => Poll::Ready(Ok(false)),
        }
    }

    /// What of an answer's head was refused, where that is known.
    pub(crate) fn refused_line(&self) -> &[u8] {
        match self {
            Side::Http1(wire) => wire.refused_line(),
            Side::Http2(_) | Side::Served(_) => b"",
        }
    }

    /// The body of the answer that comes from here.
    pub(crate) fn expect_body(&mut self, framing: Framing) {
        match self {
            Side::Http1(wire) => wire.expect_body(framing),
            // Its frames say it.
            Side::Http2(_) | Side::Served(_) => {}
        }
    }

    /// Writes an interim answer, unless the final one has begun.
    pub(crate) fn interim(&mut self, head: &Head) -> bool {
        match self {
            Side::Http1(wire) => wire.interim(head),
            // Endpoints are answered nothing.
            Side::Http2(_) => false,
            Side::Served(stream) => stream.interim(head),
        }
    }

    /// No final answer has begun here.
    pub(crate) fn takes_interim(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.takes_interim(),
            Side::Http2(_) => false,
            Side::Served(stream) => stream.takes_interim(),
        }
    }

    /// Begins the final answer: its head goes out with what follows. Nothing interim is written behind it.
    pub(crate) fn begin_answer(&mut self, head: &Head, framing: Framing) {
        match self {
            Side::Http1(wire) => wire.begin_answer(head, framing),
            // Endpoints are answered nothing.
            Side::Http2(_) => {}
            Side::Served(stream) => stream.begin_answer(head, framing),
        }
    }

    /// Whether the other end may have acted on the last request: anything of it was written.
    pub(crate) fn has_written(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.has_written(),
            Side::Http2(stream) => stream.has_written(),
            Side::Served(_) => true,
        }
    }

    /// So much waits to be taken by the other end.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Side::Http1(wire) => wire.waiting(),
            Side::Http2(_) => 0,
            Side::Served(stream) => stream.waiting(),
        }
    }

    /// Whether a response may be read from an endpoint for this client. If not, its task is woken when it may.
    pub(crate) fn takes_response(&self) -> bool {
        match self {
            Side::Http1(_) | Side::Http2(_) => true,
            Side::Served(stream) => stream.takes_response(),
        }
    }

    /// Reads no more of a response at once than this client takes of its body.
    pub(crate) fn read_for(&mut self, client: &Side) {
        if let (Side::Http1(source), Side::Served(sink)) = (self, client) {
            source.read_at_most(sink.window().max(LEAST));
        }
    }

    /// Charges the client's connection with the bytes of a response that its endpoint's side holds.
    pub(crate) fn hold(&mut self, bytes: usize) {
        if let Side::Served(stream) = self {
            stream.hold(bytes);
        }
    }

    /// Bytes of memory for what came from here and was not taken.
    pub(crate) fn held(&mut self) -> usize {
        match self {
            Side::Http1(wire) => wire.held(),
            Side::Http2(stream) => stream.held(),
            Side::Served(_) => 0,
        }
    }

    /// Whether the client takes nothing now, so that reading on from this endpoint would only fill memory.
    fn must_wait_for(&mut self, client: &Side) -> bool {
        let (Side::Http1(source), Side::Served(sink)) = (self, client) else { return false };
        if !source.unread().is_empty() {
            return false;
        }
        let room = sink.room();
        source.read_at_most(room.max(LEAST));
        // The end of a body needs no window, so that it is looked for where it may come next.
        room == 0 && (source.length_left() > 0 || !sink.takes_response())
    }

    /// The next piece of the body that comes from here.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece<'_>, BodyError>> {
        match self {
            Side::Http1(wire) => wire.poll_body(cx),
            Side::Http2(stream) => stream.poll_body(cx),
            Side::Served(stream) => stream.poll_body(),
        }
    }

    /// So much of the last piece was used.
    pub(crate) fn consume(&mut self, n: usize) {
        match self {
            Side::Http1(wire) => wire.consume(n),
            Side::Http2(stream) => stream.consume(n),
            Side::Served(stream) => stream.consume(n),
        }
    }

    /// What came behind the body.
    pub(crate) fn trailers(&self) -> &Head {
        match self {
            Side::Http1(wire) => wire.trailers(),
            Side::Http2(stream) => stream.trailers(),
            Side::Served(stream) => stream.trailers(),
        }
    }

    /// Takes a piece of the body that goes here.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Side::Http1(wire) => wire.poll_send(cx, data),
            Side::Http2(stream) => stream.poll_send(cx, data),
            Side::Served(stream) => stream.poll_send(data),
        }
    }

    /// The body that goes here is over.
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

    /// Watches for this end leaving while nothing is expected of it.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Side::Http1(wire) => wire.poll_left(cx),
            Side::Http2(stream) => stream.poll_left(cx),
            Side::Served(stream) => stream.poll_left(),
        }
    }

    /// Watches for a client leaving whose request is held.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Side::Http1(wire) => wire.poll_gone(cx),
            Side::Http2(stream) => stream.poll_left(cx),
            Side::Served(stream) => stream.poll_left(),
        }
    }

    /// What may be taken in of a request's body that nobody reads.
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

    /// Whether the body from here has come as a whole.
    pub(crate) fn is_read(&self) -> bool {
        match self {
            Side::Http1(wire) => wire.is_read(),
            Side::Http2(stream) => stream.is_read(),
            Side::Served(stream) => stream.is_read(),
        }
    }

    /// Whether something of the body from here is there to be taken.
    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Side::Http1(wire) => !wire.unread().is_empty(),
            Side::Http2(stream) => stream.has_unread(),
            Side::Served(stream) => stream.has_unread(),
        }
    }

    /// Takes in what has come of the body, if nothing of it was taken in yet.
    pub(crate) fn peek(&mut self, cx: &mut Context<'_>) {
        match self {
            // Watching for its end does that.
            Side::Http1(_) => {}
            // What is wrong with it is found again where it is used.
            Side::Http2(stream) => drop(stream.poll_body(cx)),
            Side::Served(stream) => drop(stream.poll_body()),
        }
    }

    /// From now on bytes go through as they are.
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

    /// Tells this end of a tunnel that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Side::Http1(wire) => wire.poll_shutdown(cx),
            // Its end was told with the last frame.
            Side::Http2(_) | Side::Served(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Copied {
    /// The source is over; the sink may not have taken the last bit.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }
}

/// Copies a body from one side to the other, as far as it goes now.
pub(crate) fn poll_copy(
    cx: &mut Context<'_>,
    from: &mut Side,
    to: &mut Side,
    copied: &mut Copied,
) -> Poll<Result<(), CopyError>> {
    poll_copy_seen(cx, from, to, copied, |_| {})
}

/// The same, with somebody who sees what is copied.
pub(crate) fn poll_copy_seen(
    cx: &mut Context<'_>,
    from: &mut Side,
    to: &mut Side,
    copied: &mut Copied,
    seen: impl FnMut(&[u8]),
) -> Poll<Result<(), CopyError>> {
    let polled = copy(cx, from, to, copied, seen);
    if let (Side::Http1(source), Side::Served(sink)) = (&mut *from, &*to)
        && polled.is_pending()
        && !copied.waits_for_source
        && sink.window() == 0
    {
        source.compact();
    }
    to.hold(from.held());
    polled
}

fn copy(
    cx: &mut Context<'_>,
    from: &mut Side,
    to: &mut Side,
    copied: &mut Copied,
    mut seen: impl FnMut(&[u8]),
) -> Poll<Result<(), CopyError>> {
    let turn_ends = copied.bytes + TURN;
    while !copied.finished {
        copied.waits_for_source = false;
        if copied.bytes >= turn_ends {
            // Sockets are looked at in between, which a mere wake would put off.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        if from.must_wait_for(to) {
            return Poll::Pending;
        }
        let Poll::Ready(piece) = from.poll_body(cx) else {
            ready!(to.poll_flush(cx)).map_err(CopyError::Sink)?;
            copied.waits_for_source = true;
            return Poll::Pending;
        };
        match piece.map_err(CopyError::Source)? {
            Piece::Data(data) => {
                let n = ready!(to.poll_send(cx, data)).map_err(CopyError::Sink)?;
                seen(&data[..n]);
                from.consume(n);
                copied.bytes += n as u64;
            }
            Piece::End => {
                let trailers = from.trailers();
                match copied.trailers {
                    Trailers::Discarded => to.finish(&Head::default()),
                    Trailers::Without(name) if trailers.all_named(name.as_bytes()).next().is_some() => {
                        let mut others = trailers.clone();
                        others.remove_named(name.as_bytes());
                        to.finish(&others);
                    }
                    Trailers::All | Trailers::Without(_) => to.finish(trailers),
                }
                copied.finished = true;
            }
        }
    }
    ready!(to.poll_flush(cx)).map_err(CopyError::Sink)?;
    copied.over = true;
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests;
