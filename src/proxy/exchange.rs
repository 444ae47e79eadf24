//! One request from its parsed head to the last byte of its answer: what it holds, and what is reported of it.
//!
//! Everything is given back by drop, so it makes no difference whether an exchange ends well, fails, times out, or its
//! client hangs up: the lease, the place under a limit, the counts and the line in the access log always follow.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use crate::proxy::body::Upload;
use crate::proxy::client::ClientConnection;
use crate::proxy::clock;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::headers;
use crate::proxy::pool::Endpoint;
use crate::proxy::slot::{Fired, Phase};
use crate::proxy::snapshot::{Admission, Place};
use crate::telemetry::access_log::Entry;
use crate::telemetry::meter::InFlightKind;

/// What is held and known of one request.
pub(crate) struct Exchange {
    pub(crate) client: Rc<ClientConnection>,
    started: Instant,
    facts: Option<Box<Facts>>,
    admitted: Option<Admitted>,
    pub(crate) upload: Option<Rc<Upload>>,
    counted: InFlightKind,
    status: u16,
    first_byte: Option<Duration>,
    sent: Option<Instant>,
    bytes_out: u64,
    retries: u32,
    error: Option<&'static str>,
}

struct Admitted {
    admission: Arc<Admission>,
    endpoint: Option<usize>,
    _place: Option<Place>,
}

/// What only the access log wants to know.
struct Facts {
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    request_id: HeaderValue,
    traceparent: Option<HeaderValue>,
    client: IpAddr,
}

impl Exchange {
    /// Begins with the parsed head.
    pub(crate) fn begin(client: Rc<ClientConnection>) -> Exchange {
        Exchange {
            started: client.worker.now(),
            client,
            facts: None,
            admitted: None,
            upload: None,
            counted: InFlightKind::Request,
            status: 0,
            first_byte: None,
            sent: None,
            bytes_out: 0,
            retries: 0,
            error: None,
        }
    }

    /// Notes what the access log will say; called only where there is one.
    pub(crate) fn note(
        &mut self,
        (method, uri, version): (&Method, &Uri, Version),
        headers: &HeaderMap,
        request_id: &HeaderValue,
        client: IpAddr,
    ) {
        self.facts = Some(Box::new(Facts {
            method: method.clone(),
            uri: uri.clone(),
            version,
            host: headers.get(http::header::HOST).cloned(),
            request_id: request_id.clone(),
            traceparent: headers.get(headers::TRACEPARENT).cloned(),
            client,
        }));
    }

    /// Takes its hold on the live color.
    pub(crate) fn admit(&mut self, admission: Arc<Admission>) -> Result<(), ProxyError> {
        let place = match &admission.limit {
            Some(limit) => Some(limit.take().ok_or(Kind::LimitReached)?),
            None => None,
        };
        admission.meter.entered(InFlightKind::Request);
        self.client.slot.serve(admission.lease.epoch());
        self.admitted = Some(Admitted { admission, endpoint: None, _place: place });
        Ok(())
    }

    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admitted.as_ref().expect("only called after admit").admission
    }

    /// Chooses the endpoint for the next attempt.
    pub(crate) fn choose(&mut self, tried: &[usize]) -> Option<usize> {
        let worker = &self.client.worker;
        let draw = worker.draw();
        let index = worker.index;
        let now = clock::millis(worker.now());
        let admitted = self.admitted.as_mut().expect("only called after admit");
        let pool = &admitted.admission.pool;
        if let Some(before) = admitted.endpoint.take() {
            pool.endpoints[before].load(index).sub(1);
        }
        admitted.endpoint = pool.pick(index, draw, now, tried);
        if let Some(endpoint) = admitted.endpoint {
            pool.endpoints[endpoint].load(index).add(1);
        }
        admitted.endpoint
    }

    /// The endpoint of the present attempt.
    pub(crate) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        let admitted = self.admitted.as_ref()?;
        Some(&admitted.admission.pool.endpoints[admitted.endpoint?])
    }

    pub(crate) fn sent(&mut self) {
        if self.facts.is_some() {
            self.sent = Some(self.now());
        }
    }

    pub(crate) fn retried(&mut self) {
        self.retries += 1;
        self.admission().meter.retries.add(1);
    }

    /// The head of the answer is on its way.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
        if self.facts.is_some() {
            self.first_byte = Some(self.now() - self.started);
        }
    }

    /// The proxy itself answers.
    pub(crate) fn failed(&mut self, error: &ProxyError) {
        self.error = Some(error.name());
        self.answered(error.status().as_u16());
    }

    /// From now on it counts as this kind, and may be silent for `idle_timeout`.
    pub(crate) fn becomes(&mut self, kind: InFlightKind) {
        let meter = &self.admission().meter;
        meter.left(self.counted);
        meter.entered(kind);
        self.counted = kind;
        match kind {
            InFlightKind::Request => {}
            InFlightKind::Stream => {
                let deadline = Some(self.now() + self.idle_timeout());
                self.client.slot.enter(Phase::Body, deadline);
                // It may be earlier than that for the head of the answer was.
                self.client.worker.slots.due_at(deadline);
            }
            InFlightKind::Tunnel => self.client.slot.enter(Phase::Tunnel, None),
        }
    }

    fn now(&self) -> Instant {
        self.client.worker.now()
    }

    fn idle_timeout(&self) -> Duration {
        self.admission().policy.idle_timeout
    }

    /// Body bytes went to the client.
    pub(crate) fn passed(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
        self.client.slot.extend(Some(self.now() + self.idle_timeout()));
    }

    /// Bytes of a tunnel, both ways.
    pub(crate) fn tunnelled(&mut self, bytes_out: u64) {
        self.bytes_out += bytes_out;
    }

    /// The tunnel was ended by a drain or by the end of the process.
    pub(crate) fn tunnel_was_ended(&mut self) {
        self.error = Some(ProxyError::from(Kind::DrainTimeout).name());
    }

    /// Whether the slot fired while the body was under way.
    pub(crate) fn was_ended_in_body(&mut self) -> bool {
        let error = match self.client.slot.fired() {
            Some(Fired::Deadline) => ProxyError::from(Kind::BodyTimeout),
            Some(Fired::Ended) => Kind::DrainTimeout.into(),
            Some(Fired::Cut) => Kind::Stopping.into(),
            Some(Fired::Closing) | None => return false,
        };
        self.error = Some(error.name());
        true
    }

    /// The endpoint broke off in the middle of its answer.
    pub(crate) fn cut_by_endpoint(&mut self) {
        self.error = Some(ProxyError::from(Kind::BodyTimeout).name());
    }

    /// The last byte of the answer is on its way: the connection to the endpoint is free again.
    pub(crate) fn complete(self) {
        let connection = self.client.upstream.borrow_mut().take();
        if let Some(connection) = connection {
            self.client.worker.idle.put(connection, self.now() + self.idle_timeout());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A connection that is still here has not finished its exchange and can't carry another one.
        let unfinished = self.client.upstream.borrow_mut().take().is_some();
        if unfinished && self.status != 0 && self.error.is_none() && !self.was_ended_in_body() {
            self.error = Some(ProxyError::from(Kind::ClientLeft).name());
        }
        self.client.slot.serve(0);
        self.client.between_requests();
        if self.status == 0 {
            self.status = 499;
            self.error = Some(ProxyError::from(Kind::ClientLeft).name());
        }
        let took = self.now() - self.started;
        if let Some(admitted) = &self.admitted {
            let admission = &admitted.admission;
            admission.meter.left(self.counted);
            admission.meter.finished(self.status, took);
            if let Some(endpoint) = admitted.endpoint {
                admission.pool.endpoints[endpoint].load(self.client.worker.index).sub(1);
            }
        }
        self.report(took);
    }
}

impl Exchange {
    fn report(&self, took: Duration) {
        let Some(facts) = &self.facts else { return };
        let mut logger = self.client.worker.logger.borrow_mut();
        let admission = self.admitted.as_ref().map(|admitted| &admitted.admission);
        let client = facts.client.to_string();
        logger.log(&Entry {
            request_id: facts.request_id.as_bytes(),
            // version-traceid-parentid-flags, W3C Trace Context
            trace_id: facts.traceparent.as_ref().and_then(|value| value.as_bytes().get(3..35)),
            client: &client,
            peer: self.client.peer,
            method: facts.method.as_str(),
            host: facts.host.as_ref().map_or(b"", HeaderValue::as_bytes),
            path: facts.uri.path_and_query().map_or("", |path| path.as_str()),
            protocol: if facts.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            status: self.status,
            color: admission.map_or("", |admission| admission.pool.color.as_str()),
            release: admission.map_or("", |admission| &admission.release),
            upstream: admission.map_or("", |admission| &admission.pool.upstream),
            endpoint: self.endpoint().map_or("", |endpoint| &endpoint.name),
            generation: admission.map_or(0, |admission| admission.generation),
            duration: took,
            ttfb: self.first_byte,
            upstream_time: self.sent.and_then(|sent| {
                self.first_byte.map(|first_byte| (self.started + first_byte).saturating_duration_since(sent))
            }),
            bytes_in: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            bytes_out: self.bytes_out,
            retries: self.retries,
            error: self.error,
        });
    }
}

/// The log's line for a head that never became a request: hyper could not read it, or it did not come in time.
pub(crate) fn log_refusal(client: &ClientConnection, status: u16) {
    let mut logger = client.worker.logger.borrow_mut();
    if !logger.is_on() {
        return;
    }
    logger.log(&Entry {
        request_id: b"",
        trace_id: None,
        client: &client.peer.ip().to_canonical().to_string(),
        peer: client.peer,
        method: "",
        host: b"",
        path: "",
        protocol: "",
        status,
        color: "",
        release: "",
        upstream: "",
        endpoint: "",
        generation: 0,
        duration: Duration::ZERO,
        ttfb: None,
        upstream_time: None,
        bytes_in: 0,
        bytes_out: 0,
        retries: 0,
        error: Some(ProxyError::from(Kind::BadRequest).name()),
    });
}
