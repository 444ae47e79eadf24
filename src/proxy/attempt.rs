//! Getting an answer: which endpoint is asked, over which connection, and whether another one may be asked after it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::proxy::bad_answer;
use crate::proxy::blame::Blame;
use crate::proxy::error::{Kind, ProxyError, Resource};
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::retry::is_idempotent;
use crate::proxy::shield;
use crate::proxy::slot::Phase;
use crate::proxy::transport::UpstreamConnection;
use crate::proxy::upload::Upload;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::HeadError;
use crate::wire::http2::Unsent;
use crate::wire::http2::{is_flood, is_reset};
use crate::wire::side::Side;

/// Servers take at least as much of a head.
const LARGE_HEAD: usize = 4 << 10;
/// What each field costs beside its name and value, and what `:method`, `:scheme` and `:path` cost beside the target.
const FIELD: usize = 32;
const PSEUDO_FIELDS: usize = 3 * FIELD + 30;

/// Interim answers that wait for a client that does not read, at most; more are dropped.
const MAX_INTERIM: usize = 64 << 10;
/// After so many interim answers somebody else is served first.
const INTERIM_AT_ONCE: u32 = 32;

/// Sends the request to an endpoint and reads the head of the answer.
///
/// It may go to another endpoint where nothing was lost by the first attempt: nothing was sent, or the method is
/// idempotent (RFC 9110, 9.2.2) and no byte of a body was taken from the client. Never to the other color, but where that
/// shields it from a release that is watched.
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

/// Asks one color.
async fn ask(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, ProxyError> {
    let mut tried = Vec::new();
    let mut failed = None;
    let retry = exchange.client.worker.live.with(|snapshot| snapshot.edge.retry);
    exchange.pays_for_retries(retry.budget_percent);
    let mut chosen = exchange.choose(&tried);
    while let Some(index) = chosen {
        match attempt(exchange, side, upload, answer).await {
            Ok(upstream) => {
                exchange.was_answered(index, answer.status, upload.is_late(exchange.now()));
                return Ok(upstream);
            }
            Err(Attempt { error, again }) => {
                if error.blame == Blame::Endpoint {
                    exchange.tells_pool(index, false);
                    exchange.attempt_failed(error.kind);
                }
                if tried.len() >= retry.attempts as usize {
                    return Err(error);
                }
                let allowed = match again {
                    Again::Never => false,
                    // It costs nobody anything.
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
                    exchange.retried();
                    upload.restart();
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| exchange.no_endpoint().into()))
}

/// An attempt that came to nothing.
struct Attempt {
    error: ProxyError,
    again: Again,
}

enum Again {
    Never,
    /// Nothing of it was sent.
    NotSent,
    /// It makes no difference if it arrives twice.
    Idempotent,
}

impl From<ProxyError> for Attempt {
    fn from(error: ProxyError) -> Attempt {
        Attempt { error, again: Again::Never }
    }
}

/// One attempt, at the endpoint that was chosen. A connection that the endpoint has closed while it was idle is replaced
/// by a new one; that says nothing about the endpoint.
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
            // In a box: a connection that waits has no room for it.
            None => match Box::pin(connect(exchange)).await {
                Ok(connected) => connected,
                Err(error) => {
                    if let Some(ended) = exchange.fired() {
                        return Err(ended.into());
                    }
                    // Another endpoint would need a descriptor as well, but not a port of this one.
                    match error.kind {
                        Kind::Exhausted(Resource::Ports) => return Err(Attempt { error, again: Again::NotSent }),
                        Kind::Exhausted(_) => return Err(error.into()),
                        _ => {}
                    }
                    // A name that does not resolve is no finding.
                    if error.blame == Blame::Endpoint {
                        exchange.admission().meter.connect_errors.add(1);
                    }
                    return Err(Attempt { error, again: Again::NotSent });
                }
            },
        };
        let timeout = exchange.admission().policy.response_timeout;
        exchange.client.worker.slots.enter(&exchange.slot, Phase::Request, timeout);
        let ready = poll_fn(|cx| match exchange.fired() {
            Some(error) => Poll::Ready(Err(error)),
            None => upstream.side.poll_ready(cx, exchange.head.extended_connect).map(Ok),
        });
        let error = if ready.await? {
            if let Err(unsent) = upstream.side.begin_request(&exchange.head, upload.framing) {
                return Err(match unsent {
                    Unsent::Unwritable => ProxyError::bad_request("The request can't be written in HTTP/2."),
                    Unsent::NoTunnel => Kind::NoUpgrade.into(),
                }
                .into());
            }
            exchange.sent();
            match heads(exchange, side, &mut upstream.side, upload, answer).await {
                Ok(()) => return Ok(upstream),
                Err(Failure::Final(error)) => return Err(error.into()),
                // An endpoint that waits no longer for a slow client has done nothing wrong.
                Err(Failure::Broken { .. }) if upload.is_late(exchange.now()) => {
                    return Err(ProxyError::from(Kind::RequestTimeout).into());
                }
                Err(Failure::Broken { answered: true, .. }) => return Err(ProxyError::from(Kind::BadAnswer).into()),
                // By what other streams of the connection did, be they canceled by whom they may.
                Err(Failure::Broken { flood: true, .. }) => {
                    ProxyError::from(Kind::UpstreamClosed).blamed(Blame::Nobody)
                }
                Err(Failure::Broken { answered: false, .. }) => Kind::UpstreamClosed.into(),
            }
        } else {
            ProxyError::from(Kind::UpstreamClosed)
        };
        let again = match (upload.is_untouched(), upstream.side.has_written()) {
            (false, _) => Again::Never,
            (true, false) => Again::NotSent,
            (true, true) if is_idempotent(exchange.head.method_bytes()) => Again::Idempotent,
            (true, true) => Again::Never,
        };
        // What was refused before anything was done with it is also made again where the connection was new.
        let may_be_stale = upstream.reused || matches!(again, Again::NotSent);
        if matches!(again, Again::Never) || stale || !may_be_stale {
            return Err(Attempt { error, again });
        }
        exchange.retried();
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

/// Why there is no answer.
enum Failure {
    Final(ProxyError),
    /// The endpoint's connection broke; after a part of an answer, or before any.
    Broken {
        answered: bool,
        flood: bool,
    },
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Failure {
        Failure::Final(kind.into())
    }
}

/// Sends as much of the request as goes, and waits for the head of the answer.
async fn heads(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<(), Failure> {
    let mut interim = 0;
    // The client takes nothing of other responses, so that this one is not read.
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
                exchange.goes_on(unread);
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
                    pass_interim(exchange, side, upload, answer);
                    if interim % INTERIM_AT_ONCE == 0 {
                        cx.waker().wake_by_ref();
                        break;
                    }
                }
                Poll::Ready(Ok(true)) if answer.status < 100 => return Poll::Ready(Err(Kind::BadAnswer.into())),
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {
                    return Poll::Ready(Err(Failure::Broken { answered: interim > 0, flood: false }));
                }
                Poll::Ready(Err(HeadError::Refused(refused))) => {
                    bad_answer::refused(exchange, refused, upstream.refused_line());
                    return Poll::Ready(Err(Kind::BadAnswer.into()));
                }
                Poll::Ready(Err(HeadError::Incomplete)) => {
                    return Poll::Ready(Err(Failure::Broken { answered: true, flood: false }));
                }
                Poll::Ready(Err(HeadError::Io(error))) => {
                    tracing::debug!(%error, "The endpoint did not answer.");
                    if interim == 0 && is_reset(&error) && is_large(&exchange.head) {
                        let error = ProxyError::from(Kind::UpstreamClosed).blamed(Blame::Nobody);
                        return Poll::Ready(Err(Failure::Final(error)));
                    }
                    return Poll::Ready(Err(Failure::Broken { answered: interim > 0, flood: is_flood(&error) }));
                }
            }
        }
        if side.waiting() > 0
            && let Poll::Ready(Err(_)) = side.poll_flush(cx)
        {
            return Poll::Ready(Err(Kind::ClientLeft.into()));
        }
        if upload.is_over() && side.poll_left(cx).is_ready() {
            return Poll::Ready(Err(Kind::ClientLeft.into()));
        }
        // The clock comes last: a process that was paused finds its deadlines over and the answer there.
        if exchange.is_overdue() {
            let kind = match () {
                () if unread => Kind::ClientStalled,
                () if upload.waits_for_client() => Kind::RequestTimeout,
                () => Kind::ResponseTimeout,
            };
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Pending
    })
    .await
}

/// Whether an endpoint may refuse this head for its size alone. The `h2` crate does not tell the endpoint's
/// SETTINGS_MAX_HEADER_LIST_SIZE, so that the size counts as that setting counts it (RFC 9113, 6.5.2).
fn is_large(head: &Head) -> bool {
    let fields: usize = head.fields().map(|(_, name, value)| name.len() + value.len() + FIELD).sum();
    fields + head.target_bytes().len() + PSEUDO_FIELDS > LARGE_HEAD
}

/// Passes an interim answer on (RFC 9110, 15.2). `100 Continue` is for those who wait for it.
fn pass_interim(exchange: &Exchange, side: &mut Side, upload: &mut Upload, answer: &mut Head) {
    let wanted = match answer.status {
        100 => upload.go_ahead(),
        _ => exchange.head.version != Version::Http10,
    };
    // Behind what the client is slow to take there is no place to put them.
    if wanted && side.waiting() < MAX_INTERIM {
        headers::remove_hop_by_hop(answer);
        answer.remove(Name::ContentLength);
        side.interim(answer);
    }
}
