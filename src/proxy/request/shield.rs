//! The shield of a canary: a request that the watched release fails is asked again of the stable one. The user sees an
//! answer, and the judge sees the failure.
//!
//! Only safe requests (RFC 9110, 9.2.1) without a body, before a byte of an answer went to the client, once, and within
//! the budget: if everything fails, the stable color must not get all of it on top.

use crate::evidence::routes::Cause;
use crate::evidence::trial::Outcome;
use crate::proxy::blame::Blame;
use crate::proxy::error::ProxyError;
use crate::proxy::outcome::cause;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::upload::Upload;
use crate::proxy::upstream::connections::UpstreamConnection;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;

const FIELD: (&[u8], &[u8]) = (b"x-cutover-shielded", b"true");

pub(super) fn takes_over(
    exchange: &mut Exchange,
    upload: &Upload,
    asked: &Result<UpstreamConnection, ProxyError>,
    answer: &Head,
) -> bool {
    let Some(share) = exchange.admission().shield else { return false };
    // The budget counts whole percents, and a smaller share is one.
    let percent = u32::from(share.basis_points()).div_ceil(100);
    let worker = &exchange.client.worker;
    let now = worker.millis();
    worker.shield.borrow_mut().at(percent).deposit(now);
    let failed = match asked {
        Ok(_) if Blame::of_status(answer.status).is_some_and(Blame::is_charged) => Some(Cause::Status),
        Ok(_) => None,
        Err(error) => error.blame.is_charged().then(|| cause(error.kind)),
    };
    let Some(failed) = failed else { return false };
    let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].into_iter().any(|method| exchange.head.is_method(method));
    if !safe || upload.framing != Framing::None || exchange.head.has(Name::Upgrade) || exchange.head.extended_connect {
        return false;
    }
    let color = exchange.admission().pool.color;
    let host = exchange.head.text(Name::Host).unwrap_or_default();
    let path = exchange.head.path();
    let stable = worker.live.with(|snapshot| snapshot.admit_beside(color, worker.index, host, path));
    let Some(stable) = stable else { return false };
    if !worker.shield.borrow_mut().at(percent).withdraw(now) {
        return false;
    }
    exchange.shield_by(stable, Outcome::Bad(failed));
    true
}

pub(super) fn mark(answer: &mut Head) {
    let (name, value) = FIELD;
    answer.push(name, value);
}
