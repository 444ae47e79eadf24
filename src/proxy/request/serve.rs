//! One request, from its parsed head to the last byte of its answer.
//!
//! Nothing here is a task of its own: whoever serves the client polls both sides, one after the other.

use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, ready};

use crate::evidence::metering::Counted;
use crate::proxy::blame::Blame;
use crate::proxy::client::Client;
use crate::proxy::deadlines::{Phase, Slot};
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::kind::Kind;
use crate::proxy::request::attempt::send;
use crate::proxy::request::bad_answer;
use crate::proxy::request::event;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::hold;
use crate::proxy::request::linger;
use crate::proxy::request::local::{self, OwnAnswer};
use crate::proxy::request::respond::{self, After, Asked};
use crate::proxy::request::shield;
use crate::proxy::request::taking::{Taking, WaitsFor};
use crate::proxy::request::target;
use crate::proxy::request::tunnel::tunnel;
use crate::proxy::request::upgrade;
use crate::proxy::request::upload::Upload;
use crate::proxy::snapshot::Edge;
use crate::proxy::snapshot::preview;
use crate::proxy::snapshot::split::Splitting;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::telemetry::meter::InFlightKind;
use crate::wire::head::{Head, Name, Version};
use crate::wire::http1::body::{Ambiguous, Framing, Malformed};
use crate::wire::http1::connection::BodyError;
use crate::wire::http2::client::is_flood;
use crate::wire::side::{Copied, CopyError, Side, Trailers, poll_copy};

/// A request, and the side it came from.
pub(crate) struct IncomingRequest {
    pub(crate) client: Rc<Client>,
    pub(crate) slot: Rc<Slot>,
    pub(crate) side: Side,
    pub(crate) head: Head,
}

/// It is answered. The head's memory can be used again.
pub(crate) struct Finished {
    pub(crate) side: Side,
    pub(crate) head: Head,
    pub(crate) after: After,
}

/// Serves one request, and reports it once: the head is checked, then the framing and the host; the proxy answers it or
/// routes it.
pub(crate) async fn forward(request: IncomingRequest) -> Finished {
    let IncomingRequest { client, slot, mut side, head } = request;
    let asked = Asked::new(&head);
    slot.enter(Phase::Request, None);
    let mut exchange = Exchange::begin(Rc::clone(&client), Rc::clone(&slot), head);
    if matches!(side, Side::Http1(_)) {
        exchange.charge_head();
    }
    let mut answer = client.worker.take_head();
    let served = serve(&mut exchange, &mut side, asked, &mut answer).await;
    client.worker.give_head(answer);
    match served {
        Ok(after) => Finished { side, head: exchange.end(), after },
        Err(OwnAnswer::Local(local)) => {
            exchange.answered(local.status());
            if let Some(refusal) = local.refusal() {
                exchange.refuse(refusal);
            }
            let head = exchange.end();
            let after = Box::pin(local.send((&client, &slot), &mut side, asked)).await;
            Finished { side, head, after }
        }
        Err(OwnAnswer::Error(error)) => {
            let error = exchange.cut_by(error.kind).map_or(error, ProxyError::from);
            exchange.failed(&error);
            let preview = exchange.preview.clone();
            // What is held of the color is given back first: a client that reads nothing does not keep it.
            let head = exchange.end();
            let after = match error.kind {
                Kind::ClientLeft | Kind::ClientStalled => After::Cut,
                _ => {
                    let said = respond::error((&client, &slot), &mut side, asked, &head, &error, preview.as_deref());
                    Box::pin(said).await
                }
            };
            Finished { side, head, after }
        }
    }
}

async fn serve(
    exchange: &mut Exchange,
    side: &mut Side,
    mut asked: Asked,
    answer: &mut Head,
) -> Result<After, OwnAnswer> {
    let (mut upload, upgrade) = loop {
        match prepare(exchange, side)? {
            Some(prepared) => break prepared,
            // In a box, so that all the others do not carry what only these need.
            None => Box::pin(hold::wait(exchange, side)).await?,
        }
    };
    let mut upstream = send(exchange, side, &mut upload, answer).await?;
    if exchange.admission().lingers && linger::is_for_file(exchange, &upload) && matches!(answer.status, 404 | 410) {
        // In a box: few requests need it.
        Box::pin(linger::ask(exchange, side, &mut upstream, answer)).await;
    }
    let framing = match upstream.side.is_bodiless() {
        true => Framing::None,
        false => Framing::of_answer(answer, asked.to_head).map_err(|Ambiguous(rule)| {
            bad_answer::ambiguous(exchange, rule, answer);
            Kind::BadAnswer
        })?,
    };
    if headers::lists_too_many(answer) {
        bad_answer::tell(exchange, "Connection has more members than a message needs.", b"");
        return Err(Kind::BadAnswer.into());
    }
    let switching = upgrade::is_granted(answer, &exchange.head, upgrade)
        .inspect_err(|_| bad_answer::not_asked_for(exchange, answer))?;
    let ends_with_body = framing == Framing::UntilEnd && answer.version != Version::Http2;
    let upstream_goes_on = headers::keeps_alive(answer) && !ends_with_body;
    // A 426 says what to upgrade to (RFC 9110, 15.5.22); HTTP/2 has no such field.
    let tells_upgrade = switching || (answer.status == 426 && asked.version != Version::Http2);
    headers::to_client(answer, tells_upgrade, exchange.via);
    if matches!(answer.status, 100..=199 | 204) {
        answer.remove(Name::ContentLength);
    }
    exchange.answered(answer.status);
    if answer.has(Name::CutoverEvent) {
        event::tell(exchange, answer);
    }
    exchange.marks_visitor(answer);
    if let Some(mark) = &exchange.preview {
        mark.write(answer);
    }
    if exchange.is_shielded() {
        shield::mark(answer);
    }
    if exchange.is_lingered() {
        linger::mark(answer);
    }
    if switching {
        let websocket = upgrade::is_websocket(answer, &exchange.head);
        upgrade::answer(answer, &exchange.head, asked.version);
        // In a box, as the tunnel: few requests need it.
        Box::pin(upload.finish(exchange, side, &mut upstream.side)).await?;
        side.begin_answer(answer, if asked.version == Version::Http2 { Framing::UntilEnd } else { Framing::None });
        // In boxes, this one and the next, so that a connection that waits has no room for them.
        let whole = Box::pin(tunnel(exchange, side, &mut upstream.side, websocket)).await;
        return Ok(if whole { After::Close } else { After::Cut });
    }
    let grpc = headers::is_grpc(answer);
    if grpc {
        exchange.note_grpc_status(answer);
    }
    if grpc || streams(answer) {
        exchange.streams(grpc);
    }
    // An upload that is refused early ends the connection: what the client still sends is thrown away.
    asked.keep_alive &= upload.is_whole() || !upload.is_over() && answer.status < 400;
    let goes_on = respond::begin((&exchange.client, &exchange.slot), side, asked, answer, framing);
    // The body may take long, and the head is written.
    answer.shed();
    upstream.side.expect_body(framing);
    match pass_body(exchange, side, &mut upstream, &mut upload).await {
        Passed::Whole => {}
        passed if grpc && asked.version == Version::Http2 && exchange.ended() != Some(Kind::ClientLeft) => {
            let trailers = match (passed, exchange.ended()) {
                (Passed::Broken, Some(kind)) => kind.grpc_trailers(),
                // The call can be made again elsewhere.
                _ => {
                    let mut trailers = Head::default();
                    trailers.push(b"grpc-status", UNAVAILABLE);
                    trailers.push(b"grpc-message", b"The endpoint broke off in its answer.");
                    trailers
                }
            };
            exchange.note_grpc_status(&trailers);
            side.finish(&trailers);
            return Ok(After::Close);
        }
        Passed::EndpointBroke | Passed::Broken => return Ok(After::Cut),
    }
    if grpc {
        exchange.note_grpc_status(upstream.side.trailers());
    }
    if upstream_goes_on && upload.is_whole() {
        let keep_until = exchange.now() + exchange.admission().policy.idle_timeout;
        exchange.client.worker.connections.put(exchange.target().0, upstream, keep_until);
    }
    Ok(if goes_on && side.is_read() { After::Next } else { After::Close })
}

/// Checks the head, takes the hold on a color, and makes the head as the endpoint shall see it. Returns the
/// upload, and whether an upgrade is asked for. `None`: requests are held; it has to be asked again later, and nothing
/// was done that could not be done twice.
fn prepare(exchange: &mut Exchange, side: &mut Side) -> Result<Option<(Upload, bool)>, OwnAnswer> {
    let client = Rc::clone(&exchange.client);
    let worker = &client.worker;
    let logged = worker.logger.borrow().is_on();
    // What is wrong with it is answered once it is noted for the log.
    let mut checked =
        check(&mut exchange.head).and_then(|()| Ok(Framing::of_request(&exchange.head, side.is_bodiless())?));
    let head = &mut exchange.head;
    let (mut own, mut trailers) = (None, Trailers::Without(preview::HEADER));
    let mut is_evidence = true;
    let (admission, max_body, trusted, asker) = worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        client.limits(edge.idle_timeout, edge.header_timeout);
        exchange.via = edge.via;
        let trusted = is_trusted(&client, edge);
        let address = || address(&client, edge, trusted, head);
        let asker = logged.then(address);
        if checked.is_ok() {
            match local::find(&client, snapshot, head, trusted) {
                Ok(answer) => own = answer,
                Err(error) => checked = Err(error),
            }
        }
        if own.is_some() || checked.is_err() {
            return (Ok(None), edge.max_body, trusted, asker);
        }
        is_evidence = snapshot.is_evidence(head, address);
        let host = head.text(Name::Host).unwrap_or_default();
        let Some(preview) = &snapshot.preview else {
            let draw = |splitting: &Splitting| splitting.draw(head, address);
            let admission = snapshot.admit(worker.index, host, head.path(), draw);
            // Without a preview as well: an endpoint that is a Cutover itself might take it for a wish.
            head.remove(Name::XCutoverColor);
            return (admission, edge.max_body, trusted, asker);
        };
        trailers = Trailers::Discarded;
        let found = preview.look(head, host, client.listener, address);
        let admission = if found.granted {
            let admitted = snapshot.admit_to(preview, worker.index, host, head.path());
            if let Ok(Some(granted)) = &admitted {
                exchange.preview.clone_from(&granted.admission.preview);
            }
            admitted
        } else {
            snapshot.admit(worker.index, host, head.path(), |splitting| splitting.draw(head, address))
        };
        // Who has to wait is looked at again.
        if found.carried && !matches!(admission, Ok(None)) {
            preview.strip(head);
        }
        (admission, edge.max_body, trusted, asker)
    });
    name(head, trusted);
    exchange.asker = asker;
    let framing = checked?;
    // Before anything is answered: whether another request can follow depends on it.
    side.expect_body(framing);
    if let Some(own) = own {
        return Err(OwnAnswer::Local(own));
    }
    let Some(mut granted) = admission? else { return Ok(None) };
    if !is_evidence {
        granted.counted = Counted::Not;
    }
    exchange.admit(granted)?;
    if matches!((framing, max_body), (Framing::Length(length), Some(max)) if length > max) {
        return Err(Kind::BodyTooLarge.into());
    }

    let head = &mut exchange.head;
    let from = headers::From {
        peer: &client.peer_text,
        trusted,
        port: worker.port(client.listener),
        scheme: if client.listener.is_tls() { "https" } else { "http" },
        via: exchange.via,
    };
    head.remove(Name::XClientCertSubject);
    head.remove_look_alikes(&headers::VOUCHED);
    if let Some(subject) = &client.subject {
        head.push_known(Name::XClientCertSubject, subject.as_bytes());
    }
    if head.version == Version::Http10 {
        // RFC 9110, 7.8
        head.remove(Name::Upgrade);
    }
    let upgrade = headers::to_endpoint(head, &from);
    if head.extended_connect && !upgrade {
        // HTTP/2 inside of the tunnel would be requests that nobody here sees.
        return Err(Kind::NoUpgrade.into());
    }
    let http2 = exchange.admission().pool.rules().http2;
    let upgrade = upgrade && upgrade::ask(&mut exchange.head, http2, framing != Framing::None);
    let head = &mut exchange.head;
    if framing == Framing::Chunked {
        head.push_known(Name::TransferEncoding, b"chunked");
    }
    let expects = head.version != Version::Http10 && framing != Framing::None && head.has(Name::Expect);
    Ok(Some((Upload::new(framing, max_body, expects, trailers), upgrade)))
}

/// Reports a request whose stream ended before anything was done with it.
pub(crate) fn given_up(request: IncomingRequest) -> Head {
    let IncomingRequest { client, slot, side, head } = request;
    drop(side);
    let mut exchange = Exchange::begin(Rc::clone(&client), slot, head);
    if client.worker.logger.borrow().is_on() {
        let head = &mut exchange.head;
        let (asker, trusted) = client.worker.live.with(|snapshot| {
            let trusted = is_trusted(&client, &snapshot.edge);
            (address(&client, &snapshot.edge, trusted, head), trusted)
        });
        name(head, trusted);
        exchange.asker = Some(asker);
    }
    exchange.end()
}

/// The peer is one of `trusted_proxies`.
fn is_trusted(client: &Client, edge: &Edge) -> bool {
    !edge.trusted_proxies.is_empty() && headers::is_trusted(client.peer.ip().to_canonical(), &edge.trusted_proxies)
}

/// Who asks.
fn address(client: &Client, edge: &Edge, trusted: bool, head: &Head) -> IpAddr {
    match trusted {
        true => headers::client(head, client.peer, &edge.trusted_proxies),
        false => client.peer.ip().to_canonical(),
    }
}

/// Gives a request its id, unless a trusted peer has given it one.
fn name(head: &mut Head, trusted: bool) {
    if !(trusted && head.get(Name::XRequestId).is_some_and(headers::usable_request_id)) {
        head.set(Name::XRequestId, &headers::new_request_id(fastrand::u128(..)));
    }
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
    if headers::lists_too_many(head) {
        return Err(ProxyError::bad_request("The Connection field lists too many names."));
    }
    // Also where the target names the host (RFC 9112, 3.2).
    headers::host(head)?;
    if head.target_bytes().starts_with(b"/") {
        return target::check(head);
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
    target::check(head)
}

/// Whether an answer goes on for as long as there is something to say.
fn streams(answer: &Head) -> bool {
    const KINDS: [&str; 2] = ["text/event-stream", "multipart/x-mixed-replace"];
    let kind = answer.text(Name::ContentType);
    kind.is_some_and(|kind| KINDS.iter().any(|known| kind.starts_with(known)))
}

/// gRPC, that it may be tried again (grpc/grpc, doc/statuscodes.md).
const UNAVAILABLE: &[u8] = b"14";

/// How far the body of an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Whole,
    EndpointBroke,
    Broken,
}

/// Passes the body on, and what is left of the request.
async fn pass_body(
    exchange: &mut Exchange,
    side: &mut Side,
    upstream: &mut UpstreamConnection,
    upload: &mut Upload,
) -> Passed {
    let mut download = Copied::default();
    let mut broken = false;
    let mut taking = Taking::default();
    let passed = poll_fn(|cx| {
        if exchange.note_end() {
            return Poll::Ready(Passed::Broken);
        }
        if broken {
            // What came before is written first, so that the client can tell a broken answer from none.
            let _ = ready!(side.poll_flush(cx));
            return Poll::Ready(Passed::EndpointBroke);
        }
        if let Poll::Ready(Err(kind)) = upload.poll(cx, exchange, side, &mut upstream.side) {
            exchange.broke(kind);
            if let Some(refusal) = kind.refusal() {
                exchange.refuse(refusal);
            }
            return Poll::Ready(Passed::Broken);
        }
        let before = download.bytes;
        let copied = poll_copy(cx, &mut upstream.side, side, &mut download);
        if copied.is_pending() && exchange.counted() == InFlightKind::Request {
            exchange.set_in_flight_kind(InFlightKind::Stream);
        }
        if download.bytes > before {
            exchange.extends();
        }
        if copied.is_pending() {
            let waits_for = if download.waits_for_source { WaitsFor::Endpoint } else { WaitsFor::Client };
            if taking.observe(waits_for, exchange.now()) {
                exchange.waits_for_client(waits_for == WaitsFor::Client);
            }
        }
        match copied {
            Poll::Ready(Ok(())) => Poll::Ready(Passed::Whole),
            Poll::Ready(Err(CopyError::Source(error))) => {
                tracing::debug!(%error, "The endpoint broke off in its answer.");
                if let BodyError::Malformed(Malformed(rule)) = error {
                    bad_answer::tell(exchange, rule, b"");
                }
                let now = exchange.now();
                match error {
                    BodyError::Malformed(_) => exchange.broke(Kind::BodyTimeout),
                    _ if upload.is_late(now) => exchange.broke(Kind::RequestTimeout),
                    _ if taking.is_held_up(now) => exchange.broke(Kind::ClientStalled),
                    BodyError::Io(error) if is_flood(&error) || upstream.side.is_excused() => {
                        exchange.broke_by(Kind::BodyTimeout, Blame::Nobody);
                    }
                    _ => exchange.broke(Kind::BodyTimeout),
                }
                broken = true;
                let _ = ready!(side.poll_flush(cx));
                Poll::Ready(Passed::EndpointBroke)
            }
            Poll::Ready(Err(CopyError::Sink(error))) => {
                tracing::debug!(%error, "The client takes no more of its answer.");
                exchange.broke(Kind::ClientLeft);
                Poll::Ready(Passed::Broken)
            }
            Poll::Pending if upload.is_over() && side.poll_left(cx).is_ready() => {
                exchange.broke(Kind::ClientLeft);
                Poll::Ready(Passed::Broken)
            }
            // The clock comes last: a process that was paused finds its deadlines over and the bytes there.
            Poll::Pending if exchange.is_overdue() => {
                exchange.broke(match exchange.quiet() {
                    _ if !download.waits_for_source => Kind::ClientStalled,
                    kind @ Kind::StreamIdle => kind,
                    _ if upload.waits_for_client() => Kind::RequestTimeout,
                    kind => kind,
                });
                Poll::Ready(Passed::Broken)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    exchange.bytes_out = download.bytes;
    passed
}
