//! An exchange whose file the other color has, or does not have.

use std::sync::Arc;

use crate::evidence::metering::Outcome;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::snapshot::Admission;
use crate::telemetry::meter::Lingered;

impl Exchange {
    /// The other color has the file, and serves it from here on. That the chosen one does not know it is no evidence.
    pub(crate) fn take_response_of(&mut self, other: Arc<Admission>, endpoint: usize) {
        self.says_nothing(Lingered::Answered);
        let worker = self.client.worker.index;
        let admitted = self.admitted.as_mut().expect("only called after admit");
        admitted.admission.meter.left(self.counted);
        if let Some(before) = admitted.endpoint.replace(endpoint) {
            admitted.admission.pool.endpoints[before].load(worker).sub(1);
        }
        other.meter.entered(self.counted);
        self.slot.serve(other.lease.epoch());
        // Its place under a limit stays: both colors share it.
        admitted.admission = other;
        (self.blame, self.late, self.lingered) = (None, false, true);
    }

    /// What the chosen color answered says nothing about its release.
    pub(crate) fn says_nothing(&mut self, lingered: Lingered) {
        self.admission().meter.lingered(lingered);
        self.count(Outcome::Neither);
    }

    pub(crate) fn is_lingered(&self) -> bool {
        self.lingered
    }
}
