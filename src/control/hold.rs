//! Holds, and the wait for in-flight requests.

use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::control::handle::News;
use crate::control::{Controller, Input};
use crate::domain::rollout::{DrainId, Event};
use crate::proxy::drain::Drain;

/// Interval of reports about in-flight requests to the core.
const REPORT: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Holding {
    since: Option<Instant>,
    /// The wait for in-flight requests.
    emptying: Option<(Drain, AbortHandle)>,
}

impl Holding {
    pub(super) fn is_held(&self) -> bool {
        self.since.is_some()
    }

    fn forget_emptying(&mut self) {
        if let Some((drain, task)) = self.emptying.take() {
            task.abort();
            drain.keep_tunnels();
        }
    }
}

impl Controller {
    /// Publishes a snapshot that admits no request.
    pub(super) fn hold(&mut self, until: Instant) {
        self.hold.forget_emptying();
        self.publisher.hold(Some(until));
        let decision = self.rollout.decision().clone();
        self.publish(&decision);
        if self.hold.since.is_none() {
            self.hold.since = Some(Instant::now());
            tracing::info!(at_most_s = until.saturating_duration_since(Instant::now()).as_secs_f64(), "Requests held");
            let _ = self.news.send(News::Held(true));
        }
    }

    /// Publishes a snapshot that admits requests.
    pub(super) fn release(&mut self) {
        self.hold.forget_emptying();
        self.publisher.hold(None);
        let decision = self.rollout.decision().clone();
        let waited = self.publisher.waiting().requests;
        self.publish(&decision);
        if let Some(since) = self.hold.since.take() {
            let took = since.elapsed();
            self.numbers.tallies_mut().held(took);
            tracing::info!(
                color = %decision.active,
                took_ms = took.as_micros() as f64 / 1e3,
                requests = waited,
                "Requests released"
            );
            let _ = self.news.send(News::Held(false));
        }
    }

    /// Reports in-flight requests, and their end. Held requests wait, so none begins meanwhile.
    pub(super) fn empty(&mut self, id: DrainId, end: Option<Instant>) {
        let active = self.rollout.active();
        let both = self.publisher.serves(active.other());
        let drain = self.publisher.under_way(active);
        let (inputs, meters) = (self.inputs.clone(), std::sync::Arc::clone(self.publisher.meters()));
        if self.config.drain.ends_tunnels_over().is_some() {
            // All at once: clients that reconnect are held.
            drain.end_tunnels(Duration::ZERO);
        }
        let emptying = drain.clone();
        let task = tokio::spawn(async move {
            let mut report = tokio::time::interval(REPORT);
            loop {
                tokio::select! {
                    () = drain.drained() => break,
                    _ = report.tick() => {
                        // Repeatedly: an in-flight request may have become a tunnel.
                        if end.is_some_and(|end| end <= Instant::now()) {
                            drain.end();
                        }
                        let mut left = meters.in_flight(active);
                        if both {
                            left += meters.in_flight(active.other());
                        }
                        let _ = inputs.send(Input::Drain(Event::StillInFlight(id, left)));
                    }
                }
            }
            let _ = inputs.send(Input::Drain(Event::Emptied(id)));
        });
        self.hold.emptying = Some((emptying, task.abort_handle()));
    }
}
