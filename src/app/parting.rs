//! The last part of a process before an upgrade: while it drains, it tells the new process about its connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::app::upgrade::Successor;
use crate::control::predecessor::Word;
use crate::domain::color::PerColor;
use crate::domain::transition::InFlight;
use crate::sys::handover;
use crate::sys::progress::Progress;
use crate::telemetry::meter::Meters;

/// Interval of looks at the requests in flight.
const REPORT: Duration = Duration::from_millis(100);

/// The reports of a process that drains.
pub(super) struct Parting {
    meters: Arc<Meters>,
    progress: Progress,
    ends: Instant,
}

impl Parting {
    pub(super) fn new(meters: Arc<Meters>, progress: Progress, timeout: Duration) -> Parting {
        Parting { meters, progress, ends: Instant::now() + timeout }
    }

    /// Reports requests in flight until this process ends. Closes idle connections when the new process says so, or
    /// ends.
    pub(super) async fn keep_told(self, successor: Successor, close: impl Fn()) {
        let channel = &successor.channel;
        let (mut told, mut look) = (None, tokio::time::interval(REPORT));
        loop {
            tokio::select! {
                said = channel.async_io(Interest::READABLE, || handover::receive(channel)) => {
                    told = None;
                    if matches!(&said, Ok(Some((text, _))) if Word::read(text) == Some(Word::Report)) {
                        self.report(channel, &mut told);
                        continue;
                    }
                    let before = self.progress.turns();
                    close();
                    while !self.progress.all_turned(&before) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    if !matches!(said, Ok(Some(_))) {
                        let successor = successor.upgraded.pid;
                        tracing::error!(successor, "The process that took over has ended; start the service again");
                        return;
                    }
                    self.report(channel, &mut told);
                    let _ = Word::Closed.send(channel);
                }
                _ = look.tick() => self.report(channel, &mut told),
            }
        }
    }

    fn report(&self, channel: &UnixDatagram, told: &mut Option<PerColor<InFlight>>) {
        let left = PerColor::from_fn(|color| self.meters.in_flight(color));
        let ends_in = self.ends.saturating_duration_since(Instant::now());
        // A full channel gets the next report.
        if *told != Some(left) && Word::left(left, ends_in).send(channel).is_ok() {
            *told = Some(left);
        }
    }
}
