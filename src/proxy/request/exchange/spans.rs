//! The spans of an exchange, where its trace is recorded: one for each attempt, and one for the whole.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::recording::Recording;
use crate::proxy::request::report::Report;
use crate::proxy::snapshot::admission::Admission;
use crate::telemetry::spans::{AttemptSpan, RequestSpans};
use crate::telemetry::trace::new_span;
use crate::wire::head::Name;

impl Exchange {
    pub(super) fn note_route(&mut self) {
        let Some(recording) = &mut self.report.recording else { return };
        recording.route = self.claims.slot().trial.get().map(|trial| trial.route().index());
    }

    /// At the chosen endpoint.
    pub(crate) fn begin_attempt(&mut self) {
        if self.report.recording.is_some()
            && let Some(index) = self.claims.endpoint_index()
        {
            let admission = Arc::clone(self.admission());
            self.begin_attempt_at(&admission, index);
        }
    }

    pub(crate) fn begin_attempt_at(&mut self, admission: &Admission, endpoint: usize) {
        let began = self.now() - self.report.started();
        let Some(recording) = &mut self.report.recording else { return };
        let pool = &admission.pool;
        let context = recording.begin(AttemptSpan {
            id: new_span(),
            began,
            ended: None,
            color: pool.color.as_str(),
            release: Arc::clone(&admission.release),
            upstream: Arc::clone(&pool.upstream),
            endpoint: pool.endpoints[endpoint].name.clone(),
            status: 0,
            error: None,
        });
        self.head.set(Name::Traceparent, &context.text());
    }

    pub(crate) fn attempt_answered(&mut self, status: u16) {
        if let Some(recording) = &mut self.report.recording {
            recording.answered(status);
        }
    }

    pub(crate) fn attempt_broke(&mut self, kind: ErrorKind) {
        let at = self.now() - self.report.started();
        if let Some(recording) = &mut self.report.recording {
            recording.broke(ProxyError::from(kind).name(), at);
        }
    }

    pub(super) fn export(&mut self, now: Instant) {
        let Some(recording) = self.report.recording.take() else { return };
        let Recording { context, parent, client, route, mut attempts } = *recording;
        let duration = now - self.report.started();
        let error = self.report.error();
        if let Some(last) = attempts.last_mut().filter(|last| last.ended.is_none() && last.error.is_none()) {
            last.error = error;
        }
        let head = &self.head;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let spans = RequestSpans {
            context,
            parent,
            began: SystemTime::now().checked_sub(duration).unwrap_or(UNIX_EPOCH),
            duration,
            method: Report::method(head).to_owned(),
            path: head.path().to_owned(),
            host: text(head.get(Name::Host).unwrap_or_default()),
            scheme: if self.client.listener.is_tls() { "https" } else { "http" },
            protocol: head.version.as_str(),
            client,
            user_agent: head.named(b"user-agent").map(text),
            request_id: text(head.get(Name::XRequestId).unwrap_or_default()),
            route,
            status: self.report.status(),
            grpc_status: self.report.grpc_status(),
            error,
            generation: self.claims.admission_if_any().map_or(0, |admission| admission.generation),
            preview: self.preview.is_some(),
            retries: self.report.retries(),
            attempts,
        };
        let worker = &self.client.worker;
        worker.live.spans.of(worker.index).push(Box::new(spans));
    }
}
