//! An exchange as evidence about the release that it was given to.

use crate::evidence::metering::{Counted, Metered, Outcome};
use crate::evidence::routes::User;
use crate::proxy::kind::Kind;
use crate::proxy::outcome::cause;
use crate::proxy::request::exchange::Exchange;

impl Exchange {
    pub(super) fn begin_counting(&self, counted: Counted, user: Option<User>) {
        if counted != Counted::Not {
            let (metering, target) = (&self.client.worker.metering, self.head.target_bytes());
            let metered = metering.meter(counted, target, self.admission().pool.color, user);
            self.slot().metered.set(Some(metered));
        }
    }

    pub(super) fn metered(&self, learn: impl FnOnce(&mut Metered)) {
        let cell = &self.slot().metered;
        if let Some(mut metered) = cell.get() {
            learn(&mut metered);
            cell.set(Some(metered));
        }
    }

    /// Later calls do nothing.
    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(metered) = self.slot().metered.take() {
            self.client.worker.metering.metered(metered, outcome, self.head.target_bytes());
        }
    }

    pub(crate) fn attempt_failed(&self, kind: Kind) {
        self.metered(|metered| metered.attempt_failed(cause(kind)));
    }

    pub(crate) fn begin_delivery(&self) {
        if !self.report.is_answered() {
            self.metered(|metered| metered.begins_delivery(self.now()));
        }
    }

    pub(crate) fn end_delivery(&self) {
        self.metered(|metered| metered.ends_delivery(self.now()));
    }

    /// Part of an answer goes to the client, which may know its color from it.
    pub(crate) fn reveal_color(&self) {
        self.metered(Metered::tells_color);
    }

    pub(crate) fn wait_for_client(&self, waits: bool) {
        self.metered(|metered| metered.waits_for_client(waits, self.now()));
    }
}
