//! What an exchange gives back and reports when it is over: meters, evidence, the lease, and its line in the access
//! log.

use crate::proxy::blame::Blame;
use crate::proxy::deadlines::Fired;
use crate::proxy::error::ProxyError;
use crate::proxy::kind::Kind;
use crate::proxy::request::exchange::Exchange;
use crate::telemetry::access_log::Entry;
use crate::telemetry::refused::Refusal;
use crate::wire::head::{Name, Version};

impl Drop for Exchange {
    fn drop(&mut self) {
        self.report();
    }
}

impl Exchange {
    pub(super) fn report(&mut self) {
        self.slot.serve(0);
        let drained = self.drained || self.slot.fired() == Some(Fired::Ended);
        if matches!(self.slot.fired(), Some(Fired::Deadline | Fired::Idle | Fired::Ended)) {
            // It was meant for the exchange that is over.
            self.slot.take_fired();
        }
        if self.reported {
            return;
        }
        self.reported = true;
        match self.cut_by(Kind::ClientLeft) {
            Some(kind) if self.status == 0 => self.failed(&kind.into()),
            None if self.status == 0 => {
                self.status = 499;
                self.ended = Some(Kind::ClientLeft);
                self.blame = Some(Blame::Client);
            }
            _ => {}
        }
        let blame = self.blame();
        if let Some(refusal) = self.refused {
            self.client.worker.refuse(refusal);
        }
        self.count(self.outcome());
        let took = self.now() - self.started;
        let upstream_time = self
            .sent
            .zip(self.first_byte)
            .map(|(sent, first_byte)| (self.started + first_byte).saturating_duration_since(sent));
        let admitted = self.admitted.take();
        if let Some(admitted) = &admitted {
            let admission = &admitted.admission;
            admission.meter.left(self.counted);
            if drained {
                admission.meter.ended(self.counted);
            }
            admission.meter.finished(self.as_http(), took);
            if let Some(upstream_time) = upstream_time {
                admission.meter.answered(upstream_time);
            }
            if let Some(endpoint) = admitted.endpoint {
                admission.pool.endpoints[endpoint].load(self.client.worker.index).sub(1);
            }
        }
        let Some(asker) = self.asker else { return };
        let mut logger = self.client.worker.logger.borrow_mut();
        let admission = admitted.as_ref().map(|admitted| &admitted.admission);
        let endpoint =
            admitted.as_ref().and_then(|admitted| Some(&*admitted.admission.pool.endpoints[admitted.endpoint?].name));
        let client = asker.to_string();
        logger.log(&Entry {
            request_id: self.head.get(Name::XRequestId).unwrap_or_default(),
            // version-traceid-parentid-flags, W3C Trace Context
            trace_id: self.head.get(Name::Traceparent).and_then(|value| value.get(3..35)),
            client: &client,
            peer: self.client.peer,
            // An extended CONNECT is handled as the upgrade that it stands for.
            method: match self.head.version {
                Version::Http2 if self.head.extended_connect => "CONNECT",
                _ => self.head.method(),
            },
            host: self.head.get(Name::Host).unwrap_or_default(),
            path: self.head.target(),
            protocol: self.head.version.as_str(),
            status: self.status,
            color: admission.map_or("", |admission| admission.pool.color.as_str()),
            release: admission.map_or("", |admission| &admission.release),
            upstream: admission.map_or("", |admission| &admission.pool.upstream),
            endpoint: endpoint.unwrap_or_default(),
            generation: admission.map_or(0, |admission| admission.generation),
            preview: self.preview.is_some(),
            duration: took,
            ttfb: self.first_byte,
            upstream_time,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            retries: self.retries,
            grpc_status: self.grpc_status,
            shielded: self.shielded,
            lingered: self.lingered,
            refused: self.refused.map(Refusal::label),
            error: self.ended.map(|kind| ProxyError::from(kind).name()),
            blame: blame.map(Blame::as_str),
        });
    }
}
