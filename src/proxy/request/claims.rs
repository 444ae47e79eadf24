//! The resources of one request; their drop is the release: a lease on a color, a place under a limit, the load on an
//! endpoint, the epoch in the deadline slot.

use std::rc::Rc;
use std::sync::Arc;

use crate::proxy::deadlines::DeadlineSlot;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::snapshot::admission::{Admission, Place};
use crate::proxy::worker::Worker;
use crate::sys::buffered::Charge;
use crate::telemetry::meter::InFlightKind;

pub(super) struct Claims {
    slot: Rc<DeadlineSlot>,
    head: Charge,
    taken: Option<Taken>,
    kind: InFlightKind,
    worker: usize,
}

struct Taken {
    admission: Arc<Admission>,
    endpoint: Option<usize>,
    _place: Option<Place>,
}

impl Claims {
    pub(super) fn new(slot: Rc<DeadlineSlot>, worker: usize) -> Claims {
        Claims { slot, head: Charge::default(), taken: None, kind: InFlightKind::Request, worker }
    }

    pub(super) fn charge_head(&mut self, bytes: usize) {
        self.head.set(bytes);
    }

    pub(super) fn slot(&self) -> &Rc<DeadlineSlot> {
        &self.slot
    }

    pub(super) fn take(&mut self, admission: Arc<Admission>) -> Result<(), ErrorKind> {
        let place = match &admission.limit {
            Some(limit) => Some(limit.take().ok_or(ErrorKind::LimitReached)?),
            None => None,
        };
        admission.meter.entered(self.kind);
        self.slot.serve(admission.lease.epoch());
        self.taken = Some(Taken { admission, endpoint: None, _place: place });
        Ok(())
    }

    fn taken(&self) -> &Taken {
        self.taken.as_ref().expect("only called after take")
    }

    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.taken().admission
    }

    pub(super) fn admission_if_any(&self) -> Option<&Arc<Admission>> {
        self.taken.as_ref().map(|taken| &taken.admission)
    }

    pub(super) fn endpoint_index(&self) -> Option<usize> {
        self.taken.as_ref()?.endpoint
    }

    pub(super) fn endpoint_if_any(&self) -> Option<&Arc<Endpoint>> {
        let Taken { admission, endpoint, .. } = self.taken.as_ref()?;
        Some(&admission.pool.endpoints[(*endpoint)?])
    }

    pub(super) fn target(&self) -> (&Arc<Endpoint>, &Pool) {
        let Taken { admission, endpoint, .. } = self.taken();
        (&admission.pool.endpoints[endpoint.expect("only called where one was chosen")], &admission.pool)
    }

    /// Moves the load as well.
    pub(super) fn choose(&mut self, worker: &Worker, tried: &[usize]) -> Option<usize> {
        let (draw, now) = (worker.draw(), worker.millis());
        let Taken { admission, endpoint, .. } = self.taken.as_mut().expect("only called after take");
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
        let taken = self.taken.as_mut().expect("only called after take");
        taken.admission.meter.left(self.kind);
        if let Some(before) = std::mem::replace(&mut taken.endpoint, endpoint) {
            taken.admission.pool.endpoints[before].load(self.worker).sub(1);
        }
        to.meter.entered(self.kind);
        self.slot.serve(to.lease.epoch());
        taken.admission = to;
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
        let Some(Taken { admission, endpoint, _place }) = self.taken.take() else { return };
        admission.meter.left(self.kind);
        if let Some(endpoint) = endpoint {
            admission.pool.endpoints[endpoint].load(self.worker).sub(1);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.release();
    }
}
