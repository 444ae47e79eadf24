//! Held requests: no color gets them until the hold ends.
//!
//! **An empty color.** A snapshot that holds has no admissions, and so no leases. A request is admitted by cloning an
//! admission out of the live snapshot, in one look ([`Live::with`](crate::proxy::live::Live::with)). The publish takes
//! the old snapshot out of the `ArcSwap`; it drops, with its leases, after the last worker that reads it. A worker
//! either reads the new snapshot and finds no admission, or still reads the old one and keeps its leases alive,
//! followed by the request's own lease. So once a color's epoch has no lease left, no worker reads the old snapshot, no
//! request under it is in flight, and no lease can be taken: the next snapshot with leases is published only after
//! that.
//!
//! **The end of a hold.** A held request looks at the live snapshot whenever it wakes, and workers wake held requests
//! *after* the publish. A request that looked before the publish has entered its phase in the same poll, on the thread
//! that receives the wake-up, so it is found. A later one sees the new snapshot.
//!
//! Work that an application goes on doing for a client that has left, or was told 504, is invisible to a proxy.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::proxy::deadlines::{Fired, Phase};
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::exchange::Exchange;
use crate::telemetry::metrics::Ending;
use crate::wire::http1::body::Framing;
use crate::wire::side::Side;

/// The controller ends a hold. Only if it does not, requests are answered this much later.
const GRACE: Duration = Duration::from_secs(1);

/// Waits until the live snapshot holds no more; the request then looks again.
pub(crate) async fn wait(exchange: &Exchange, side: &mut Side) -> Result<(), ProxyError> {
    let worker = &exchange.client.worker;
    let Some((until, limits)) = worker.live.with(|snapshot| snapshot.held()) else { return Ok(()) };
    let framing = Framing::of_request(&exchange.head, side.is_bodiless())?;
    let bytes = exchange.head.size() + side.room_while_held(framing);
    let Some(mut place) = worker.live.queue.enter(bytes, &limits) else { return Err(ErrorKind::HoldFull.into()) };
    // The hold ends within the allowed wait: wait for its end. Otherwise wait as long as is allowed.
    let allowed = exchange.report.started() + limits.timeout;
    let deadline = Some(if allowed + GRACE >= until { until.max(allowed) + GRACE } else { allowed });
    exchange.slot().enter(Phase::Held, deadline);
    worker.slots.due_at(deadline);
    let (ending, waited) = poll_fn(|cx| {
        if worker.live.with(|snapshot| snapshot.held()).is_none() {
            return Poll::Ready((Ending::Released, Ok(())));
        }
        match exchange.slot().fired() {
            Some(Fired::Deadline) => return Poll::Ready((Ending::Expired, Err(ErrorKind::HoldExpired))),
            Some(Fired::Cut) => return Poll::Ready((Ending::Expired, Err(ErrorKind::Stopping))),
            Some(Fired::Ended | Fired::Idle | Fired::Closing) | None => {}
        }
        side.poll_gone(cx).map(|()| (Ending::ClientLeft, Err(ErrorKind::ClientLeft)))
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
