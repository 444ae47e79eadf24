//! An exchange as evidence about the release that it was given to.

use crate::evidence::routes::User;
use crate::evidence::trial::{Counted, Outcome, Trial};
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::outcome::cause;
use crate::proxy::request::exchange::Exchange;

impl Exchange {
    pub(super) fn begin_counting(&self, counted: Counted, user: Option<User>) {
        if counted != Counted::Not {
            let (trials, target) = (&self.client.worker.trials, self.head.target_bytes());
            let trial = trials.begin(counted, target, self.admission().pool.color, user);
            self.slot().trial.set(Some(trial));
        }
    }

    pub(super) fn update_trial(&self, learn: impl FnOnce(&mut Trial)) {
        let cell = &self.slot().trial;
        if let Some(mut trial) = cell.get() {
            learn(&mut trial);
            cell.set(Some(trial));
        }
    }

    /// Later calls do nothing.
    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(trial) = self.slot().trial.take() {
            self.client.worker.trials.end(trial, outcome, self.head.target_bytes());
        }
    }

    pub(crate) fn attempt_failed(&self, kind: ErrorKind) {
        self.update_trial(|trial| trial.attempt_failed(cause(kind)));
    }

    pub(crate) fn begin_delivery(&self) {
        if !self.report.is_answered() {
            self.update_trial(|trial| trial.begins_delivery(self.now()));
        }
    }

    pub(crate) fn end_delivery(&self) {
        self.update_trial(|trial| trial.ends_delivery(self.now()));
    }

    /// Part of an answer goes to the client, which may know its color from it.
    pub(crate) fn reveal_color(&self) {
        self.update_trial(Trial::tells_color);
    }

    pub(crate) fn wait_for_client(&self, waits: bool) {
        self.update_trial(|trial| trial.waits_for_client(waits, self.now()));
    }
}
