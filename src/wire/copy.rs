//! The one loop that moves bodies: requests, answers and tunnels, between any two ends.
//!
//! The copy is over when its source says [`Piece::End`]. That is decided in [`Side::poll_body`]: for HTTP/1.1 by
//! `http1/body.rs` (`Framing` says how the body ends, `Decoder::step` where); for HTTP/2 by END_STREAM, in
//! `http2/server/stream.rs` for clients and `http2/client.rs` for endpoints.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use crate::wire::head::Head;
use crate::wire::http1::connection::{BodyError, Piece};
use crate::wire::side::Side;

/// Bytes copied of one body before other connections of the worker have their turn.
const TURN: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) enum CopyError {
    Source(BodyError),
    Sink(io::Error),
}

#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    /// The source ended, and the sink was told.
    finished: bool,
    /// The sink's output was flushed.
    pub(crate) over: bool,
    /// The copy waits for the source; otherwise for the sink.
    pub(crate) waits_for_source: bool,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Trailers {
    #[default]
    All,
    Without(&'static str),
    /// None (RFC 9110, 6.5.1).
    Discarded,
}

impl Copied {
    pub(crate) fn new(trailers: Trailers) -> Copied {
        Copied { trailers, ..Copied::default() }
    }

    pub(crate) fn restart(&mut self) {
        *self = Copied::new(self.trailers);
    }

    /// The source is over; the sink may not have written everything.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }
}

pub(crate) fn poll_copy(
    cx: &mut Context<'_>,
    from: &mut Side,
    to: &mut Side,
    copied: &mut Copied,
) -> Poll<Result<(), CopyError>> {
    poll_copy_seen(cx, from, to, copied, |_| {})
}

/// Copies as [`poll_copy`] does, and shows `seen` every copied piece.
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
    to.charge_response(from.memory());
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
            // Yields through the runtime, which polls sockets first; a plain wake would not.
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
