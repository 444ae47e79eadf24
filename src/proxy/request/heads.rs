//! The heads of one attempt: sends the request's head and its body, and reads the answer's head.
//!
//! Both directions are polled at once, because an endpoint may answer before it has read the whole body. Interim
//! answers go to the client as they come.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::proxy::blame::Blame;
use crate::proxy::deadlines::Phase;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::headers;
use crate::proxy::request::bad_answer;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::upload::Upload;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::connection::HeadError;
use crate::wire::http1::parse::AnswerLimits;
use crate::wire::http2::client::{Unsent, is_flood, is_reset};
use crate::wire::side::Side;

/// Bytes of interim answers that wait for a client; further ones are dropped.
const MAX_INTERIM: usize = 64 << 10;
/// Interim answers in a row before other connections have their turn.
const INTERIM_AT_ONCE: u32 = 32;

pub(super) enum Failure {
    Final(ProxyError),
    /// The connection broke. `begun`: after the head was written; `answered`: after an interim answer, or part of one.
    Broken {
        begun: bool,
        answered: bool,
    },
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Failure {
        Failure::Final(kind.into())
    }
}

pub(super) async fn exchange_heads(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<(), Failure> {
    let timeout = exchange.admission().timeouts.response_timeout;
    exchange.client.worker.slots.enter(exchange.slot(), Phase::Request, timeout);
    let ready = poll_fn(|cx| match exchange.fired() {
        Some(error) => Poll::Ready(Err(Failure::Final(error))),
        None => upstream.poll_ready(cx, exchange.head.extended_connect).map(Ok),
    });
    if !ready.await? {
        return Err(Failure::Broken { begun: false, answered: false });
    }
    upstream.begin_request(&exchange.head, upload.framing).map_err(|unsent| match unsent {
        Unsent::Unwritable => Failure::Final(ProxyError::bad_request("The request can't be written in HTTP/2.")),
        Unsent::NoTunnel => ErrorKind::NoUpgrade.into(),
    })?;
    exchange.report.note_sent(exchange.now());
    let limits = exchange.target().1.rules().limits();
    let mut answering = Answering { interim: 0, unread: false, limits };
    let done = poll_fn(|cx| answering.poll(cx, exchange, side, upstream, upload, answer)).await;
    match done {
        // An endpoint that gives up on a slow client has done nothing wrong.
        Err(Failure::Broken { .. }) if upload.is_late(exchange.now()) => Err(ErrorKind::RequestTimeout.into()),
        Err(Failure::Broken { answered: true, .. }) if !upstream.is_excused() => Err(ErrorKind::BadAnswer.into()),
        done => done,
    }
}

struct Answering {
    /// The number of interim answers.
    interim: u32,
    /// The client takes nothing of its other responses, so this one is not read.
    unread: bool,
    limits: AnswerLimits,
}

impl Answering {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
        side: &mut Side,
        upstream: &mut Side,
        upload: &mut Upload,
        answer: &mut Head,
    ) -> Poll<Result<(), Failure>> {
        if let Some(error) = exchange.fired().filter(|_| !exchange.is_overdue()) {
            return Poll::Ready(Err(Failure::Final(error)));
        }
        if let Poll::Ready(Err(kind)) = upload.poll(cx, exchange, side, upstream) {
            return Poll::Ready(Err(kind.into()));
        }
        if let Poll::Ready(done) = self.poll_answer(cx, exchange, side, upstream, upload, answer) {
            return Poll::Ready(done);
        }
        if side.waiting() > 0
            && let Poll::Ready(Err(_)) = side.poll_flush(cx)
        {
            return Poll::Ready(Err(ErrorKind::ClientLeft.into()));
        }
        if upload.is_over() && side.poll_left(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ClientLeft.into()));
        }
        // The clock comes last: after a pause of the process, deadlines have passed but the answer is here.
        if exchange.is_overdue() {
            let kind = match () {
                () if self.unread => ErrorKind::ClientStalled,
                () if upload.waits_for_client() => ErrorKind::RequestTimeout,
                () => ErrorKind::ResponseTimeout,
            };
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Pending
    }

    /// Reads heads up to the final one.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
        side: &mut Side,
        upstream: &mut Side,
        upload: &mut Upload,
        answer: &mut Head,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if side.takes_response() == self.unread {
                self.unread = !self.unread;
                exchange.extend_deadline(self.unread);
            }
            if self.unread {
                return Poll::Pending;
            }
            upstream.read_for(side);
            match upstream.poll_answer(cx, answer, self.limits) {
                Poll::Pending => {
                    side.charge_response(upstream.memory());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(true)) if matches!(answer.status, 102..=199 | 100) && answer.status != 101 => {
                    self.interim += 1;
                    exchange.reveal_color();
                    pass_interim(exchange, side, upload, answer);
                    if self.interim.is_multiple_of(INTERIM_AT_ONCE) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Ok(true)) if answer.status < 100 => return Poll::Ready(Err(ErrorKind::BadAnswer.into())),
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(self.broken())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.failed(error, exchange, upstream))),
            }
        }
    }

    fn failed(&self, error: HeadError, exchange: &Exchange, upstream: &Side) -> Failure {
        match error {
            HeadError::Refused(refused) => {
                bad_answer::refused(exchange, refused, upstream.refused_line());
                ErrorKind::BadAnswer.into()
            }
            HeadError::Incomplete => Failure::Broken { begun: true, answered: true },
            HeadError::Io(error) => {
                tracing::debug!(%error, "The endpoint did not answer.");
                // No other connection would take it better.
                let refused = is_reset(&error) || upstream.is_told();
                if is_flood(&error) || self.interim == 0 && refused && exchange.head.is_large() {
                    return Failure::Final(ProxyError::from(ErrorKind::UpstreamClosed).blamed(Blame::Nobody));
                }
                self.broken()
            }
        }
    }

    fn broken(&self) -> Failure {
        Failure::Broken { begun: true, answered: self.interim > 0 }
    }
}

/// Passes an interim answer on (RFC 9110, 15.2). `100 Continue` only goes to a client that waits for it.
fn pass_interim(exchange: &Exchange, side: &mut Side, upload: &mut Upload, answer: &mut Head) {
    let wanted = match answer.status {
        100 => upload.go_ahead(),
        _ => exchange.head.version != Version::Http10,
    };
    // A slow client has no room for more.
    if wanted && side.waiting() < MAX_INTERIM {
        headers::remove_hop_by_hop(answer);
        answer.remove(Name::CutoverEvent);
        answer.remove(Name::ContentLength);
        side.interim(answer);
    }
}
