//! The handover of a request to another color.

use std::sync::Arc;

use crate::evidence::trial::Outcome;
use crate::proxy::deadlines::Fired;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::snapshot::admission::Admission;
use crate::telemetry::meter::Lingered;

impl Exchange {
    /// The watched release has failed, and the stable one serves. The evidence stays with the release that failed; the
    /// stable one gets none.
    pub(crate) fn shield_by(&mut self, stable: Arc<Admission>, failed: Outcome) {
        self.count(failed);
        self.admission().meter.shielded.add(1);
        self.claims.hand_over(stable, None);
        if self.slot().fired() == Some(Fired::Deadline) {
            self.slot().take_fired();
        }
        self.report.set_shielded();
    }

    /// The other color has the file, and serves it. The request is already in the load of `endpoint`.
    pub(crate) fn take_response_of(&mut self, other: Arc<Admission>, endpoint: usize) {
        self.excuse(Lingered::Answered);
        self.claims.hand_over(other, Some(endpoint));
        self.report.set_lingered();
    }

    /// The answer of the chosen color says nothing about its release.
    pub(crate) fn excuse(&mut self, lingered: Lingered) {
        self.admission().meter.lingered(lingered);
        self.count(Outcome::Neither);
    }
}
