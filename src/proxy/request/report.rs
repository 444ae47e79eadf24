//! The record of one request, written while it is served, and read once at its end by the access log, the meters and
//! the evidence.

use std::net::IpAddr;
use std::num::NonZeroU128;
use std::time::{Duration, Instant};

use crate::evidence::trial::Outcome;
use crate::proxy::blame::{Blame, DRIVEN_AWAY, grpc_as_http, grpc_timeout};
use crate::proxy::client::Client;
use crate::proxy::deadlines::DeadlineSlot;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::ErrorKind;
use crate::proxy::request::claims::Claims;
use crate::proxy::request::recording::Recording;
use crate::telemetry::access_log::{Entry, Header};
use crate::telemetry::refused::Refusal;
use crate::wire::head::{Head, Name, Version};

pub(super) struct Report {
    started: Instant,
    client: Option<IpAddr>,
    /// 0 before there is an answer.
    status: u16,
    first_byte: Option<Duration>,
    sent: Option<Instant>,
    bytes_in: u64,
    bytes_out: u64,
    retries: u32,
    /// The outcome of a gRPC call; its HTTP status says nothing about that.
    grpc_status: Option<u16>,
    /// The reason of an answer by the proxy itself, or of a cut.
    ended: Option<ErrorKind>,
    blame: Option<Blame>,
    /// The endpoint waited long for the rest of the request before it answered.
    late: bool,
    shielded: bool,
    lingered: bool,
    refused: Option<Refusal>,
    finished: bool,
    /// The head has only a valid trace context, or none.
    pub(super) traced: bool,
    /// The trace, if it is sampled.
    pub(super) trace: Option<NonZeroU128>,
    /// The spans, if they are exported.
    pub(super) recording: Option<Box<Recording>>,
}

impl Report {
    pub(super) fn new(started: Instant) -> Report {
        Report {
            started,
            client: None,
            status: 0,
            first_byte: None,
            sent: None,
            bytes_in: 0,
            bytes_out: 0,
            retries: 0,
            grpc_status: None,
            ended: None,
            blame: None,
            late: false,
            shielded: false,
            lingered: false,
            refused: None,
            finished: false,
            traced: false,
            trace: None,
            recording: None,
        }
    }

    pub(super) fn set_client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn note_response(&mut self, status: u16, late: bool) -> Option<Blame> {
        self.late = late;
        self.blame = match Blame::of_status(status) {
            Some(_) if late => Some(Blame::Client),
            blame => blame,
        };
        self.blame
    }

    pub(super) fn is_good(&self) -> bool {
        self.blame.is_none() && !self.late
    }

    pub(super) fn is_answered(&self) -> bool {
        self.status != 0
    }

    pub(super) fn note_sent(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    pub(super) fn note_retry(&mut self) {
        self.retries += 1;
    }

    pub(super) fn set_bytes_in(&mut self, bytes: u64) {
        self.bytes_in = bytes;
    }

    pub(super) fn set_bytes_out(&mut self, bytes: u64) {
        self.bytes_out = bytes;
    }

    pub(super) fn note_answer(&mut self, status: u16, now: Instant) {
        self.status = status;
        self.first_byte = Some(now - self.started);
    }

    /// From the trailers or, without any, from the head.
    pub(super) fn note_grpc_status(&mut self, fields: &Head) {
        let status = fields.named(b"grpc-status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        self.grpc_status = status.or(self.grpc_status);
    }

    pub(super) fn end(&mut self, kind: ErrorKind, blame: Blame) {
        self.ended = Some(kind);
        self.blame = Some(blame);
    }

    /// The client left before an answer. The number is nginx's.
    pub(super) fn leave_unanswered(&mut self) {
        self.status = 499;
        self.end(ErrorKind::ClientLeft, Blame::Client);
    }

    pub(super) fn ended(&self) -> Option<ErrorKind> {
        self.ended
    }

    /// The first reason stays.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }

    pub(super) fn set_refusal(&mut self, refusal: Option<Refusal>) {
        self.refused = refusal;
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refused
    }

    pub(super) fn set_shielded(&mut self) {
        self.shielded = true;
    }

    pub(super) fn is_shielded(&self) -> bool {
        self.shielded
    }

    pub(super) fn set_lingered(&mut self) {
        (self.blame, self.late, self.lingered) = (None, false, true);
    }

    pub(super) fn is_lingered(&self) -> bool {
        self.lingered
    }

    /// False at the second call.
    pub(super) fn finish(&mut self) -> bool {
        !std::mem::replace(&mut self.finished, true)
    }

    pub(super) fn outcome(&self, head: &Head, slot: &DeadlineSlot, now: Instant) -> Outcome {
        let trial = || slot.trial.get();
        let is_stream = || trial().is_some_and(|trial| trial.is_timed());
        let was_waited_for = || trial().is_some_and(|trial| !trial.is_delivering() && trial.waited(now) >= DRIVEN_AWAY);
        match (self.ended, self.blame(head, now)) {
            // The usual end of a stream.
            (Some(ErrorKind::ClientLeft), _) if is_stream() => Outcome::Good,
            (Some(ErrorKind::ClientLeft), _) if self.status == 499 && was_waited_for() => Outcome::Abort,
            (Some(kind), blame) => Outcome::of_end(kind, blame.unwrap_or(Blame::Nobody)),
            (None, Some(_)) if self.late => Outcome::Neither,
            // CANCELLED and DEADLINE_EXCEEDED by the client's own will.
            (None, Some(Blame::Client)) if self.grpc_status == Some(4) || self.as_http() == 499 => Outcome::Neither,
            (None, blame) => Outcome::of_answer(blame, self.grpc_status.is_some()),
        }
    }

    /// A gRPC call tells in its trailers whose fault its end is.
    fn blame(&self, head: &Head, now: Instant) -> Option<Blame> {
        match self.grpc_status {
            Some(_) if self.ended.is_some() || self.late || self.status != 200 => self.blame,
            Some(4) if self.is_past_own_deadline(head, now) => Some(Blame::Client),
            Some(status) => match grpc_as_http(status) {
                500.. => Some(Blame::Release),
                400.. => Some(Blame::Client),
                _ => None,
            },
            None => self.blame,
        }
    }

    fn is_past_own_deadline(&self, head: &Head, now: Instant) -> bool {
        let deadline = head.named(b"grpc-timeout").and_then(grpc_timeout);
        deadline.is_some_and(|deadline| now - self.started >= deadline)
    }

    /// For a gRPC call, the HTTP status that corresponds to its outcome.
    pub(super) fn as_http(&self) -> u16 {
        match self.grpc_status {
            Some(status) if self.status == 200 => grpc_as_http(status),
            Some(_) | None => self.status,
        }
    }

    /// An extended CONNECT is handled as an upgrade.
    pub(super) fn method(head: &Head) -> &str {
        match head.version {
            Version::Http2 if head.extended_connect => "CONNECT",
            _ => head.method(),
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn grpc_status(&self) -> Option<u16> {
        self.grpc_status
    }

    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    pub(super) fn error(&self) -> Option<&'static str> {
        self.ended.map(|kind| ProxyError::from(kind).name())
    }

    /// The time between the request to the endpoint and its answer.
    pub(super) fn upstream_time(&self) -> Option<Duration> {
        let (sent, first_byte) = self.sent.zip(self.first_byte)?;
        Some((self.started + first_byte).saturating_duration_since(sent))
    }

    pub(super) fn log(&self, client: &Client, head: &Head, claims: &Claims, preview: bool, now: Instant) {
        let Some(address) = self.client else { return };
        let admission = claims.admission_if_any();
        let address = address.to_string();
        let header = |wanted: &[u8]| {
            let mut fields = head.fields();
            fields.find(|(_, name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, _, value)| value)
        };
        client.worker.logger.borrow_mut().log(&Entry {
            request_id: head.get(Name::XRequestId).unwrap_or_default(),
            // version-traceid-parentid-flags, W3C Trace Context
            trace_id: head.get(Name::Traceparent).and_then(|value| value.get(3..35)),
            client: &address,
            peer: client.peer,
            method: Report::method(head),
            host: head.get(Name::Host).unwrap_or_default(),
            path: head.target(),
            protocol: head.version.as_str(),
            status: self.status,
            color: admission.map_or("", |admission| admission.pool.color.as_str()),
            release: admission.map_or("", |admission| &admission.release),
            upstream: admission.map_or("", |admission| &admission.pool.upstream),
            endpoint: claims.endpoint_if_any().map_or("", |endpoint| &endpoint.name),
            generation: admission.map_or(0, |admission| admission.generation),
            preview,
            duration: now - self.started,
            ttfb: self.first_byte,
            upstream_time: self.upstream_time(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            retries: self.retries,
            grpc_status: self.grpc_status,
            shielded: self.shielded,
            lingered: self.lingered,
            refused: self.refused.map(Refusal::label),
            error: self.error(),
            blame: self.blame(head, now).map(Blame::as_str),
            header: Header(&header),
        });
    }
}
