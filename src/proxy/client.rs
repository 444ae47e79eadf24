//! One client connection: what its requests share.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::proxy::driver::Driver;
use crate::proxy::slot::{Fired, Phase, Slot};
use crate::proxy::transport::UpstreamConnection;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::worker::Worker;

/// A connection without a request gives its buffers back after this.
pub(crate) const PARK_AFTER: Duration = Duration::from_secs(1);

/// Interim answers that wait for a client that does not read, at most; more are dropped.
const MAX_INTERIM: usize = 64 << 10;

/// One client connection. Lives on its worker's thread.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Rc<Slot>,
    pub(crate) peer: SocketAddr,
    /// The peer's address for `X-Forwarded-For`, made once.
    pub(crate) peer_value: HeaderValue,
    /// The connection to the endpoint that serves the present exchange. It stands here and not in the exchange so that
    /// the client's task can drive it even while the answer is not being taken: an upload must not wait for that.
    pub(crate) upstream: RefCell<Option<UpstreamConnection>>,
    pub(crate) uploading: Cell<bool>,
    pub(crate) driver: Driver,
    /// Interim answers that go out before the next bytes to the client.
    pub(crate) interim: RefCell<Vec<u8>>,
    /// The client knows interim answers: it speaks HTTP/1.1.
    pub(crate) takes_interim: Cell<bool>,
    /// Everything that was written has been taken by the kernel.
    pub(crate) flushed: Cell<bool>,
    /// The client has sent its last byte.
    pub(crate) ended: Cell<bool>,
    /// What the connection becomes after a 101.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
    /// Request heads that came so far.
    pub(crate) heads: Cell<u64>,
    /// The number of the head that is ambiguous: nothing after it can be trusted.
    pub(crate) ambiguous_head: Cell<Option<u64>>,
    /// An answer to a request is due or on its way.
    pub(crate) answering: Cell<bool>,
    /// The status with which a head was refused that hyper could not read.
    pub(crate) refused: Cell<Option<u16>>,
    idle_timeout: Cell<Duration>,
    header_timeout: Cell<Duration>,
}

impl ClientConnection {
    pub(crate) fn new(worker: Rc<Worker>, peer: SocketAddr) -> Rc<ClientConnection> {
        worker.connections().fetch_add(1, Ordering::Relaxed);
        let (idle_timeout, header_timeout) =
            worker.live.with(|snapshot| (snapshot.edge.idle_timeout, snapshot.edge.header_timeout));
        let slot = worker.slots.add(Phase::Idle, Some(Instant::now() + idle_timeout));
        let address = peer.ip().to_canonical().to_string();
        Rc::new(ClientConnection {
            slot,
            peer,
            peer_value: HeaderValue::from_str(&address).expect("an IP address is a valid header value"),
            upstream: RefCell::new(None),
            uploading: Cell::new(false),
            driver: Driver::default(),
            interim: RefCell::default(),
            takes_interim: Cell::new(false),
            flushed: Cell::new(true),
            ended: Cell::new(false),
            tunnel: RefCell::new(None),
            heads: Cell::new(0),
            ambiguous_head: Cell::new(None),
            answering: Cell::new(false),
            refused: Cell::new(None),
            idle_timeout: Cell::new(idle_timeout),
            header_timeout: Cell::new(header_timeout),
            worker,
        })
    }

    /// Takes over the limits in force, at each request.
    pub(crate) fn limits(&self, idle_timeout: Duration, header_timeout: Duration) {
        self.idle_timeout.set(idle_timeout);
        self.header_timeout.set(header_timeout);
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout.get()
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.header_timeout.get()
    }

    /// The next head is here, and an answer is due.
    pub(crate) fn asked(&self) {
        self.heads.set(self.heads.get() + 1);
        self.answering.set(true);
    }

    /// Whether the head of the present request can be read in two ways.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.ambiguous_head.get().is_some_and(|number| number <= self.heads.get())
    }

    /// Lets the endpoint's connection work: writes what waits, reads what came. True: it is over, or there is none.
    pub(crate) fn drive(&self) -> bool {
        let Some(connection) = &mut *self.upstream.borrow_mut() else { return true };
        let over = connection.drive(&mut self.driver.context()).is_ready();
        // Behind an answer to the request before that the client is slow to take, there is no place to put them.
        if let Some(interim) = connection.take_interim()
            && self.takes_interim.get()
            && self.flushed.get()
            && self.interim.borrow().len() < MAX_INTERIM
        {
            self.interim.borrow_mut().extend(interim);
        }
        over
    }

    /// The exchange is over; the connection may carry another one.
    pub(crate) fn between_requests(&self) {
        self.uploading.set(false);
        self.idle_until(self.worker.now() + self.idle_timeout().min(PARK_AFTER));
        if matches!(self.slot.fired(), Some(Fired::Deadline | Fired::Ended)) {
            // It was meant for the exchange that is over.
            self.slot.take_fired();
        }
    }

    /// Waits for a request until then.
    pub(crate) fn idle_until(&self, deadline: Instant) {
        self.slot.enter(Phase::Idle, Some(deadline));
        self.worker.slots.due_at(Some(deadline));
    }

    /// The first bytes of a request are here.
    pub(crate) fn head_began(&self) {
        let deadline = self.worker.now() + self.header_timeout();
        self.slot.enter(Phase::Head, Some(deadline));
        self.worker.slots.due_at(Some(deadline));
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.worker.freed.set(true);
        self.worker.slots.remove(&self.slot);
        self.worker.connections().fetch_sub(1, Ordering::Relaxed);
    }
}
