//! Requests that wait: while they are held, none is given to a color.
//!
//! **How it is known that nothing runs.** A snapshot that holds has no admissions, and so no lease of any color. A
//! request is admitted by cloning an admission out of the snapshot that is live at that moment, all in one look
//! ([`Live::with`](crate::proxy::live::Live::with)). Publishing the snapshot that holds takes the old one out of the
//! `ArcSwap`, and it is dropped, with its leases, when the last worker that is looking at it has looked. So there are
//! two kinds of workers at any time after the publish: those that look at the new snapshot, and find nothing to be
//! admitted with; and those that still look at the old one, and thereby keep its leases alive until they have looked,
//! and the request's own lease from then on. The epoch of the color is over exactly when there is no lease left: then
//! no worker looks at the old snapshot, no request that was admitted under it is under way, and nobody can get a lease
//! any more, because leases come from snapshots, and the next snapshot with leases is published only after that. No
//! worker has to be asked, and no moment has to be guessed.
//!
//! **How those that wait go on.** They look at the live snapshot whenever they are woken. A worker is told to wake them
//! *after* the next snapshot is published. A request that looked before that publish has entered its phase in the same
//! poll, on the thread that also takes the word; so it is found. One that looks later sees the new snapshot.
//!
//! What a proxy can know ends with its answers: what an application goes on doing for a client that has left, or that
//! was told 504, is seen by nobody here.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::proxy::deadlines::{Fired, Phase};
use crate::proxy::error::ProxyError;
use crate::proxy::kind::Kind;
use crate::proxy::request::exchange::Exchange;
use crate::telemetry::metrics::Ending;
use crate::wire::http1::body::Framing;
use crate::wire::side::Side;

/// The end of a hold is for the controller to say. Only where it does not are requests answered, this much later.
const GRACE: Duration = Duration::from_secs(1);

/// Waits until the live snapshot has an answer for the request: then it has to look again.
pub(crate) async fn wait(exchange: &Exchange, side: &mut Side) -> Result<(), ProxyError> {
    let worker = &exchange.client.worker;
    let Some((until, limits)) = worker.live.with(|snapshot| snapshot.held()) else { return Ok(()) };
    let framing = Framing::of_request(&exchange.head, side.is_bodiless())?;
    let bytes = exchange.head.size() + side.room_while_held(framing);
    let Some(mut place) = worker.live.queue.enter(bytes, &limits) else { return Err(Kind::HoldFull.into()) };
    // Who would wait for the end of the hold waits for that; who came too early for that as long as is allowed.
    let allowed = exchange.report.started() + limits.timeout;
    let deadline = Some(if allowed + GRACE >= until { until.max(allowed) + GRACE } else { allowed });
    exchange.slot().enter(Phase::Held, deadline);
    worker.slots.due_at(deadline);
    let (ending, waited) = poll_fn(|cx| {
        if worker.live.with(|snapshot| snapshot.held()).is_none() {
            return Poll::Ready((Ending::Released, Ok(())));
        }
        match exchange.slot().fired() {
            Some(Fired::Deadline) => return Poll::Ready((Ending::Expired, Err(Kind::HoldExpired))),
            Some(Fired::Cut) => return Poll::Ready((Ending::Expired, Err(Kind::Stopping))),
            Some(Fired::Ended | Fired::Idle | Fired::Closing) | None => {}
        }
        side.poll_gone(cx).map(|()| (Ending::ClientLeft, Err(Kind::ClientLeft)))
    })
    .await;
    place.ending = ending;
    exchange.slot().enter(Phase::Request, None);
    if exchange.slot().fired() == Some(Fired::Deadline) {
        exchange.slot().take_fired();
    }
    Ok(waited?)
}

#[cfg(test)]
mod tests;
