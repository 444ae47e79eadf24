//! Drains: in-flight requests of a color that stopped serving, until the last one ends or the deadline cuts it off.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::control::handle::News;
use crate::control::predecessor;
use crate::control::records::millis;
use crate::control::{Controller, Input};
use crate::domain::color::Color;
use crate::domain::rollout::Event;
use crate::domain::transition::{Drained, InFlight};
use crate::proxy::drain::Drain;

#[derive(Debug, Default)]
pub(super) struct Drains {
    /// From the last publish, until the core sets its deadline.
    retired: Option<Drain>,
    current: Option<Draining>,
    last: Option<Drained>,
    last_number: u64,
}

#[derive(Debug)]
pub(super) struct Draining {
    color: Color,
    number: u64,
    deadline: Instant,
    drain: Drain,
    task: JoinHandle<()>,
}

impl Draining {
    pub(super) fn color(&self) -> Color {
        self.color
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Drains {
    pub(super) fn current(&self) -> Option<&Draining> {
        self.current.as_ref()
    }

    pub(super) fn last(&self) -> Option<&Drained> {
        self.last.as_ref()
    }

    pub(super) fn retire(&mut self, retired: Option<Drain>) {
        self.retired = retired.or_else(|| self.retired.take());
    }

    /// Cancels the drain of a color that serves again.
    pub(super) fn call_off(&mut self, serves: impl Fn(Color) -> bool) {
        if let Some(draining) = self.current.take_if(|draining| serves(draining.color)) {
            draining.task.abort();
            draining.drain.keep_tunnels();
        }
    }

    fn begin(&mut self) -> Option<(u64, Drain)> {
        let drain = self.retired.take()?;
        self.last_number += 1;
        Some((self.last_number, drain))
    }

    fn watch(&mut self, draining: Draining) {
        if let Some(before) = self.current.replace(draining) {
            before.task.abort();
        }
    }

    /// False: another drain has begun since.
    fn end(&mut self, number: u64, drained: &Drained) -> bool {
        let current = self.current.take_if(|draining| draining.number == number).is_some();
        if current {
            self.last = Some(drained.clone());
        }
        current
    }
}

impl Controller {
    pub(super) fn drain(&mut self, color: Color, deadline: Instant) {
        let Some((number, drain)) = self.drains.begin() else { return };
        let began = Instant::now();
        let (inputs, meters) = (self.inputs.clone(), Arc::clone(self.publisher.meters()));
        let before = meters.drained(color);
        if let Some(over) = self.config.drain.ends_tunnels_over() {
            drain.end_tunnels(over);
        }
        let draining = drain.clone();
        let elsewhere = predecessor::drained(self.predecessors.watch(), color);
        let task = tokio::spawn(async move {
            let timed_out = tokio::time::timeout_at(deadline.into(), drain.drained()).await.is_err();
            if timed_out {
                drain.end();
                drain.drained().await;
            }
            // A process before an upgrade cuts off its requests at its own deadline.
            elsewhere.await;
            let ended = meters.drained(color).since(before);
            let _ = inputs.send(Input::Drained(number, Drained { color, took: began.elapsed(), ended, timed_out }));
        });
        self.drains.watch(Draining { color, number, deadline, drain: draining, task });
    }

    pub(super) fn drained(&mut self, number: u64, drained: Drained) {
        if !self.drains.end(number, &drained) {
            return;
        }
        let Drained { color, took, ended, timed_out } = drained;
        self.numbers.tallies_mut().drained(took);
        let took_ms = millis(took);
        let InFlight { requests, streams, tunnels } = ended;
        if timed_out {
            let ended = ended.total();
            tracing::warn!(%color, took_ms, cut_off = ended, requests, streams, tunnels, "Drained; requests left at drain.timeout were cut off");
        } else {
            tracing::info!(%color, took_ms, tunnels, "Drained");
        }
        let _ = self.news.send(News::Drained(drained.clone()));
        self.handle(Event::Drained(drained));
    }
}
