//! The request's body on its way to the endpoint.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::proxy::blame::LATE;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::exchange::Exchange;
use crate::wire::copy::{Copied, CopyError, Trailers, poll_copy};
use crate::wire::head::Head;
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::BodyError;
use crate::wire::side::Side;

/// The time for which an endpoint that ignores `Expect` can hold back a body. Clients wait about as long (RFC 9110,
/// 10.1.1).
const EXPECT_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Upload {
    pub(crate) framing: Framing,
    limit: Option<u64>,
    copied: Copied,
    /// The endpoint takes no more of it; its answer still counts.
    broken: bool,
    /// `Expect: 100-continue`: the body waits until the endpoint says 100, answers, or stays silent.
    held: Option<Pin<Box<Sleep>>>,
    for_client: bool,
    /// The start of the present wait for the client, and the total of earlier ones.
    waiting_since: Option<Instant>,
    waited: Duration,
}

impl Upload {
    pub(crate) fn new(framing: Framing, limit: Option<u64>, expects: bool, trailers: Trailers) -> Upload {
        Upload {
            framing,
            limit,
            copied: Copied::new(trailers),
            broken: false,
            held: expects.then(|| Box::pin(tokio::time::sleep(EXPECT_PATIENCE))),
            for_client: false,
            waiting_since: None,
            waited: Duration::ZERO,
        }
    }

    /// Only where nothing is lost.
    pub(crate) fn restart(&mut self) {
        self.copied.restart();
        self.broken = false;
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.copied.bytes == 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.copied.over || self.broken
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.copied.over && !self.broken
    }

    pub(crate) fn waits_for_client(&self) -> bool {
        !self.is_over() && (self.held.is_some() || self.copied.waits_for_source)
    }

    /// The wait for the client was long enough that an endpoint may give the request up.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let waiting = self.waiting_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        !self.is_whole() && self.waited + waiting >= LATE
    }

    fn set_waiting(&mut self, for_client: bool, now: Instant) {
        match (for_client, self.waiting_since) {
            (true, None) => self.waiting_since = Some(now),
            (false, Some(since)) => {
                self.waited += now.saturating_duration_since(since);
                self.waiting_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The deadline is that of a client from here on, and latency begins later.
    fn wait_for_client(&mut self, exchange: &mut Exchange) {
        exchange.begin_delivery();
        self.set_waiting(true, exchange.now());
        if !std::mem::replace(&mut self.for_client, true) {
            exchange.extend_deadline(true);
        }
    }

    /// Returns true if the client waits for `100 Continue`.
    pub(crate) fn go_ahead(&mut self) -> bool {
        self.held.take().is_some()
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
        side: &mut Side,
        upstream: &mut Side,
    ) -> Poll<Result<(), ErrorKind>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        if self.held.is_some() {
            let held = self.poll_held(cx, side, upstream);
            if held.is_pending() && upstream.waiting() == 0 {
                // The endpoint has the head, and no body that it could fail.
                self.wait_for_client(exchange);
            }
            ready!(held)?;
        }
        if self.framing == Framing::None {
            // Bytes of an HTTP/2 client ahead of its tunnel wait: they are no part of the request.
            self.broken = ready!(upstream.poll_flush(cx)).is_err();
            self.copied.over = true;
            return Poll::Ready(Ok(()));
        }
        let before = self.copied.bytes;
        let copied = poll_copy(cx, side, upstream, &mut self.copied);
        exchange.report.set_bytes_in(self.copied.bytes);
        self.set_waiting(copied.is_pending() && self.copied.waits_for_source, exchange.now());
        if self.limit.is_some_and(|limit| self.copied.bytes > limit) {
            return Poll::Ready(Err(ErrorKind::BodyTooLarge));
        }
        match copied {
            Poll::Ready(Ok(())) => {
                exchange.end_delivery();
                exchange.wait_for_answer();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(CopyError::Source(BodyError::Malformed(_)))) => Poll::Ready(Err(ErrorKind::BadRequest)),
            Poll::Ready(Err(CopyError::Source(_))) => {
                exchange.begin_delivery();
                Poll::Ready(Err(ErrorKind::ClientLeft))
            }
            // An endpoint that refuses an upload answers and closes.
            Poll::Ready(Err(CopyError::Sink(_))) => {
                self.broken = true;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                exchange.begin_delivery();
                let for_client = self.copied.waits_for_source;
                if self.copied.bytes > before || for_client != self.for_client {
                    self.for_client = for_client;
                    exchange.extend_deadline(for_client);
                }
                Poll::Pending
            }
        }
    }

    /// Sends the rest: an endpoint switches protocols behind the request (RFC 9110, 7.8).
    pub(crate) async fn finish(
        &mut self,
        exchange: &mut Exchange,
        side: &mut Side,
        upstream: &mut Side,
    ) -> Result<(), ProxyError> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = self.poll(cx, exchange, side, upstream) {
                return Poll::Ready(done.map_err(ProxyError::from));
            }
            match exchange.fired() {
                Some(_) if exchange.is_overdue() && self.waits_for_client() => {
                    Poll::Ready(Err(ErrorKind::RequestTimeout.into()))
                }
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            }
        })
        .await?;
        match self.is_whole() {
            true => Ok(()),
            false if self.is_late(exchange.now()) => Err(ErrorKind::RequestTimeout.into()),
            false => Err(ErrorKind::UpstreamClosed.into()),
        }
    }

    /// Waits until the endpoint wants the body, the client sends it anyway, or the wait was too long. After the head of
    /// the final answer there is no `100 Continue` (RFC 9110, 10.1.1).
    fn poll_held(&mut self, cx: &mut Context<'_>, side: &mut Side, upstream: &mut Side) -> Poll<Result<(), ErrorKind>> {
        if ready!(upstream.poll_flush(cx)).is_err() {
            self.broken = true;
            return Poll::Ready(Ok(()));
        }
        if side.poll_left(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ClientLeft));
        }
        side.peek(cx);
        if !side.has_unread() {
            if !side.takes_interim() {
                return Poll::Pending;
            }
            if let Some(patience) = &mut self.held {
                ready!(patience.as_mut().poll(cx));
            }
            let mut go_ahead = Head::default();
            go_ahead.set_status_line(100, b"Continue");
            side.interim(&go_ahead);
        }
        self.held = None;
        Poll::Ready(Ok(()))
    }
}
