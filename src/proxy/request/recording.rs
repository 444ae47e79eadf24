//! The spans of a sampled request while it is served.

use std::net::IpAddr;
use std::time::Duration;

use crate::telemetry::spans::AttemptSpan;
use crate::telemetry::trace::{TraceContext, new_span};

pub(super) struct Recording {
    /// The trace, with the span of the server.
    pub(super) context: TraceContext,
    /// The span of the client, if it named one.
    pub(super) parent: Option<u64>,
    pub(super) client: IpAddr,
    pub(super) route: Option<usize>,
    pub(super) attempts: Vec<AttemptSpan>,
}

impl Recording {
    /// Continues the trace of the client, or one that begins here.
    pub(super) fn new(given: TraceContext, continues: bool, client: IpAddr) -> Recording {
        let parent = continues.then_some(given.span);
        let context = if continues { given.with_span(new_span()) } else { given };
        Recording { context, parent, client, route: None, attempts: Vec::new() }
    }

    /// Ends the attempt before. Returns the context for the endpoint.
    pub(super) fn begin(&mut self, attempt: AttemptSpan) -> TraceContext {
        self.end(attempt.began);
        let context = self.context.with_span(attempt.id);
        self.attempts.push(attempt);
        context
    }

    pub(super) fn answered(&mut self, status: u16) {
        if let Some(last) = self.attempts.last_mut() {
            last.status = status;
        }
    }

    pub(super) fn broke(&mut self, error: &'static str, at: Duration) {
        if let Some(last) = self.attempts.last_mut() {
            last.error = Some(error);
        }
        self.end(at);
    }

    fn end(&mut self, at: Duration) {
        if let Some(last) = self.attempts.last_mut() {
            last.ended.get_or_insert(at);
        }
    }
}
