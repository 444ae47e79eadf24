//! Messages to the controller, from every side.

use tokio::sync::mpsc;

use crate::control::Input;
use crate::control::handle::Request;
use crate::control::probe::HealthChange;
use crate::notify::Alarm;
use crate::proxy::pool::stated::WrongRelease;
use crate::proxy::snapshot::first_write::FirstWriteSeen;

#[derive(Debug)]
pub(super) struct Inbox {
    inputs: mpsc::UnboundedReceiver<Input>,
    requests: mpsc::Receiver<Request>,
    health_changes: mpsc::UnboundedReceiver<HealthChange>,
    first_writes: mpsc::UnboundedReceiver<FirstWriteSeen>,
    wrong_releases: mpsc::UnboundedReceiver<WrongRelease>,
    alarms: mpsc::UnboundedReceiver<Alarm>,
}

pub(super) enum Incoming {
    Input(Input),
    Request(Request),
    Health(HealthChange),
    FirstWrite(FirstWriteSeen),
    WrongRelease(WrongRelease),
    Alarm(Alarm),
}

impl Inbox {
    pub(super) fn new(
        (inputs, requests): (mpsc::UnboundedReceiver<Input>, mpsc::Receiver<Request>),
        health_changes: mpsc::UnboundedReceiver<HealthChange>,
        first_writes: mpsc::UnboundedReceiver<FirstWriteSeen>,
        wrong_releases: mpsc::UnboundedReceiver<WrongRelease>,
        alarms: mpsc::UnboundedReceiver<Alarm>,
    ) -> Inbox {
        Inbox { inputs, requests, health_changes, first_writes, wrong_releases, alarms }
    }

    /// Losing a race in `select!` loses no message.
    pub(super) async fn next(&mut self) -> Incoming {
        tokio::select! {
            Some(input) = self.inputs.recv() => Incoming::Input(input),
            Some(request) = self.requests.recv() => Incoming::Request(request),
            Some(change) = self.health_changes.recv() => Incoming::Health(change),
            Some(seen) = self.first_writes.recv() => Incoming::FirstWrite(seen),
            Some(wrong) = self.wrong_releases.recv() => Incoming::WrongRelease(wrong),
            Some(alarm) = self.alarms.recv() => Incoming::Alarm(alarm),
            else => std::future::pending().await,
        }
    }

    pub(super) fn try_first_write(&mut self) -> Option<FirstWriteSeen> {
        self.first_writes.try_recv().ok()
    }
}
