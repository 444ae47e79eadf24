//! The steps of one request. None is a task of its own: the task of the client connection polls both sides.

use std::rc::Rc;

use crate::proxy::client::Client;
use crate::proxy::deadlines::{DeadlineSlot, Phase};
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::admit::{admit, note_client};
use crate::proxy::request::attempt::send;
use crate::proxy::request::download::{self, Passed};
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::hold;
use crate::proxy::request::linger;
use crate::proxy::request::local::OwnAnswer;
use crate::proxy::request::prepare::prepare;
use crate::proxy::request::respond::{self, After, Asked};
use crate::proxy::request::response::{self, Checked};
use crate::proxy::request::tunnel::tunnel;
use crate::proxy::request::upgrade;
use crate::wire::head::{Head, Version};
use crate::wire::http1::body::Framing;
use crate::wire::side::Side;

/// UNAVAILABLE: the call may be made again (grpc/grpc, doc/statuscodes.md).
const UNAVAILABLE: &[u8] = b"14";

pub(crate) struct IncomingRequest {
    pub(crate) client: Rc<Client>,
    pub(crate) slot: Rc<DeadlineSlot>,
    pub(crate) side: Side,
    pub(crate) head: Head,
}

pub(crate) struct Finished {
    pub(crate) side: Side,
    pub(crate) head: Head,
    pub(crate) after: After,
}

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
            exchange.note_answer(local.status());
            if let Some(refusal) = local.refusal() {
                exchange.report.refuse(refusal);
            }
            let head = exchange.end();
            let after = Box::pin(local.send((&client, &slot), &mut side, asked)).await;
            Finished { side, head, after }
        }
        Err(OwnAnswer::Error(error)) => {
            let error = exchange.cut_by(error.kind).map_or(error, ProxyError::from);
            exchange.failed(&error);
            let preview = exchange.preview.clone();
            // The color is released first: a client that does not read can't hold it.
            let head = exchange.end();
            let after = match error.kind {
                ErrorKind::ClientLeft | ErrorKind::ClientStalled => After::Cut,
                _ => {
                    let said = respond::error((&client, &slot), &mut side, asked, &head, &error, preview.as_deref());
                    Box::pin(said).await
                }
            };
            Finished { side, head, after }
        }
    }
}

/// The steps. [`admit`] checks, routes and admits the request, or `hold` lets it wait.
async fn serve(
    exchange: &mut Exchange,
    side: &mut Side,
    mut asked: Asked,
    answer: &mut Head,
) -> Result<After, OwnAnswer> {
    let admitted = loop {
        match admit(exchange, side)? {
            Some(admitted) => break admitted,
            // Boxed, here and below, so that other requests do not carry the state of rare ones.
            None => Box::pin(hold::wait(exchange, side)).await?,
        }
    };
    let (mut upload, upgrade) = prepare(exchange, admitted)?;
    let mut upstream = send(exchange, side, &mut upload, answer).await?;
    if exchange.admission().lingers && linger::is_for_file(exchange, &upload) && matches!(answer.status, 404 | 410) {
        Box::pin(linger::ask(exchange, side, &mut upstream, answer)).await;
    }
    let Checked { framing, switches, keeps_connection } =
        response::check(exchange, answer, asked, upstream.side.is_bodiless(), upgrade)?;
    response::rewrite(exchange, answer, asked, switches);
    if switches {
        let websocket = upgrade::is_websocket(answer, &exchange.head);
        upgrade::answer(answer, &exchange.head, asked.version);
        Box::pin(upload.finish(exchange, side, &mut upstream.side)).await?;
        side.begin_answer(answer, if asked.version == Version::Http2 { Framing::UntilEnd } else { Framing::None });
        let whole = Box::pin(tunnel(exchange, side, &mut upstream.side, websocket)).await;
        return Ok(if whole { After::Close } else { After::Cut });
    }
    let grpc = response::note_streaming(exchange, answer);
    // An upload that is refused early ends the connection; the rest is thrown away.
    asked.keep_alive &= upload.is_whole() || !upload.is_over() && answer.status < 400;
    let goes_on = respond::begin((&exchange.client, exchange.slot()), side, asked, answer, framing);
    answer.shed();
    upstream.side.expect_body(framing);
    match download::pass_body(exchange, side, &mut upstream, &mut upload).await {
        Passed::Whole => {}
        passed if grpc && asked.version == Version::Http2 && exchange.report.ended() != Some(ErrorKind::ClientLeft) => {
            finish_call(exchange, side, passed);
            return Ok(After::Close);
        }
        Passed::EndpointBroke | Passed::Broken => return Ok(After::Cut),
    }
    if grpc {
        exchange.report.note_grpc_status(upstream.side.trailers());
    }
    if keeps_connection && upload.is_whole() {
        let keep_until = exchange.now() + exchange.admission().timeouts.idle_timeout;
        exchange.client.worker.connections.put(exchange.target().0, upstream, keep_until);
    }
    Ok(if goes_on && side.is_read() { After::Next } else { After::Close })
}

/// Ends a broken gRPC call with trailers: a bare end would look like an error of the call.
fn finish_call(exchange: &mut Exchange, side: &mut Side, passed: Passed) {
    let trailers = match (passed, exchange.report.ended()) {
        (Passed::Broken, Some(kind)) => kind.grpc_trailers(),
        _ => {
            let mut trailers = Head::default();
            trailers.push(b"grpc-status", UNAVAILABLE);
            trailers.push(b"grpc-message", b"The endpoint broke off in its answer.");
            trailers
        }
    };
    exchange.report.note_grpc_status(&trailers);
    side.finish(&trailers);
}

pub(crate) fn given_up(request: IncomingRequest) -> Head {
    let IncomingRequest { client, slot, side, head } = request;
    drop(side);
    let mut exchange = Exchange::begin(client, slot, head);
    note_client(&mut exchange);
    exchange.end()
}
