//! The trace of a request: passed on, continued or begun (W3C Trace Context).
//!
//! Without spans of our own, a valid context passes unchanged: a span that nobody exports would cut the trace in two. A
//! malformed context counts as absent, and its `tracestate` goes with it.

use std::net::IpAddr;
use std::num::NonZeroU128;

use crate::config::TraceRules;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::recording::Recording;
use crate::telemetry::trace::TraceContext;
use crate::wire::head::{Head, Name};

/// `records`: the proxy does more than answer a probe of its own readiness. A held request comes here again.
pub(super) fn begin(exchange: &mut Exchange, rules: TraceRules, records: bool, client: impl FnOnce(&Head) -> IpAddr) {
    if std::mem::replace(&mut exchange.report.traced, true) {
        return;
    }
    let given = given(&mut exchange.head);
    let context = match given {
        Some(given) => given,
        None if rules.begin && records => {
            let begun = TraceContext::begin(rules.sample.takes(fastrand::u64(..)));
            exchange.head.push_known(Name::Traceparent, &begun.text());
            begun
        }
        None => return,
    };
    if !context.is_sampled() {
        return;
    }
    exchange.report.trace = NonZeroU128::new(context.trace);
    if rules.export && records {
        let recording = Recording::new(context, given.is_some(), client(&exchange.head));
        exchange.report.recording = Some(Box::new(recording));
    }
}

/// The valid context of a head; another one is removed.
pub(super) fn given(head: &mut Head) -> Option<TraceContext> {
    let valid = {
        let mut all = head.all(Name::Traceparent);
        let first = all.next().and_then(TraceContext::parse);
        first.filter(|_| all.next().is_none())
    };
    if valid.is_none() {
        head.remove(Name::Traceparent);
        head.remove(Name::Tracestate);
    }
    valid
}
