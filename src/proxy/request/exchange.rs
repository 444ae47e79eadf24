//! One request from its parsed head to the last byte of its answer: what it holds, and what is reported of it.
//!
//! Everything is given back by drop, so it makes no difference whether an exchange ends well, fails, times out, or its
//! client hangs up: the lease, the place under a limit, the counts and the line in the access log always follow.

mod linger;
mod report;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::VisitorCookie;
use crate::evidence::metering::Counted;
use crate::evidence::metering::{Metered, Outcome};
use crate::proxy::blame::{Blame, DRIVEN_AWAY, grpc_as_http, grpc_timeout};
use crate::proxy::client::Client;
use crate::proxy::deadlines::{Fired, Phase, Slot};
use crate::proxy::error::ProxyError;
use crate::proxy::headers;
use crate::proxy::kind::{Kind, Resource};
use crate::proxy::outcome::cause;
use crate::proxy::pool::{Endpoint, Pool};
use crate::proxy::snapshot::preview::Mark;
use crate::proxy::snapshot::split::Granted;
use crate::proxy::snapshot::visitor::NewVisitor;
use crate::proxy::snapshot::{Admission, Place};
use crate::sys::buffered::{self, Charge};
use crate::telemetry::meter::InFlightKind;
use crate::telemetry::refused::Refusal;
use crate::wire::head::{Head, Name};
use crate::wire::http2::server::Cut;

/// What is held and known of one request.
pub(crate) struct Exchange {
    pub(crate) client: Rc<Client>,
    pub(crate) slot: Rc<Slot>,
    /// The request's; as it goes to the endpoint.
    pub(crate) head: Head,
    /// Of the head: it is held as long as the request.
    charge: Charge,
    started: Instant,
    /// Who asked, for the access log; `None`: there is none.
    pub(crate) asker: Option<IpAddr>,
    admitted: Option<Admitted>,
    /// It is for the color that does not serve; what its answer has to say then.
    pub(crate) preview: Option<Arc<Mark>>,
    /// The request and its answer get a `Via` field.
    pub(crate) via: bool,
    /// A new user, who gets a cookie with the answer.
    visitor: Option<(NewVisitor, Arc<VisitorCookie>)>,
    counted: InFlightKind,
    status: u16,
    first_byte: Option<Duration>,
    sent: Option<Instant>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    retries: u32,
    /// How a gRPC call ended; its HTTP status says nothing of that.
    grpc_status: Option<u16>,
    /// Why the proxy answered, or cut the answer.
    ended: Option<Kind>,
    /// Who is to blame, as far as something went wrong.
    blame: Option<Blame>,
    /// The client had not sent all of its request when the endpoint answered, and was waited for.
    late: bool,
    /// Its answer goes on for as long as there is something to say.
    streaming: bool,
    /// Another color answers, in the place of the one that it was given to.
    shielded: bool,
    /// The other color had the file that it asks for.
    lingered: bool,
    /// It is a tunnel that a drain has ended.
    drained: bool,
    /// Why it ended here, without an endpoint.
    refused: Option<Refusal>,
    reported: bool,
}

struct Admitted {
    admission: Arc<Admission>,
    endpoint: Option<usize>,
    _place: Option<Place>,
}

impl Exchange {
    /// Begins with the parsed head.
    pub(crate) fn begin(client: Rc<Client>, slot: Rc<Slot>, head: Head) -> Exchange {
        Exchange {
            charge: Charge::default(),
            started: client.worker.now(),
            client,
            slot,
            head,
            asker: None,
            admitted: None,
            preview: None,
            via: true,
            visitor: None,
            counted: InFlightKind::Request,
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
            streaming: false,
            shielded: false,
            lingered: false,
            drained: false,
            refused: None,
            reported: false,
        }
    }

    /// Counts the head in the account of the process. A head of HTTP/2 is in the account of its connection.
    pub(crate) fn charge_head(&mut self) {
        self.charge.set(self.head.size());
    }

    /// Takes its hold on a color.
    pub(crate) fn admit(&mut self, granted: Granted) -> Result<(), ProxyError> {
        if buffered::is_full() {
            return Err(Kind::Exhausted(Resource::Memory).into());
        }
        let Granted { admission, counted, user, visitor } = granted;
        self.visitor = visitor;
        let place = match &admission.limit {
            Some(limit) => Some(limit.take().ok_or(Kind::LimitReached)?),
            None => None,
        };
        admission.meter.entered(InFlightKind::Request);
        self.slot.serve(admission.lease.epoch());
        if counted != Counted::Not {
            let (worker, target) = (&self.client.worker, self.head.target_bytes());
            let metered = worker.metering.meter(counted, target, admission.pool.color, user);
            self.slot.metered.set(Some(metered));
        }
        self.admitted = Some(Admitted { admission, endpoint: None, _place: place });
        Ok(())
    }

    /// What it is counted as learns something.
    fn metered(&self, learn: impl FnOnce(&mut Metered)) {
        if let Some(mut metered) = self.slot.metered.get() {
            learn(&mut metered);
            self.slot.metered.set(Some(metered));
        }
    }

    /// An endpoint is charged with an attempt; the request may go to another one.
    pub(crate) fn attempt_failed(&self, kind: Kind) {
        self.metered(|metered| metered.attempt_failed(cause(kind)));
    }

    /// The client has not sent all of its request.
    pub(crate) fn begins_delivery(&self) {
        if self.status == 0 {
            self.metered(|metered| metered.begins_delivery(self.now()));
        }
    }

    /// The endpoint has all of the request, or has answered it.
    pub(crate) fn ends_delivery(&self) {
        self.metered(|metered| metered.ends_delivery(self.now()));
    }

    /// Something of an answer goes to the client.
    pub(crate) fn tells_color(&self) {
        self.metered(Metered::tells_color);
    }

    /// Whether the answer waits for the client to take it.
    pub(crate) fn waits_for_client(&self, waits: bool) {
        self.metered(|metered| metered.waits_for_client(waits, self.now()));
    }

    /// The head of an endpoint's answer is here. `late`: the client had not sent all of its request, and was waited
    /// for.
    pub(crate) fn note_response(&mut self, endpoint: usize, status: u16, late: bool) {
        self.tells_color();
        self.ends_delivery();
        self.late = late;
        if matches!(status, 404 | 410) {
            self.metered(|metered| metered.note_missing(self.head.path_bytes()));
        }
        self.blame = match Blame::of_status(status) {
            Some(_) if late => Some(Blame::Client),
            blame => blame,
        };
        // An error to half a request says nothing about the endpoint.
        if !(late && self.blame.is_some()) {
            self.report_to_pool(endpoint, self.blame != Some(Blame::Endpoint));
        }
    }

    /// The answer lasts as long as it likes: how long it took is known. A gRPC call says at its end how it went; other
    /// streams are as good as their heads until they break.
    pub(crate) fn streams(&mut self, grpc: bool) {
        self.streaming = true;
        let worker = &self.client.worker;
        let began_well = !grpc && self.blame.is_none() && !self.late;
        self.metered(|metered| {
            metered.first_byte(&worker.metering);
            if began_well {
                worker.metering.answered(metered, self.head.target_bytes());
            }
        });
    }

    /// The color that it was given to has failed it, with this; from here on another one serves it, which is counted
    /// nowhere as if it had been given to it.
    pub(crate) fn hand_over_to(&mut self, stable: Arc<Admission>, failed: Outcome) {
        self.count(failed);
        let worker = self.client.worker.index;
        let admitted = self.admitted.as_mut().expect("only called after admit");
        admitted.admission.meter.left(self.counted);
        admitted.admission.meter.shielded.add(1);
        if let Some(endpoint) = admitted.endpoint.take() {
            admitted.admission.pool.endpoints[endpoint].load(worker).sub(1);
        }
        stable.meter.entered(self.counted);
        if self.slot.fired() == Some(Fired::Deadline) {
            // It was for the answer that did not come.
            self.slot.take_fired();
        }
        self.slot.serve(stable.lease.epoch());
        // Its place under a limit stays: both colors share it.
        admitted.admission = stable;
        self.shielded = true;
    }

    pub(crate) fn is_shielded(&self) -> bool {
        self.shielded
    }

    /// It is over for whoever judges.
    fn count(&self, outcome: Outcome) {
        if let Some(metered) = self.slot.metered.take() {
            self.client.worker.metering.metered(metered, outcome, self.head.target_bytes());
        }
    }

    /// How it ended.
    fn outcome(&self) -> Outcome {
        match (self.ended, self.blame()) {
            // That is how streams end.
            (Some(Kind::ClientLeft), _) if self.is_stream() => Outcome::Good,
            (Some(Kind::ClientLeft), _) if self.status == 499 && self.was_waited_for() => Outcome::Abort,
            (Some(kind), blame) => Outcome::of_end(kind, blame.unwrap_or(Blame::Nobody)),
            (None, Some(_)) if self.late => Outcome::Neither,
            // CANCELLED and DEADLINE_EXCEEDED by the client's own will.
            (None, Some(Blame::Client)) if self.grpc_status == Some(4) || self.as_http() == 499 => Outcome::Neither,
            (None, blame) => Outcome::of_answer(blame, self.grpc_status.is_some()),
        }
    }

    /// The client had delivered its request, and waited long for the release.
    fn was_waited_for(&self) -> bool {
        let metered = self.slot.metered.get();
        metered.is_some_and(|metered| !metered.is_delivering() && metered.waited(self.now()) >= DRIVEN_AWAY)
    }

    fn is_stream(&self) -> bool {
        self.slot.metered.get().is_some_and(|metered| metered.is_timed())
    }

    /// Who is to blame; a gRPC call tells that in its trailers.
    fn blame(&self) -> Option<Blame> {
        match self.grpc_status {
            Some(_) if self.ended.is_some() || self.late || self.status != 200 => self.blame,
            Some(4) if self.has_passed_its_deadline() => Some(Blame::Client),
            Some(status) => match grpc_as_http(status) {
                500.. => Some(Blame::Release),
                400.. => Some(Blame::Client),
                _ => None,
            },
            None => self.blame,
        }
    }

    /// A deadline that the client has set itself is over.
    fn has_passed_its_deadline(&self) -> bool {
        let deadline = self.head.named(b"grpc-timeout").and_then(grpc_timeout);
        deadline.is_some_and(|deadline| self.now() - self.started >= deadline)
    }

    /// Its status; of a gRPC call, what its outcome is in HTTP.
    fn as_http(&self) -> u16 {
        match self.grpc_status {
            Some(status) if self.status == 200 => grpc_as_http(status),
            Some(_) | None => self.status,
        }
    }

    /// When its head was here.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admitted.as_ref().expect("only called after admit").admission
    }

    /// Chooses the endpoint for the next attempt.
    pub(crate) fn choose(&mut self, tried: &[usize]) -> Option<usize> {
        let worker = &self.client.worker;
        let draw = worker.draw();
        let index = worker.index;
        let now = worker.millis();
        let admitted = self.admitted.as_mut().expect("only called after admit");
        let Admission { pool, by_force, .. } = &*admitted.admission;
        if let Some(before) = admitted.endpoint.take() {
            pool.endpoints[before].load(index).sub(1);
        }
        admitted.endpoint = pool.pick(index, draw, now, tried);
        if *by_force && admitted.endpoint.is_none() {
            admitted.endpoint = pool.pick_anyhow(draw, tried);
        }
        if let Some(endpoint) = admitted.endpoint {
            pool.endpoints[endpoint].load(index).add(1);
        }
        admitted.endpoint
    }

    /// Why there is none to choose.
    pub(crate) fn no_endpoint(&self) -> Kind {
        if self.preview.is_some() { Kind::NoPreview } else { Kind::NoEndpoint }
    }

    /// The endpoint of the present attempt, and its pool.
    pub(crate) fn target(&self) -> (&Arc<Endpoint>, &Pool) {
        let admitted = self.admitted.as_ref().expect("only called after admit");
        let pool = &admitted.admission.pool;
        (&pool.endpoints[admitted.endpoint.expect("only called where one was chosen")], pool)
    }

    /// How the endpoint did.
    pub(crate) fn report_to_pool(&self, index: usize, well: bool) {
        let (pool, worker) = (&self.admission().pool, &self.client.worker);
        let now = worker.millis();
        if well {
            pool.succeeded(index, now);
        } else if pool.failed(index, now, worker.draw()) {
            let endpoint = &pool.endpoints[index].name;
            // Nothing is known of the connections to it any more.
            pool.endpoints[index].renew(Instant::now());
            tracing::warn!(color = %pool.color, upstream = %pool.upstream, %endpoint, "An endpoint failed too often and is left out for a while.");
        }
    }

    /// Each request pays for a part of a retry.
    pub(crate) fn earn_retries(&self, percent: u8) {
        let worker = &self.client.worker;
        worker.budget(self.admission().number, percent, |budget| budget.deposit(worker.millis()));
    }

    /// Whether there may be a retry that costs the endpoints something.
    pub(crate) fn may_retry(&self, percent: u8) -> bool {
        let worker = &self.client.worker;
        worker.budget(self.admission().number, percent, |budget| budget.withdraw(worker.millis()))
    }

    pub(crate) fn sent(&mut self) {
        if self.asker.is_some() {
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
        let admission = self.admitted.as_ref().map(|admitted| &admitted.admission);
        if let Some(first_write) = admission.and_then(|admission| admission.first_write.as_ref()) {
            first_write.answered(&self.head, status);
        }
        if self.asker.is_some() {
            self.first_byte = Some(self.now() - self.started);
        }
    }

    /// Gives a new user a cookie.
    pub(crate) fn marks_visitor(&mut self, answer: &mut Head) {
        if let Some((visitor, cookie)) = self.visitor.take() {
            let secure = self.client.listener.is_tls() || self.head.get(Name::XForwardedProto) == Some(b"https");
            visitor.set_cookie(&cookie, secure, answer);
        }
    }

    /// Looks for the outcome of a gRPC call, in its trailers or, if there is nothing else, in its head.
    pub(crate) fn note_grpc_status(&mut self, fields: &Head) {
        let status = fields.named(b"grpc-status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        self.grpc_status = status.or(self.grpc_status);
    }

    /// The proxy itself answers.
    pub(crate) fn failed(&mut self, error: &ProxyError) {
        self.ended = Some(error.kind);
        self.blame = Some(error.blame);
        self.refused = self.refusal(error.kind);
        self.answered(error.status());
    }

    /// The proxy does not pass it on, or not all of it.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }

    /// From now on it counts as this kind, and may be silent for `idle_timeout`.
    pub(crate) fn set_in_flight_kind(&mut self, kind: InFlightKind) {
        let meter = &self.admission().meter;
        meter.left(self.counted);
        meter.entered(kind);
        self.counted = kind;
        match kind {
            InFlightKind::Request => {}
            InFlightKind::Stream => {
                let deadline = Some(self.now() + self.idle_timeout());
                self.slot.enter(Phase::Body, deadline);
                // It may be earlier than that for the head of the answer was.
                self.client.worker.slots.due_at(deadline);
            }
            InFlightKind::Tunnel => {
                // What comes of it is between the two.
                self.metered(Metered::untimed);
                self.count(Outcome::Good);
                self.client.worker.slots.enter_tunnel(&self.slot);
            }
        }
    }

    /// Something goes through the tunnel.
    pub(crate) fn tunnel_moves(&self) {
        let until = self.now() + self.admission().policy.stream_idle_timeout;
        self.slot.quiet_until(until);
        self.client.worker.slots.due_at(Some(until));
        if self.slot.fired() == Some(Fired::Idle) {
            self.slot.take_fired();
        }
    }

    /// The tunnel is being ended, and has so long to be over; for a drain, or because the process stops.
    pub(crate) fn begins_to_end(&mut self, timeout: Duration, drained: bool) {
        self.drained = drained;
        self.slot.take_fired();
        self.client.worker.slots.enter(&self.slot, Phase::Ending, timeout);
    }

    pub(crate) fn now(&self) -> Instant {
        self.client.worker.now()
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        let policy = &self.admission().policy;
        if self.streaming { policy.stream_idle_timeout } else { policy.idle_timeout }
    }

    pub(crate) fn counted(&self) -> InFlightKind {
        self.counted
    }

    /// A piece of the request went; the next one has to come, or to be taken, in time.
    pub(crate) fn extend_deadline(&self, for_client: bool) {
        let policy = &self.admission().policy;
        let timeout = match for_client {
            // A gRPC call whose request is open is a stream of messages.
            true if self.streaming || headers::is_grpc(&self.head) => policy.stream_idle_timeout,
            true => policy.idle_timeout,
            false => policy.response_timeout,
        };
        self.client.worker.slots.enter(&self.slot, self.slot.phase(), timeout);
        self.forget_overdue();
    }

    /// The whole request was sent.
    pub(crate) fn waits_for_answer(&self) {
        if self.slot.phase() == Phase::Request {
            self.extend_deadline(false);
        }
    }

    /// What the slot says about it, before its answer.
    pub(crate) fn fired(&self) -> Option<ProxyError> {
        match self.slot.fired()? {
            Fired::Deadline => Some(Kind::ResponseTimeout.into()),
            Fired::Ended => Some(Kind::DrainTimeout.into()),
            Fired::Cut => Some(Kind::Stopping.into()),
            Fired::Closing | Fired::Idle => None,
        }
    }

    /// Whether a drain or a stop ends it while the body is under way; then that is why it broke.
    pub(crate) fn note_end(&mut self) -> bool {
        let error = match self.slot.fired() {
            Some(Fired::Ended) => Kind::DrainTimeout,
            Some(Fired::Cut) => Kind::Stopping,
            Some(Fired::Deadline | Fired::Idle | Fired::Closing) | None => return false,
        };
        self.broke(error);
        true
    }

    /// Why it ended before its answer was whole.
    pub(crate) fn ended(&self) -> Option<Kind> {
        self.ended
    }

    /// Whether its deadline is over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.slot.fired() == Some(Fired::Deadline)
    }

    /// A piece of the answer went to the client; the next one has to follow in time.
    pub(crate) fn extends(&self) {
        self.slot.extend(Some(self.now() + self.idle_timeout()));
        self.forget_overdue();
    }

    /// A deadline that was over by the clock was kept by the socket.
    fn forget_overdue(&self) {
        if self.is_overdue() {
            self.slot.take_fired();
        }
    }

    /// How it ends if both ends wait for the endpoint for too long.
    pub(crate) fn quiet(&self) -> Kind {
        if self.streaming { Kind::StreamIdle } else { Kind::BodyTimeout }
    }

    /// It ended in the middle of its answer, for this reason.
    pub(crate) fn broke(&mut self, kind: Kind) {
        self.broke_by(kind, kind.blame());
    }

    /// The same, where the place of the failure knows better who is to blame.
    pub(crate) fn broke_by(&mut self, kind: Kind, blame: Blame) {
        if self.ended.is_some() {
            return;
        }
        let cut = self.cut_by(kind);
        self.ended = Some(cut.unwrap_or(kind));
        self.blame = Some(cut.map_or(blame, Kind::blame));
        if let Some(refusal) = cut.and_then(|cut| self.refusal(cut)) {
            self.refuse(refusal);
        }
    }

    /// The client seems to have left, but the proxy ended its stream: why.
    pub(crate) fn cut_by(&self, kind: Kind) -> Option<Kind> {
        match self.slot.cut()? {
            _ if kind != Kind::ClientLeft => None,
            Cut::Malformed | Cut::Connection => Some(Kind::BadRequest),
            Cut::Memory => Some(Kind::Exhausted(Resource::Memory)),
        }
    }

    /// The reason where the request is refused. One that ended with its connection is counted with that.
    fn refusal(&self, kind: Kind) -> Option<Refusal> {
        kind.refusal().filter(|_| self.slot.cut() != Some(Cut::Connection))
    }

    /// It is over; its head can be used again.
    pub(crate) fn end(mut self) -> Head {
        // What is reported when it is dropped needs the head.
        self.report();
        std::mem::take(&mut self.head)
    }
}
