//! Holding requests, and the wait for the end of those that are under way.

use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::control::handle::News;
use crate::control::{Controller, Input};
use crate::domain::rollout::{DrainId, Event};
use crate::proxy::drain::Drain;

/// How often the core is told what is left.
const REPORT: Duration = Duration::from_millis(100);

/// The hold that is under way, if one is.
#[derive(Debug, Default)]
pub(super) struct Holding {
    since: Option<Instant>,
    /// Who waits for the end of what is under way.
    emptying: Option<(Drain, AbortHandle)>,
}

impl Holding {
    fn forget_emptying(&mut self) {
        if let Some((drain, task)) = self.emptying.take() {
            task.abort();
            drain.keep_tunnels();
        }
    }
}

impl Controller {
    /// Publishes a snapshot that admits nobody.
    pub(super) fn hold(&mut self, until: Instant) {
        self.hold.forget_emptying();
        self.publisher.hold(Some(until));
        let decision = self.rollout.decision().clone();
        self.publish(&decision);
        if self.hold.since.is_none() {
            self.hold.since = Some(Instant::now());
            tracing::info!(
                at_most_s = until.saturating_duration_since(Instant::now()).as_secs_f64(),
                "Requests are held."
            );
            let _ = self.news.send(News::Held(true));
        }
    }

    /// Publishes one that does.
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
                active = %decision.active,
                took_ms = took.as_micros() as f64 / 1e3,
                waited,
                "Requests go on."
            );
            let _ = self.news.send(News::Held(false));
        }
    }

    /// Says when nothing is under way any more, and what is until then. Requests are held, so nothing begins meanwhile.
    pub(super) fn empty(&mut self, id: DrainId, end: Option<Instant>) {
        let active = self.rollout.active();
        let both = self.publisher.serves(active.other());
        let drain = self.publisher.under_way(active);
        let (inputs, meters) = (self.inputs.clone(), std::sync::Arc::clone(self.publisher.meters()));
        if self.config.drain.ends_tunnels_over().is_some() {
            // Not spread over any time: whoever comes again waits, and the longer the more.
            drain.end_tunnels(Duration::ZERO);
        }
        let emptying = drain.clone();
        let task = tokio::spawn(async move {
            let mut report = tokio::time::interval(REPORT);
            loop {
                tokio::select! {
                    () = drain.drained() => break,
                    _ = report.tick() => {
                        // Again and again: a request that was under way may have become a tunnel since.
                        if end.is_some_and(|end| end <= Instant::now()) {
                            drain.end();
                        }
                        let mut left = meters.in_flight(active);
                        if both {
                            left += meters.in_flight(active.other());
                        }
                        let left = left.into();
                        let _ = inputs.send(Input::Drain(Event::Left(id, left)));
                    }
                }
            }
            let _ = inputs.send(Input::Drain(Event::Emptied(id)));
        });
        self.hold.emptying = Some((emptying, task.abort_handle()));
    }
}
