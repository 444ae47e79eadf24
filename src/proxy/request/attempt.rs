//! The attempts at a request: which endpoint is asked, over which connection, and when another one is.
//!
//! - [`send`] asks the endpoints of the request's color, and then those of a color that shields it.
//! - [`try_endpoints`] asks one endpoint after the other, while nothing is lost and the budget allows it.
//! - [`try_endpoint`] asks one: over a pooled connection, and once more over a new one if that was stale.
//! - [`heads`](super::heads) sends the head of the request and reads that of the answer.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::proxy::blame::Blame;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::heads::{Failure, exchange_heads};
use crate::proxy::request::shield;
use crate::proxy::request::upload::Upload;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::proxy::upstream::retry::is_idempotent;
use crate::wire::head::Head;
use crate::wire::side::Side;

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
        let asked = try_endpoints(exchange, side, upload, answer).await;
        if !shield::takes_over(exchange, upload, &asked, answer) {
            return asked;
        }
        upload.restart();
        answer.clear();
    }
}

async fn try_endpoints(
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
        exchange.begin_attempt();
        let Attempt { error, again } = match try_endpoint(exchange, side, upload, answer).await {
            Ok(mut upstream) => {
                exchange.attempt_answered(answer.status);
                exchange.note_response(index, answer.status, upload.is_late(exchange.now()));
                compare_release(exchange, &mut upstream, answer);
                return Ok(upstream);
            }
            Err(attempt) => attempt,
        };
        exchange.attempt_broke(error.kind);
        if error.blame == Blame::Endpoint {
            exchange.report_to_pool(index, false);
            exchange.attempt_failed(error.kind);
        }
        let allowed = tried.len() < retry.attempts as usize
            && match again {
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
    Err(failed.unwrap_or_else(|| exchange.no_endpoint().into()))
}

/// Compares the release that the answer names with the label, now and then.
fn compare_release(exchange: &Exchange, upstream: &mut UpstreamConnection, answer: &Head) {
    if let Some(stated) = &exchange.admission().stated {
        let now = exchange.client.worker.millis();
        if upstream.take_look(now) {
            stated.look(exchange.target().0, answer, now);
        }
    }
}

/// A failed attempt at one endpoint.
struct Attempt {
    error: ProxyError,
    again: Again,
}

/// Whether the request may be sent again.
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
async fn try_endpoint(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, Attempt> {
    let mut replaced = false;
    loop {
        let pooled = if replaced { None } else { take_pooled(exchange) };
        let mut upstream = match pooled {
            Some(pooled) => pooled,
            // Boxed, so that a waiting connection has no room for it.
            None => Box::pin(connect(exchange)).await?,
        };
        let Attempt { error, again } = match exchange_heads(exchange, side, &mut upstream.side, upload, answer).await {
            Ok(()) => return Ok(upstream),
            Err(Failure::Final(error)) => return Err(error.into()),
            Err(Failure::Broken { begun, answered }) => broken(exchange, &upstream, upload, begun, answered),
        };
        if replaced || matches!(again, Again::Never) || !may_be_stale(exchange, &upstream, &again) {
            // The budget is for requests that an endpoint failed.
            let again = if error.blame == Blame::Nobody { again.if_unsent() } else { again };
            return Err(Attempt { error, again });
        }
        exchange.note_retry();
        upload.restart();
        replaced = true;
    }
}

fn take_pooled(exchange: &Exchange) -> Option<UpstreamConnection> {
    let (endpoint, pool) = exchange.target();
    exchange.client.worker.connections.take(endpoint, pool.rules())
}

async fn connect(exchange: &Exchange) -> Result<UpstreamConnection, Attempt> {
    let (endpoint, pool) = exchange.target();
    let timeout = exchange.admission().timeouts.connect_timeout;
    let mut making = pin!(exchange.client.worker.connections.make(endpoint, pool.rules(), timeout));
    let made = poll_fn(|cx| match exchange.fired() {
        Some(error) => Poll::Ready(Err(error)),
        None => making.as_mut().poll(cx),
    });
    let error = match made.await {
        Ok(connected) => return Ok(connected),
        Err(error) => error,
    };
    if let Some(ended) = exchange.fired() {
        return Err(ended.into());
    }
    match error.kind {
        // Another endpoint would need a descriptor as well, but no port of this one.
        ErrorKind::Exhausted(Resource::Ports) => {}
        ErrorKind::Exhausted(_) => return Err(error.into()),
        // A name that does not resolve says nothing about an endpoint.
        _ if error.blame == Blame::Endpoint => exchange.admission().meter.connect_errors.add(1),
        _ => {}
    }
    Err(Attempt { error, again: Again::NotSent })
}

/// The connection broke before an answer. `begun`: the request was written, or part of it; `answered`: interim answers
/// came.
fn broken(exchange: &Exchange, upstream: &UpstreamConnection, upload: &Upload, begun: bool, answered: bool) -> Attempt {
    let mut error = ProxyError::from(ErrorKind::UpstreamClosed);
    // The request's own head may be too large.
    let large = begun && matches!(upstream.side, Side::Http1(_)) && exchange.head.is_large();
    if large || upstream.side.is_excused() {
        error = error.blamed(Blame::Nobody);
    }
    let again = match (upload.is_untouched() && !answered, upstream.side.has_written()) {
        (false, _) => Again::Never,
        (true, false) => Again::NotSent,
        (true, true) if is_idempotent(exchange.head.method_bytes()) => Again::Idempotent,
        (true, true) => Again::Never,
    };
    Attempt { error, again }
}

/// A new connection can be stale too: the request was not touched, or another one ended the connection.
fn may_be_stale(exchange: &Exchange, upstream: &UpstreamConnection, again: &Again) -> bool {
    upstream.reused || matches!(again, Again::NotSent) || upstream.side.is_excused() && !exchange.head.is_large()
}
