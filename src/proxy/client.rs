//! One client connection: what its requests share.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proxy::slot::{Phase, Slot};
use crate::proxy::worker::Worker;

/// One client connection. Lives on its worker's thread.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    /// Of the connection; what is asked over HTTP/2 has slots of its own.
    pub(crate) slot: Rc<Slot>,
    pub(crate) peer: SocketAddr,
    /// The peer's address for `X-Forwarded-For`, made once.
    pub(crate) peer_text: Box<str>,
    idle_timeout: Cell<Duration>,
    header_timeout: Cell<Duration>,
}

impl ClientConnection {
    pub(crate) fn new(worker: Rc<Worker>, peer: SocketAddr) -> Rc<ClientConnection> {
        worker.connections().fetch_add(1, Ordering::Relaxed);
        let (idle_timeout, header_timeout) =
            worker.live.with(|snapshot| (snapshot.edge.idle_timeout, snapshot.edge.header_timeout));
        Rc::new(ClientConnection {
            slot: worker.slots.add(Phase::Idle, None),
            peer,
            peer_text: peer.ip().to_canonical().to_string().into(),
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

    /// Waits for a request.
    pub(crate) fn idle(&self) {
        self.enter(Phase::Idle, self.idle_timeout.get());
    }

    /// The first bytes of a request are here.
    pub(crate) fn head_began(&self) {
        self.enter(Phase::Head, self.header_timeout.get());
    }

    fn enter(&self, phase: Phase, timeout: Duration) {
        let deadline = Some(self.worker.now() + timeout);
        self.slot.enter(phase, deadline);
        self.worker.slots.due_at(deadline);
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.worker.freed.set(true);
        self.worker.slots.remove(&self.slot);
        self.worker.connections().fetch_sub(1, Ordering::Relaxed);
    }
}
