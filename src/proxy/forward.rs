//! One request, from its parsed head to the last byte of its answer.
//!
//! Nothing here is a task of its own: whoever serves the client polls both sides, one after the other.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::proxy::answer::{self, After, Asked};
use crate::proxy::client::ClientConnection;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::retry::is_idempotent;
use crate::proxy::slot::{Fired, Phase, Slot};
use crate::proxy::transport::UpstreamConnection;
use crate::proxy::upgrade;
use crate::proxy::upload::Upload;
use crate::telemetry::meter::InFlightKind;
use crate::wire::body::Framing;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::HeadError;
use crate::wire::side::{Copied, CopyError, Side, poll_copy};

/// Interim answers that wait for a client that does not read, at most; more are dropped.
const MAX_INTERIM: usize = 64 << 10;
/// After so many interim answers somebody else is served first.
const INTERIM_AT_ONCE: u32 = 32;

/// A request, and the side it came from.
pub(crate) struct Inquiry {
    pub(crate) client: Rc<ClientConnection>,
    pub(crate) slot: Rc<Slot>,
    pub(crate) side: Side,
    pub(crate) head: Head,
}

/// It is answered. The head's memory can be used again.
pub(crate) struct Answered {
    pub(crate) side: Side,
    pub(crate) head: Head,
    pub(crate) after: After,
}

/// Serves one request. There is always an answer.
pub(crate) async fn forward(inquiry: Inquiry) -> Answered {
    let Inquiry { client, slot, mut side, head } = inquiry;
    let asked = Asked::new(&head);
    slot.enter(Phase::Request, None);
    let mut exchange = Exchange::begin(Rc::clone(&client), Rc::clone(&slot), head);
    let mut answer = client.worker.take_head();
    let served = serve(&mut exchange, &mut side, asked, &mut answer).await;
    client.worker.give_head(answer);
    match served {
        Ok(after) => Answered { side, head: exchange.end(), after },
        Err(error) => {
            exchange.failed(&error);
            // What is held of the color is given back first: a client that reads nothing does not keep it.
            let head = exchange.end();
            let after = match error.kind {
                Kind::ClientLeft => After::Cut,
                _ => answer::error((&client, &slot), &mut side, asked, &head, &error).await,
            };
            Answered { side, head, after }
        }
    }
}

async fn serve(exchange: &mut Exchange, side: &mut Side, asked: Asked, answer: &mut Head) -> Result<After, ProxyError> {
    let (mut upload, upgrade) = prepare(exchange, side)?;
    let mut upstream = send(exchange, side, &mut upload, answer).await?;
    let framing = match upstream.side.is_bodiless() {
        true => Framing::None,
        false => Framing::of_answer(answer, asked.to_head).map_err(|_| Kind::BadAnswer)?,
    };
    let switching = upgrade::is_granted(answer, &exchange.head);
    if answer.status == 101 && !(switching && upgrade) {
        return Err(Kind::BadAnswer.into());
    }
    let ends_with_body = framing == Framing::UntilEnd && answer.version != Version::Http2;
    let upstream_goes_on = headers::keeps_alive(answer) && !ends_with_body;
    headers::to_client(answer, switching);
    if matches!(answer.status, 100..=199 | 204) {
        answer.remove(Name::ContentLength);
    }
    exchange.answered(answer.status);
    if switching {
        upgrade::answer(answer, &exchange.head, asked.version);
        side.begin_answer(answer, if asked.version == Version::Http2 { Framing::UntilEnd } else { Framing::None });
        tunnel(exchange, side, &mut upstream.side).await;
        return Ok(After::Cut);
    }
    let grpc = answer.text(Name::ContentType).is_some_and(|kind| kind.starts_with("application/grpc"));
    if grpc {
        exchange.tells_grpc(answer);
    }
    let goes_on = answer::begin(&exchange.client, side, asked, answer, framing);
    upstream.side.expect_body(framing);
    let whole = pass_body(exchange, side, &mut upstream, &mut upload).await;
    if !whole {
        return Ok(After::Cut);
    }
    if grpc {
        exchange.tells_grpc(upstream.side.trailers());
    }
    if upstream_goes_on && upload.is_whole() {
        exchange.client.worker.connections.put(upstream, exchange.now() + exchange.idle_timeout());
    }
    Ok(if goes_on && side.is_read() { After::Next } else { After::Close })
}

/// Checks the head, takes the hold on the live color, and makes the head as the endpoint shall see it. Returns the
/// upload, and whether an upgrade is asked for.
fn prepare(exchange: &mut Exchange, side: &mut Side) -> Result<(Upload, bool), ProxyError> {
    let client = Rc::clone(&exchange.client);
    let worker = &client.worker;
    let logged = worker.logger.borrow().is_on();
    // What is wrong with it is answered once it is noted for the log.
    let checked = check(&mut exchange.head).and_then(|()| Ok(Framing::of_request(&exchange.head, side.is_bodiless())?));
    let head = &mut exchange.head;
    let (admission, max_body, trusted, asker) = worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        client.limits(edge.idle_timeout, edge.header_timeout);
        let trusted = !edge.trusted_proxies.is_empty()
            && headers::is_trusted(client.peer.ip().to_canonical(), &edge.trusted_proxies);
        let asker = logged.then(|| {
            if trusted {
                headers::client(head, client.peer, &edge.trusted_proxies)
            } else {
                client.peer.ip().to_canonical()
            }
        });
        let host = head.text(Name::Host).unwrap_or_default();
        (snapshot.admit(worker.index, host, head.path()), edge.max_body, trusted, asker)
    });
    if !(trusted && head.get(Name::XRequestId).is_some_and(headers::usable_request_id)) {
        head.set(Name::XRequestId, &headers::new_request_id(fastrand::u128(..)));
    }
    exchange.asker = asker;
    let framing = checked?;
    exchange.admit(admission?)?;
    side.expect_body(framing);
    if matches!((framing, max_body), (Framing::Length(length), Some(max)) if length > max) {
        return Err(Kind::BodyTooLarge.into());
    }

    let head = &mut exchange.head;
    let from = headers::From {
        peer: &client.peer_text,
        trusted,
        port: worker.port(client.tls),
        scheme: if client.tls { "https" } else { "http" },
    };
    head.remove(Name::XClientCertSubject);
    if let Some(subject) = &client.subject {
        head.push_known(Name::XClientCertSubject, subject.as_bytes());
    }
    let upgrade = headers::to_endpoint(head, &from) && framing == Framing::None;
    if upgrade {
        upgrade::ask(head);
    }
    match framing {
        Framing::Chunked => head.push_known(Name::TransferEncoding, b"chunked"),
        Framing::Length(length) if head.all(Name::ContentLength).nth(1).is_some() => {
            head.set(Name::ContentLength, length.to_string().as_bytes());
        }
        Framing::None | Framing::Length(_) | Framing::UntilEnd => {}
    }
    let expects = head.version != Version::Http10 && framing != Framing::None && head.has(Name::Expect);
    Ok((Upload::new(framing, max_body, expects), upgrade))
}

/// Refuses what can't be served, and brings the target into origin form.
fn check(head: &mut Head) -> Result<(), ProxyError> {
    const TARGET: &str = "The request target is not valid.";
    if head.extended_connect {
        // Told as an upgrade from here on (RFC 8441).
        head.set_method(b"GET");
    }
    if head.is_method("CONNECT") {
        return Err(ProxyError::bad_request("CONNECT is not served here."));
    }
    // Also where the target names the host (RFC 9112, 3.2).
    headers::host(head)?;
    if head.target_bytes().starts_with(b"/") {
        return Ok(());
    }
    let target = head.target();
    if target == "*" {
        return if head.is_method("OPTIONS") { Ok(()) } else { Err(ProxyError::bad_request(TARGET)) };
    }
    // `GET http://host/path` as a proxy gets it: the authority counts, whatever `Host` says (RFC 9112, 3.2.2).
    let (authority, path) = headers::split_absolute(target).ok_or(ProxyError::bad_request(TARGET))?;
    let authority = authority.to_owned();
    head.set(Name::Host, authority.as_bytes());
    head.set_target(path.as_bytes());
    Ok(())
}

/// Sends the request to an endpoint and reads the head of the answer.
///
/// It may go to another endpoint where nothing was lost by the first attempt: nothing was sent, or the method is
/// idempotent (RFC 9110, 9.2.2) and no byte of a body was taken from the client. Never to the other color.
async fn send(
    exchange: &mut Exchange,
    side: &mut Side,
    upload: &mut Upload,
    answer: &mut Head,
) -> Result<UpstreamConnection, ProxyError> {
    let mut tried = Vec::new();
    let mut failed = ProxyError::from(Kind::NoEndpoint);
    let retry = exchange.client.worker.live.with(|snapshot| snapshot.edge.retry);
    exchange.pays_for_retries(retry.budget_percent);
    let mut chosen = exchange.choose(&tried);
    while let Some(index) = chosen {
        match attempt(exchange, side, upload, answer).await {
            Ok(upstream) => {
                // What a gateway says of something that is not there; the application itself says 500.
                exchange.tells_pool(index, !matches!(answer.status, 502..=504));
                return Ok(upstream);
            }
            Err(Attempt { error, again }) => {
                if error.kind.is_endpoints() {
                    exchange.tells_pool(index, false);
                }
                failed = error;
                let allowed = match again {
                    Again::Never => false,
                    // It costs nobody anything.
                    Again::NotSent => true,
                    Again::Idempotent => exchange.may_retry(retry.budget_percent),
                };
                if !allowed || tried.len() >= retry.attempts as usize {
                    return Err(failed);
                }
                tried.push(index);
                chosen = exchange.choose(&tried);
                if chosen.is_some() {
                    exchange.retried();
                    upload.restart();
                }
            }
        }
    }
    Err(failed)
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
            None => match connect(exchange).await {
                Ok(connected) => connected,
                Err(error) => {
                    if let Some(ended) = exchange.fired() {
                        return Err(ended.into());
                    }
                    exchange.admission().meter.connect_errors.add(1);
                    return Err(Attempt { error, again: Again::NotSent });
                }
            },
        };
        let timeout = exchange.admission().policy.response_timeout;
        exchange.client.worker.slots.enter(&exchange.slot, Phase::Request, timeout);
        let ready = poll_fn(|cx| match exchange.fired() {
            Some(error) => Poll::Ready(Err(error)),
            None => upstream.side.poll_ready(cx).map(Ok),
        });
        let error = if ready.await? {
            upstream.side.begin_request(&exchange.head, upload.framing);
            exchange.sent();
            match heads(exchange, side, &mut upstream.side, upload, answer).await {
                Ok(()) => return Ok(upstream),
                Err(Failure::Final(error)) => return Err(error.into()),
                Err(Failure::Broken { answered: true }) => return Err(ProxyError::from(Kind::BadAnswer).into()),
                Err(Failure::Broken { answered: false }) => Kind::UpstreamClosed.into(),
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
        if matches!(again, Again::Never) || stale || !upstream.reused {
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
    poll_fn(|cx| {
        if let Some(error) = exchange.fired() {
            let slow = error.kind == Kind::ResponseTimeout && upload.waits_for_client();
            return Poll::Ready(Err(Failure::Final(if slow { Kind::RequestTimeout.into() } else { error })));
        }
        match upload.poll(cx, exchange, side, upstream) {
            Poll::Ready(Err(kind)) => return Poll::Ready(Err(kind.into())),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            match upstream.poll_answer(cx, answer) {
                Poll::Pending => break,
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
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(Failure::Broken { answered: interim > 0 })),
                Poll::Ready(Err(HeadError::Refused(_))) => return Poll::Ready(Err(Kind::BadAnswer.into())),
                Poll::Ready(Err(HeadError::Incomplete)) => {
                    return Poll::Ready(Err(Failure::Broken { answered: true }));
                }
                Poll::Ready(Err(HeadError::Io(error))) => {
                    tracing::debug!(%error, "The endpoint did not answer.");
                    return Poll::Ready(Err(Failure::Broken { answered: interim > 0 }));
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
        Poll::Pending
    })
    .await
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
        side.begin_answer(answer, Framing::None);
    }
}

/// Passes the body on, and what is left of the request. Whether the whole of it went.
async fn pass_body(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut UpstreamConnection,
    upload: &mut Upload,
) -> bool {
    let mut download = Copied::default();
    let mut broken = false;
    let whole = poll_fn(|cx| {
        if exchange.was_ended_in_body() {
            return Poll::Ready(false);
        }
        if broken {
            // What came before is written first, so that the client can tell a broken answer from none.
            let _ = ready!(side.poll_flush(cx));
            return Poll::Ready(false);
        }
        if let Poll::Ready(Err(kind)) = upload.poll(cx, exchange, side, &mut upstream.side) {
            exchange.broke(kind);
            return Poll::Ready(false);
        }
        let before = download.bytes;
        let copied = poll_copy(cx, &mut upstream.side, side, &mut download);
        if copied.is_pending() && exchange.counted() == InFlightKind::Request {
            exchange.becomes(InFlightKind::Stream);
        }
        if download.bytes > before {
            exchange.slot.extend(Some(exchange.now() + exchange.idle_timeout()));
        }
        match copied {
            Poll::Ready(Ok(())) => Poll::Ready(true),
            Poll::Ready(Err(CopyError::Source(error))) => {
                tracing::debug!(%error, "The endpoint broke off in its answer.");
                exchange.broke(Kind::BodyTimeout);
                broken = true;
                let _ = ready!(side.poll_flush(cx));
                Poll::Ready(false)
            }
            Poll::Ready(Err(CopyError::Sink(error))) => {
                tracing::debug!(%error, "The client takes no more of its answer.");
                exchange.broke(Kind::ClientLeft);
                Poll::Ready(false)
            }
            Poll::Pending if upload.is_over() && side.poll_left(cx).is_ready() => {
                exchange.broke(Kind::ClientLeft);
                Poll::Ready(false)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    exchange.bytes_out = download.bytes;
    whole
}

/// Joins the two sides after an upgrade, until both are done, one breaks, or the tunnel is ended. The lease of the
/// request that opened it goes on.
async fn tunnel(exchange: &mut Exchange, side: &mut Side, upstream: &mut Side) {
    exchange.becomes(InFlightKind::Tunnel);
    side.become_tunnel();
    upstream.become_tunnel();
    let (mut to_endpoint, mut to_client) = (Copied::default(), Copied::default());
    let (mut up, mut down) = (false, false);
    poll_fn(|cx| {
        if matches!(exchange.slot.fired(), Some(Fired::Ended | Fired::Cut)) {
            exchange.broke(Kind::DrainTimeout);
            return Poll::Ready(());
        }
        let sent = poll_half(cx, side, upstream, &mut to_endpoint, &mut up);
        let received = poll_half(cx, upstream, side, &mut to_client, &mut down);
        if sent.is_err() || received.is_err() {
            return Poll::Ready(());
        }
        if up && down { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    exchange.bytes_in = to_endpoint.bytes;
    exchange.bytes_out = to_client.bytes;
}

/// One direction of a tunnel; when its source is done, the sink is told.
fn poll_half(
    cx: &mut Context<'_>,
    from: &mut Side,
    to: &mut Side,
    copied: &mut Copied,
    over: &mut bool,
) -> Result<(), CopyError> {
    if !*over && let Poll::Ready(ended) = poll_copy(cx, from, to, copied) {
        ended?;
        if let Poll::Ready(told) = to.poll_shutdown(cx) {
            told.map_err(CopyError::Sink)?;
            *over = true;
        }
    }
    Ok(())
}
