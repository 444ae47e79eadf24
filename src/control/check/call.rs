//! A connection to an endpoint for one request of a check. [`Side`](crate::wire::side::Side) is for workers and stays
//! on one thread.

use std::io;
use std::task::{Context, Poll, ready};

use crate::wire::head::Head;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::{BodyError, HeadError, Piece, Wire};
use crate::wire::http1::parse::AnswerLimits;
use crate::wire::http2::client::{Stream, Unsent};

pub(super) enum Call {
    Http1(Box<Wire>),
    Http2(Box<Stream>),
}

impl Call {
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self {
            Call::Http1(_) => Poll::Ready(true),
            Call::Http2(stream) => stream.poll_ready(cx, false),
        }
    }

    pub(super) fn begin_request(&mut self, head: &Head, framing: Framing) -> Result<(), Unsent> {
        match self {
            Call::Http1(wire) => {
                wire.begin_request(head, framing);
                Ok(())
            }
            Call::Http2(stream) => stream.begin_request(head, framing),
        }
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Call::Http1(wire) => wire.poll_send(cx, data),
            Call::Http2(stream) => stream.poll_send(cx, data),
        }
    }

    pub(super) fn finish(&mut self) {
        match self {
            Call::Http1(wire) => wire.finish(&Head::default()),
            Call::Http2(stream) => stream.finish(&Head::default()),
        }
    }

    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut Head,
        limits: AnswerLimits,
    ) -> Poll<Result<bool, HeadError>> {
        match self {
            Call::Http1(wire) => {
                // An endpoint that closes early may have responded nevertheless.
                let _ = ready!(wire.poll_flush(cx));
                wire.poll_answer(cx, head, limits)
            }
            Call::Http2(stream) => stream.poll_answer(cx, head),
        }
    }

    pub(super) fn is_bodiless(&self) -> bool {
        match self {
            Call::Http1(_) => false,
            Call::Http2(stream) => stream.is_bodiless(),
        }
    }

    pub(super) fn expect_body(&mut self, framing: Framing) {
        if let Call::Http1(wire) = self {
            wire.expect_body(framing);
        }
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece<'_>, BodyError>> {
        match self {
            Call::Http1(wire) => wire.poll_body(cx),
            Call::Http2(stream) => stream.poll_body(cx),
        }
    }

    pub(super) fn consume(&mut self, n: usize) {
        match self {
            Call::Http1(wire) => wire.consume(n),
            Call::Http2(stream) => stream.consume(n),
        }
    }

    /// The endpoint may have acted on the request.
    pub(super) fn has_written(&self) -> bool {
        match self {
            Call::Http1(wire) => wire.has_written(),
            Call::Http2(stream) => stream.has_written(),
        }
    }
}
