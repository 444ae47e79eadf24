//! The deadlines of an exchange, and the errors that they stand for.

use std::time::Duration;

use crate::evidence::trial::{Outcome, Trial};
use crate::proxy::deadlines::{Fired, Phase};
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::headers;
use crate::proxy::request::exchange::Exchange;
use crate::telemetry::meter::InFlightKind;

impl Exchange {
    /// Streams and tunnels have timeouts of their own.
    pub(crate) fn set_in_flight_kind(&mut self, kind: InFlightKind) {
        self.claims.set_kind(kind);
        let slots = &self.client.worker.slots;
        match kind {
            InFlightKind::Request => {}
            InFlightKind::Stream => {
                let deadline = Some(self.now() + self.idle_timeout());
                self.slot().enter(Phase::Body, deadline);
                // May be earlier than the deadline for the head.
                slots.due_at(deadline);
            }
            InFlightKind::Tunnel => {
                // Both ends of a tunnel decide how it goes.
                self.update_trial(Trial::untimed);
                self.count(Outcome::Good);
                slots.enter_tunnel(self.slot());
            }
        }
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        let timeouts = &self.admission().timeouts;
        if self.streaming { timeouts.stream_idle_timeout } else { timeouts.idle_timeout }
    }

    /// Part of the request went; the next part has to come, or to be taken, in time.
    pub(crate) fn extend_deadline(&self, for_client: bool) {
        let timeouts = &self.admission().timeouts;
        let timeout = match for_client {
            // A gRPC call whose request is open is a stream of messages.
            true if self.streaming || headers::is_grpc(&self.head) => timeouts.stream_idle_timeout,
            true => timeouts.idle_timeout,
            false => timeouts.response_timeout,
        };
        self.client.worker.slots.enter(self.slot(), self.slot().phase(), timeout);
        self.forget_overdue();
    }

    pub(crate) fn wait_for_answer(&self) {
        if self.slot().phase() == Phase::Request {
            self.extend_deadline(false);
        }
    }

    /// Part of the answer went to the client; the next part has to follow in time.
    pub(crate) fn extend_for_body(&self) {
        let deadline = Some(self.now() + self.idle_timeout());
        self.slot().extend(deadline);
        self.client.worker.slots.due_at(deadline);
        self.forget_overdue();
    }

    pub(crate) fn extend_tunnel(&self) {
        let until = self.now() + self.admission().timeouts.stream_idle_timeout;
        self.slot().quiet_until(until);
        self.client.worker.slots.due_at(Some(until));
        if self.slot().fired() == Some(Fired::Idle) {
            self.slot().take_fired();
        }
    }

    pub(crate) fn begin_closing(&mut self, timeout: Duration, drained: bool) {
        self.drained = drained;
        self.slot().take_fired();
        self.client.worker.slots.enter(self.slot(), Phase::Ending, timeout);
    }

    /// Bytes that came during a pause of the process have kept their deadline.
    fn forget_overdue(&self) {
        if self.is_overdue() {
            self.slot().take_fired();
        }
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.slot().fired() == Some(Fired::Deadline)
    }

    /// The reason to give up before an answer.
    pub(crate) fn fired(&self) -> Option<ProxyError> {
        match self.slot().fired()? {
            Fired::Deadline => Some(ErrorKind::ResponseTimeout.into()),
            Fired::Ended => Some(ErrorKind::DrainTimeout.into()),
            Fired::Cut => Some(ErrorKind::Stopping.into()),
            Fired::Closing | Fired::Idle => None,
        }
    }

    /// Notes that a drain or the stop of the process cuts the body off; false: neither does.
    pub(crate) fn note_cut_off(&mut self) -> bool {
        let kind = match self.slot().fired() {
            Some(Fired::Ended) => ErrorKind::DrainTimeout,
            Some(Fired::Cut) => ErrorKind::Stopping,
            Some(Fired::Deadline | Fired::Idle | Fired::Closing) | None => return false,
        };
        self.broke(kind);
        true
    }

    pub(crate) fn silence(&self) -> ErrorKind {
        if self.streaming { ErrorKind::StreamIdle } else { ErrorKind::BodyTimeout }
    }
}
