//! The drain of a color: waiting for its requests, and ending them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::domain::color::Color;
use crate::proxy::commands::Command;
use crate::proxy::deadlines::slots::Tunnels;
use crate::proxy::snapshot::lease::Epoch;

#[derive(Clone, Debug)]
pub struct Drain {
    #[cfg_attr(not(feature = "internals"), expect(dead_code, reason = "only tests ask"))]
    pub color: Color,
    epochs: Vec<Arc<Epoch>>,
    workers: Arc<[mpsc::UnboundedSender<Command>]>,
}

impl Drain {
    pub(super) fn new(color: Color, epochs: Vec<Arc<Epoch>>, workers: Arc<[mpsc::UnboundedSender<Command>]>) -> Drain {
        Drain { color, epochs, workers }
    }

    #[cfg(test)]
    pub(crate) fn is_over(&self) -> bool {
        self.epochs.iter().all(|epoch| epoch.is_over())
    }

    pub async fn drained(&self) {
        for epoch in &self.epochs {
            epoch.over().await;
        }
    }

    /// Ends the remaining requests: they get 504, WebSockets a close frame, everything else is cut. [`Drain::drained`]
    /// resolves soon after.
    pub fn end(&self) {
        self.tell(Command::End);
    }

    /// Closes the tunnels, evenly over this time (`drain.streams`), and those that requests in flight become.
    pub fn end_tunnels(&self, over: Duration) {
        let by = Instant::now() + over;
        self.tell(|epoch| Command::EndTunnels(Tunnels::Of(epoch), by));
    }

    pub fn keep_tunnels(&self) {
        self.tell(Command::KeepTunnels);
    }

    fn tell(&self, order: impl Fn(u64) -> Command) {
        for worker in &*self.workers {
            for epoch in &self.epochs {
                // A worker that has ended has nothing left to end.
                let _ = worker.send(order(epoch.id));
            }
        }
    }
}
