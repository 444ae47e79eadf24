//! The attempts at a request: choosing endpoints, sending, and trying again.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::proxy::blame::Blame;
use crate::proxy::deadlines::Phase;
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::request::bad_answer;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::shield;
use crate::proxy::request::upload::Upload;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::proxy::upstream::retry::is_idempotent;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::connection::HeadError;
use crate::wire::http2::client::Unsent;
use crate::wire::http2::client::{is_flood, is_reset};
use crate::wire::side::Side;

/// Bytes of interim answers that wait for a client; further ones are dropped.
const MAX_INTERIM: usize = 64 << 10;
/// Interim answers in a row before other connections have their turn.
const INTERIM_AT_ONCE: u32 = 32;

/// Sends the request to an endpoint and reads the head of the answer.
///
/// Another endpoint is asked only where nothing was lost: nothing was sent, or the method is idempotent (RFC 9110,
/// 9.2.2) and no byte of a body was taken from the client. The other color is asked only where it shields the request
/// from a watched release.
pub(super) async fn send(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, ProxyError> {
    loop {
        let asked = ask(exchange, side, upload, answer).await;
        if !shield::takes_over(exchange, upload, &asked, answer) {
            return asked;
        }
        upload.restart();
        answer.clear();
    }
}

async fn ask(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, ProxyError> {
    let mut tried = Vec::new();
    let mut failed = None;
    let retry = exchange.client.worker.live.with(|snapshot| snapshot.edge.retry);
    exchange.earn_retries(retry.budget_percent);
    let mut chosen = exchange.choose(&tried);
    while let Some(index) = chosen {
        match attempt(exchange, side, upload, answer).await {
            Ok(mut upstream) => {
                exchange.note_response(index, answer.status, upload.is_late(exchange.now()));
                if let Some(stated) = &exchange.admission().stated {
                    let now = exchange.client.worker.millis();
                    if upstream.take_look(now) {
                        stated.look(exchange.target().0, answer, now);
                    }
                }
                return Ok(upstream);
            }
            Err(Attempt { error, again }) => {
                if error.blame == Blame::Endpoint {
                    exchange.report_to_pool(index, false);
                    exchange.attempt_failed(error.kind);
                }
                if tried.len() >= retry.attempts as usize {
                    return Err(error);
                }
                let allowed = match again {
                    Again::Never => false,
                    // It costs no endpoint anything.
                    Again::NotSent => true,
                    Again::Idempotent => exchange.may_retry(retry.budget_percent),
                };
                if !allowed {
                    return Err(error);
                }
                failed = Some(error);
                tried.push(index);
                chosen = exchange.choose(&tried);
                if chosen.is_some() {
                    exchange.note_retry();
                    upload.restart();
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| exchange.no_endpoint().into()))
}

struct Attempt {
    error: ProxyError,
    again: Again,
}

enum Again {
    Never,
    NotSent,
    Idempotent,
}

impl Again {
    fn if_unsent(self) -> Again {
        if matches!(self, Again::NotSent) { self } else { Again::Never }
    }
}

impl From<ProxyError> for Attempt {
    fn from(error: ProxyError) -> Attempt {
        Attempt { error, again: Again::Never }
    }
}

/// One attempt, at the chosen endpoint. A connection that the endpoint closed while it was idle is replaced; that says
/// nothing about the endpoint.
async fn attempt(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, Attempt> {
    let mut stale = false;
    loop {
        let (endpoint, pool) = exchange.target();
        let pooled = if stale { None } else { exchange.client.worker.connections.take(endpoint, pool.rules()) };
        let mut upstream = match pooled {
            Some(pooled) => pooled,
            // Boxed, so that a waiting connection has no room for it.
            None => match Box::pin(connect(exchange)).await {
                Ok(connected) => connected,
                Err(error) => {
                    if let Some(ended) = exchange.fired() {
                        return Err(ended.into());
                    }
                    // Another endpoint would need a descriptor as well, but no port of this one.
                    match error.kind {
                        ErrorKind::Exhausted(Resource::Ports) => return Err(Attempt { error, again: Again::NotSent }),
                        ErrorKind::Exhausted(_) => return Err(error.into()),
                        _ => {}
                    }
                    // A name that does not resolve says nothing about an endpoint.
                    if error.blame == Blame::Endpoint {
                        exchange.admission().meter.connect_errors.add(1);
                    }
                    return Err(Attempt { error, again: Again::NotSent });
                }
            },
        };
        let timeout = exchange.admission().policy.response_timeout;
        exchange.client.worker.slots.enter(exchange.slot(), Phase::Request, timeout);
        let ready = poll_fn(|cx| match exchange.fired() {
            Some(error) => Poll::Ready(Err(error)),
            None => upstream.side.poll_ready(cx, exchange.head.extended_connect).map(Ok),
        });
        // The request's own head may be too large; or a part of an answer was here.
        let (mut large, mut answered) = (false, false);
        if ready.await? {
            if let Err(unsent) = upstream.side.begin_request(&exchange.head, upload.framing) {
                return Err(match unsent {
                    Unsent::Unwritable => ProxyError::bad_request("The request can't be written in HTTP/2."),
                    Unsent::NoTunnel => ErrorKind::NoUpgrade.into(),
                }
                .into());
            }
            exchange.report.note_sent(exchange.now());
            match heads(exchange, side, &mut upstream.side, upload, answer).await {
                Ok(()) => return Ok(upstream),
                Err(Failure::Final(error)) => return Err(error.into()),
                // An endpoint that gives up on a slow client has done nothing wrong.
                Err(Failure::Broken { .. }) if upload.is_late(exchange.now()) => {
                    return Err(ProxyError::from(ErrorKind::RequestTimeout).into());
                }
                Err(Failure::Broken { answered: true }) if !upstream.side.is_excused() => {
                    return Err(ProxyError::from(ErrorKind::BadAnswer).into());
                }
                Err(Failure::Broken { answered: partly }) => {
                    answered = partly;
                    large = matches!(upstream.side, Side::Http1(_)) && exchange.head.is_large();
                }
            }
        }
        let excused = upstream.side.is_excused();
        let mut error = ProxyError::from(ErrorKind::UpstreamClosed);
        if excused || large {
            error = error.blamed(Blame::Nobody);
        }
        let again = match (upload.is_untouched() && !answered, upstream.side.has_written()) {
            (false, _) => Again::Never,
            (true, false) => Again::NotSent,
            (true, true) if is_idempotent(exchange.head.method_bytes()) => Again::Idempotent,
            (true, true) => Again::Never,
        };
        // A new connection can be stale too: the request was not touched, or another one ended the connection.
        let may_be_stale = upstream.reused || matches!(again, Again::NotSent) || excused && !exchange.head.is_large();
        if matches!(again, Again::Never) || stale || !may_be_stale {
            // The budget is for requests that an endpoint failed.
            let again = if error.blame == Blame::Nobody { again.if_unsent() } else { again };
            return Err(Attempt { error, again });
        }
        exchange.note_retry();
        upload.restart();
        stale = true;
    }
}

async fn connect(exchange: &Exchange) -> Result<UpstreamConnection, ProxyError> {
    let (endpoint, pool) = exchange.target();
    let timeout = exchange.admission().policy.connect_timeout;
    let mut making = pin!(exchange.client.worker.connections.make(endpoint, pool.rules(), timeout));
    poll_fn(|cx| match exchange.fired() {
        Some(error) => Poll::Ready(Err(error)),
        None => making.as_mut().poll(cx),
    })
    .await
}

enum Failure {
    Final(ProxyError),
    Broken { answered: bool },
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Failure {
        Failure::Final(kind.into())
    }
}

async fn heads(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<(), Failure> {
    let mut interim = 0;
    // The client takes nothing of its other responses, so this one is not read.
    let mut unread = false;
    let limits = exchange.target().1.rules().limits();
    poll_fn(|cx| {
        if let Some(error) = exchange.fired().filter(|_| !exchange.is_overdue()) {
            return Poll::Ready(Err(Failure::Final(error)));
        }
        match upload.poll(cx, exchange, side, upstream) {
            Poll::Ready(Err(kind)) => return Poll::Ready(Err(kind.into())),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            if side.takes_response() == unread {
                unread = !unread;
                exchange.extend_deadline(unread);
            }
            if unread {
                break;
            }
            upstream.read_for(side);
            match upstream.poll_answer(cx, answer, limits) {
                Poll::Pending => {
                    side.hold(upstream.held());
                    break;
                }
                Poll::Ready(Ok(true)) if matches!(answer.status, 102..=199 | 100) && answer.status != 101 => {
                    interim += 1;
                    exchange.reveal_color();
                    pass_interim(exchange, side, upload, answer);
                    if interim % INTERIM_AT_ONCE == 0 {
                        cx.waker().wake_by_ref();
                        break;
                    }
                }
                Poll::Ready(Ok(true)) if answer.status < 100 => return Poll::Ready(Err(ErrorKind::BadAnswer.into())),
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {
                    return Poll::Ready(Err(Failure::Broken { answered: interim > 0 }));
                }
                Poll::Ready(Err(HeadError::Refused(refused))) => {
                    bad_answer::refused(exchange, refused, upstream.refused_line());
                    return Poll::Ready(Err(ErrorKind::BadAnswer.into()));
                }
                Poll::Ready(Err(HeadError::Incomplete)) => {
                    return Poll::Ready(Err(Failure::Broken { answered: true }));
                }
                Poll::Ready(Err(HeadError::Io(error))) => {
                    tracing::debug!(%error, "The endpoint did not answer.");
                    // No other connection would take it better.
                    let refused = is_reset(&error) || upstream.is_told();
                    if is_flood(&error) || interim == 0 && refused && exchange.head.is_large() {
                        let error = ProxyError::from(ErrorKind::UpstreamClosed).blamed(Blame::Nobody);
                        return Poll::Ready(Err(Failure::Final(error)));
                    }
                    return Poll::Ready(Err(Failure::Broken { answered: interim > 0 }));
                }
            }
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
                () if unread => ErrorKind::ClientStalled,
                () if upload.waits_for_client() => ErrorKind::RequestTimeout,
                () => ErrorKind::ResponseTimeout,
            };
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Pending
    })
    .await
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
