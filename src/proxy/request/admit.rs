//! The admission of a request: one look at the live snapshot says where it goes.

use std::net::IpAddr;
use std::rc::Rc;

use crate::evidence::trial::Counted;
use crate::proxy::client::Client;
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::request::check::check;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::local::{self, LocalAnswer, OwnAnswer};
use crate::proxy::request::trace;
use crate::proxy::snapshot::preview;
use crate::proxy::snapshot::split::{Granted, Splitting};
use crate::proxy::snapshot::{Edge, Snapshot};
use crate::wire::copy::Trailers;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;
use crate::wire::side::Side;

/// Facts about an admitted request that are not in its head.
#[derive(Clone, Copy)]
pub(super) struct Admitted {
    pub(super) framing: Framing,
    pub(super) trusted: bool,
    pub(super) max_body: Option<u64>,
    pub(super) trailers: Trailers,
}

enum Way {
    Local(LocalAnswer),
    Granted(Granted),
    Held,
}

/// Checks, routes and admits a request. `None`: requests are held, and this is called again later; each step can be
/// done twice.
pub(super) fn admit(exchange: &mut Exchange, side: &mut Side) -> Result<Option<Admitted>, OwnAnswer> {
    let checked = check(&mut exchange.head, side.is_bodiless());
    if let Ok(framing) = &checked {
        // Before any answer: only after a read request can another one follow.
        side.expect_body(*framing);
    }
    let (way, admitted) = route(exchange, checked);
    // A refused request has an id and a client in the log as well.
    name(&mut exchange.head, admitted.trusted);
    match way? {
        Way::Local(answer) => Err(OwnAnswer::Local(answer)),
        Way::Held => Ok(None),
        Way::Granted(granted) => {
            exchange.claim(granted)?;
            Ok(Some(admitted))
        }
    }
}

fn route(exchange: &mut Exchange, checked: Result<Framing, ProxyError>) -> (Result<Way, ProxyError>, Admitted) {
    let client = Rc::clone(&exchange.client);
    let logged = client.worker.logger.borrow().is_on();
    client.worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        client.limits(edge.idle_timeout, edge.header_timeout);
        exchange.via = edge.via;
        let trusted = is_trusted(&client, edge);
        exchange.report.set_client(logged.then(|| address(&client, edge, trusted, &exchange.head)));
        let framing = checked.as_ref().ok().copied().unwrap_or(Framing::None);
        let trailers =
            if snapshot.preview.is_some() { Trailers::Discarded } else { Trailers::Without(preview::HEADER) };
        let way = checked.and_then(|_| way(exchange, &client, snapshot, trusted));
        trace::begin(exchange, edge.trace, !matches!(way, Ok(Way::Local(_))), |head| {
            address(&client, edge, trusted, head)
        });
        (way, Admitted { framing, trusted, max_body: edge.max_body, trailers })
    })
}

fn way(exchange: &mut Exchange, client: &Client, snapshot: &Snapshot, trusted: bool) -> Result<Way, ProxyError> {
    let head = &mut exchange.head;
    if let Some(answer) = local::find(client, snapshot, head, trusted)? {
        return Ok(Way::Local(answer));
    }
    let address = || address(client, &snapshot.edge, trusted, head);
    let is_evidence = snapshot.is_evidence(head, address);
    let host = head.text(Name::Host).unwrap_or_default();
    let draw = |splitting: &Splitting| splitting.draw(head, address);
    let index = client.worker.index;
    let granted = match &snapshot.preview {
        None => {
            let granted = snapshot.admit(index, host, head.path(), draw);
            // An endpoint that is a Cutover itself might take it for a wish.
            head.remove(Name::XCutoverColor);
            granted?
        }
        Some(preview) => {
            let found = preview.look(head, host, client.listener, address);
            let granted = if found.granted {
                let granted = snapshot.admit_to(preview, index, host, head.path());
                if let Ok(Some(granted)) = &granted {
                    exchange.preview.clone_from(&granted.admission.preview);
                }
                granted
            } else {
                snapshot.admit(index, host, head.path(), draw)
            };
            // A held request comes here again.
            if found.carried && !matches!(granted, Ok(None)) {
                preview.strip(head);
            }
            granted?
        }
    };
    let Some(mut granted) = granted else { return Ok(Way::Held) };
    if !is_evidence {
        granted.counted = Counted::Not;
    }
    Ok(Way::Granted(granted))
}

pub(super) fn note_client(exchange: &mut Exchange) {
    let client = Rc::clone(&exchange.client);
    if !client.worker.logger.borrow().is_on() {
        return;
    }
    let head = &mut exchange.head;
    let (address, trusted) = client.worker.live.with(|snapshot| {
        let trusted = is_trusted(&client, &snapshot.edge);
        (address(&client, &snapshot.edge, trusted, head), trusted)
    });
    trace::given(head);
    name(head, trusted);
    exchange.report.set_client(Some(address));
}

fn is_trusted(client: &Client, edge: &Edge) -> bool {
    !edge.trusted_proxies.is_empty() && headers::is_trusted(client.peer.ip().to_canonical(), &edge.trusted_proxies)
}

fn address(client: &Client, edge: &Edge, trusted: bool, head: &Head) -> IpAddr {
    match trusted {
        true => headers::client(head, client.peer, &edge.trusted_proxies),
        false => client.peer.ip().to_canonical(),
    }
}

/// A trusted peer's id stays.
fn name(head: &mut Head, trusted: bool) {
    if !(trusted && head.get(Name::XRequestId).is_some_and(headers::usable_request_id)) {
        head.set(Name::XRequestId, &headers::new_request_id(fastrand::u128(..)));
    }
}
