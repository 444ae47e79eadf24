//! The resources of one request; their drop is the release: a lease on a color, a place under a limit, the load on an
//! endpoint, the epoch in the deadline slot.

use std::rc::Rc;
use std::sync::Arc;

use crate::proxy::deadlines::DeadlineSlot;
use crate::proxy::kind::Kind;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::snapshot::admission::{Admission, Place};
use crate::proxy::worker::Worker;
use crate::sys::buffered::Charge;
use crate::telemetry::meter::InFlightKind;

pub(super) struct Held {
    slot: Rc<DeadlineSlot>,
    head: Charge,
    admitted: Option<Admitted>,
    kind: InFlightKind,
    worker: usize,
}

struct Admitted {
    admission: Arc<Admission>,
    endpoint: Option<usize>,
    _place: Option<Place>,
}

impl Held {
    pub(super) fn new(slot: Rc<DeadlineSlot>, worker: usize) -> Held {
        Held { slot, head: Charge::default(), admitted: None, kind: InFlightKind::Request, worker }
    }

    pub(super) fn charge_head(&mut self, bytes: usize) {
        self.head.set(bytes);
    }

    pub(super) fn slot(&self) -> &Rc<DeadlineSlot> {
        &self.slot
    }

    pub(super) fn admit(&mut self, admission: Arc<Admission>) -> Result<(), Kind> {
        let place = match &admission.limit {
            Some(limit) => Some(limit.take().ok_or(Kind::LimitReached)?),
            None => None,
        };
        admission.meter.entered(self.kind);
        self.slot.serve(admission.lease.epoch());
        self.admitted = Some(Admitted { admission, endpoint: None, _place: place });
        Ok(())
    }

    fn admitted(&self) -> &Admitted {
        self.admitted.as_ref().expect("only called after admit")
    }

    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.admitted().admission
    }

    pub(super) fn admission_if_any(&self) -> Option<&Arc<Admission>> {
        self.admitted.as_ref().map(|admitted| &admitted.admission)
    }

    pub(super) fn endpoint_if_any(&self) -> Option<&Arc<Endpoint>> {
        let Admitted { admission, endpoint, .. } = self.admitted.as_ref()?;
        Some(&admission.pool.endpoints[(*endpoint)?])
    }

    pub(super) fn target(&self) -> (&Arc<Endpoint>, &Pool) {
        let Admitted { admission, endpoint, .. } = self.admitted();
        (&admission.pool.endpoints[endpoint.expect("only called where one was chosen")], &admission.pool)
    }

    /// Moves the load as well.
    pub(super) fn choose(&mut self, worker: &Worker, tried: &[usize]) -> Option<usize> {
        let (draw, now) = (worker.draw(), worker.millis());
        let Admitted { admission, endpoint, .. } = self.admitted.as_mut().expect("only called after admit");
        let pool = &admission.pool;
        if let Some(before) = endpoint.take() {
            pool.endpoints[before].load(self.worker).sub(1);
        }
        *endpoint = pool.pick(self.worker, draw, now, tried);
        if admission.by_force && endpoint.is_none() {
            *endpoint = pool.pick_anyhow(draw, tried);
        }
        if let Some(chosen) = *endpoint {
            pool.endpoints[chosen].load(self.worker).add(1);
        }
        *endpoint
    }

    /// Another color serves from here on. The request is already in the load of `endpoint`. The place under a limit
    /// stays: both colors share it.
    pub(super) fn hand_over(&mut self, to: Arc<Admission>, endpoint: Option<usize>) {
        let admitted = self.admitted.as_mut().expect("only called after admit");
        admitted.admission.meter.left(self.kind);
        if let Some(before) = std::mem::replace(&mut admitted.endpoint, endpoint) {
            admitted.admission.pool.endpoints[before].load(self.worker).sub(1);
        }
        to.meter.entered(self.kind);
        self.slot.serve(to.lease.epoch());
        admitted.admission = to;
    }

    pub(super) fn kind(&self) -> InFlightKind {
        self.kind
    }

    pub(super) fn set_kind(&mut self, kind: InFlightKind) {
        let meter = &self.admission().meter;
        meter.left(self.kind);
        meter.entered(kind);
        self.kind = kind;
    }

    /// All but the memory of the head. A second call does nothing.
    pub(super) fn release(&mut self) {
        self.slot.serve(0);
        let Some(Admitted { admission, endpoint, _place }) = self.admitted.take() else { return };
        admission.meter.left(self.kind);
        if let Some(endpoint) = endpoint {
            admission.pool.endpoints[endpoint].load(self.worker).sub(1);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}
