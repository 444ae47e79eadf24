//! The end of an exchange: evidence, meters, the line of the access log, and then the release of its resources.

use crate::proxy::deadlines::Fired;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::exchange::Exchange;

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Exchange {
    /// Once.
    pub(super) fn finish(&mut self) {
        if !self.report.finish() {
            return;
        }
        let slot = self.claims.slot();
        let drained = self.drained || slot.fired() == Some(Fired::Ended);
        if matches!(slot.fired(), Some(Fired::Deadline | Fired::Idle | Fired::Ended)) {
            slot.take_fired();
        }
        if !self.report.is_answered() {
            match self.cut_by(ErrorKind::ClientLeft) {
                Some(kind) => self.failed(&kind.into()),
                None => self.report.leave_unanswered(),
            }
        }
        let now = self.now();
        self.export(now);
        let worker = &self.client.worker;
        if let Some(refusal) = self.report.refusal() {
            worker.refuse(refusal);
        }
        self.count(self.report.outcome(&self.head, self.claims.slot(), now));
        if let Some(admission) = self.claims.admission_if_any() {
            if drained {
                admission.meter.ended(self.claims.kind());
            }
            let took = now - self.report.started();
            admission.meter.finished(self.report.as_http(), took);
            if let Some(trace) = self.report.trace {
                admission.meter.exemplify(trace.get(), took);
            }
            if let Some(time) = self.report.upstream_time() {
                admission.meter.answered(time);
            }
        }
        self.report.log(&self.client, &self.head, &self.claims, self.preview.is_some(), now);
        self.claims.release();
    }
}
