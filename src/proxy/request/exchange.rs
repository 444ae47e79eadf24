//! One request from its parsed head to the last byte of its answer: its resources ([`Claims`]) and its record
//! ([`Report`]).
//!
//! A dropped exchange is reported and gives everything back, whether it ends well, fails, times out, or its client
//! hangs up.

mod evidence;
mod finish;
mod handover;
mod spans;
mod timing;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::config::VisitorCookie;
use crate::proxy::blame::Blame;
use crate::proxy::client::Client;
use crate::proxy::deadlines::DeadlineSlot;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::request::claims::Claims;
use crate::proxy::request::report::Report;
use crate::proxy::snapshot::admission::Admission;
use crate::proxy::snapshot::mark::Mark;
use crate::proxy::snapshot::split::Granted;
use crate::proxy::snapshot::visitor::NewVisitor;
use crate::sys::buffered;
use crate::telemetry::meter::InFlightKind;
use crate::telemetry::refused::Refusal;
use crate::wire::head::{Head, Name};
use crate::wire::http2::server::Cut;

pub(crate) struct Exchange {
    pub(crate) client: Rc<Client>,
    /// The request's head, as it goes to the endpoint.
    pub(crate) head: Head,
    pub(crate) preview: Option<Arc<Mark>>,
    pub(crate) via: bool,
    pub(super) report: Report,
    claims: Claims,
    visitor: Option<(NewVisitor, Arc<VisitorCookie>)>,
    /// The answer has no natural end, so other timeouts apply.
    streaming: bool,
    /// A drain closed the tunnel.
    drained: bool,
}

impl Exchange {
    pub(crate) fn begin(client: Rc<Client>, slot: Rc<DeadlineSlot>, head: Head) -> Exchange {
        Exchange {
            report: Report::new(client.worker.now()),
            claims: Claims::new(slot, client.worker.index),
            client,
            head,
            preview: None,
            via: true,
            visitor: None,
            streaming: false,
            drained: false,
        }
    }

    /// A head of HTTP/2 is charged to its connection instead.
    pub(crate) fn charge_head(&mut self) {
        self.claims.charge_head(self.head.size());
    }

    pub(crate) fn claim(&mut self, granted: Granted) -> Result<(), ProxyError> {
        if buffered::is_full() {
            return Err(ErrorKind::Exhausted(Resource::Memory).into());
        }
        let Granted { admission, counted, user, visitor } = granted;
        self.visitor = visitor;
        self.claims.take(admission)?;
        self.begin_counting(counted, user);
        self.note_route();
        Ok(())
    }

    pub(crate) fn now(&self) -> Instant {
        self.client.worker.now()
    }

    pub(crate) fn slot(&self) -> &Rc<DeadlineSlot> {
        self.claims.slot()
    }

    pub(crate) fn admission(&self) -> &Arc<Admission> {
        self.claims.admission()
    }

    pub(crate) fn in_flight_kind(&self) -> InFlightKind {
        self.claims.kind()
    }

    pub(crate) fn choose(&mut self, tried: &[usize]) -> Option<usize> {
        self.claims.choose(&self.client.worker, tried)
    }

    pub(crate) fn no_endpoint(&self) -> ErrorKind {
        if self.preview.is_some() { ErrorKind::NoPreview } else { ErrorKind::NoEndpoint }
    }

    pub(crate) fn target(&self) -> (&Arc<Endpoint>, &Pool) {
        self.claims.target()
    }

    pub(crate) fn report_to_pool(&self, index: usize, well: bool) {
        let (pool, worker) = (&self.admission().pool, &self.client.worker);
        let now = worker.millis();
        if well {
            pool.succeeded(index, now);
        } else if pool.failed(index, now, worker.draw()) {
            let endpoint = &pool.endpoints[index].name;
            // Connections to it may be as broken as it is.
            pool.endpoints[index].renew(Instant::now());
            tracing::warn!(color = %pool.color, upstream = %pool.upstream, %endpoint, "Endpoint ejected: it failed too often");
        }
    }

    /// Each request earns a part of a retry.
    pub(crate) fn earn_retries(&self, percent: u8) {
        let worker = &self.client.worker;
        worker.budget(self.admission().number, percent, |budget| budget.deposit(worker.millis()));
    }

    /// Takes a retry out of the budget; false: none is left.
    pub(crate) fn may_retry(&self, percent: u8) -> bool {
        let worker = &self.client.worker;
        worker.budget(self.admission().number, percent, |budget| budget.withdraw(worker.millis()))
    }

    pub(crate) fn note_retry(&mut self) {
        self.report.note_retry();
        self.admission().meter.retries.add(1);
    }

    /// `late`: the endpoint waited for the rest of the request.
    pub(crate) fn note_response(&mut self, endpoint: usize, status: u16, late: bool) {
        self.reveal_color();
        self.end_delivery();
        if matches!(status, 404 | 410) {
            self.update_trial(|trial| trial.note_missing(self.head.path_bytes()));
        }
        let blame = self.report.note_response(status, late);
        // An error to half a request says nothing about the endpoint.
        if !(late && blame.is_some()) {
            self.report_to_pool(endpoint, blame != Some(Blame::Endpoint));
        }
    }

    /// The duration of the answer is no latency. A gRPC call reports its outcome at its end; other streams count as
    /// good from their heads until they break.
    pub(crate) fn set_streaming(&mut self, grpc: bool) {
        self.streaming = true;
        let worker = &self.client.worker;
        let began_well = !grpc && self.report.is_good();
        self.update_trial(|trial| {
            trial.first_byte(&worker.trials);
            if began_well {
                worker.trials.answered(trial, self.head.target_bytes());
            }
        });
    }

    pub(crate) fn note_answer(&mut self, status: u16) {
        let first_write = self.claims.admission_if_any().and_then(|admission| admission.first_write.as_ref());
        if let Some(first_write) = first_write {
            first_write.answered(&self.head, status);
        }
        self.report.note_answer(status, self.now());
    }

    pub(crate) fn give_visitor_cookie(&mut self, answer: &mut Head) {
        if let Some((visitor, cookie)) = self.visitor.take() {
            let secure = self.client.listener.is_tls() || self.head.get(Name::XForwardedProto) == Some(b"https");
            visitor.set_cookie(&cookie, secure, answer);
        }
    }

    pub(crate) fn failed(&mut self, error: &ProxyError) {
        self.report.end(error.kind, error.blame);
        self.report.set_refusal(self.refusal(error.kind));
        self.note_answer(error.status());
    }

    pub(crate) fn broke(&mut self, kind: ErrorKind) {
        self.broke_by(kind, kind.blame());
    }

    /// For a place of failure that knows better whose fault it is. The first reason stays.
    pub(crate) fn broke_by(&mut self, kind: ErrorKind, blame: Blame) {
        if self.report.ended().is_some() {
            return;
        }
        let cut = self.cut_by(kind);
        self.report.end(cut.unwrap_or(kind), cut.map_or(blame, ErrorKind::blame));
        if let Some(refusal) = cut.and_then(|cut| self.refusal(cut)) {
            self.report.refuse(refusal);
        }
    }

    /// The proxy's reason to end the client's stream, where the client only seems to have left.
    pub(crate) fn cut_by(&self, kind: ErrorKind) -> Option<ErrorKind> {
        match self.slot().cut()? {
            _ if kind != ErrorKind::ClientLeft => None,
            Cut::Malformed | Cut::Connection => Some(ErrorKind::BadRequest),
            Cut::Memory => Some(ErrorKind::Exhausted(Resource::Memory)),
        }
    }

    /// A request that ended with its connection is counted with the connection.
    fn refusal(&self, kind: ErrorKind) -> Option<Refusal> {
        kind.refusal().filter(|_| self.slot().cut() != Some(Cut::Connection))
    }

    pub(crate) fn end(mut self) -> Head {
        // The report needs the head.
        self.finish();
        std::mem::take(&mut self.head)
    }
}
