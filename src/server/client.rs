//! Client connections: counted, bounded, and with a deadline.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proxy::client::Client;
use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::proxy::listener::Listener;
use crate::proxy::per_client::Share;
use crate::proxy::worker::Worker;
use crate::sys::descriptors;

pub(crate) struct Open {
    pub(crate) worker: Rc<Worker>,
    /// The connection's own; each HTTP/2 stream has another one.
    pub(crate) slot: Rc<DeadlineSlot>,
    pub(crate) listener: Listener,
    /// Present where a limit per client is set. Boxed, so that an idle connection has no room for it.
    share: Option<Box<Share>>,
    _descriptor: descriptors::Permit,
}

impl Open {
    pub(crate) fn new(worker: Rc<Worker>, listener: Listener, descriptor: descriptors::Permit) -> Open {
        worker.clients(listener).fetch_add(1, Ordering::Relaxed);
        let slot = worker.slots.add(Phase::Idle, None);
        Open { slot, worker, listener, share: None, _descriptor: descriptor }
    }

    /// False: the client is at its limit.
    pub(crate) fn count_for(&mut self, client: IpAddr) -> bool {
        let most = self.worker.live.with(|snapshot| snapshot.edge.max_connections_per_client);
        let Some(most) = most else { return true };
        self.share = Arc::clone(&self.worker.live.per_client).enter(client, most).map(Box::new);
        self.share.is_some()
    }

    fn stay(&self) {
        if self.slot.stay() {
            self.worker.live.leaving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn enter(&self, phase: Phase, timeout: Duration) {
        let deadline = Some(self.worker.now() + timeout);
        self.slot.enter(phase, deadline);
        self.worker.slots.due_at(deadline);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.slot.is_over()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.freed.set(true);
        self.stay();
        self.worker.slots.remove(&self.slot);
        self.worker.clients(self.listener).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection after TLS and the PROXY protocol. Lives on its worker's thread.
pub(crate) struct ClientConnection {
    open: Open,
    pub(crate) client: Rc<Client>,
}

impl ClientConnection {
    pub(crate) fn new(open: Open, peer: SocketAddr, subject: Option<String>) -> ClientConnection {
        let client = Rc::new(Client::new(Rc::clone(&open.worker), open.listener, peer, subject));
        ClientConnection { open, client }
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.open.worker
    }

    pub(crate) fn slot(&self) -> &Rc<DeadlineSlot> {
        &self.open.slot
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.client.peer
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        self.client.header_timeout()
    }

    pub(crate) fn idle(&self) {
        self.enter(Phase::Idle, self.client.idle_timeout());
    }

    pub(crate) fn head_began(&self) {
        // A request that came before the connection closed for idleness is served.
        if self.open.slot.fired() == Some(Fired::Deadline) {
            self.open.slot.take_fired();
        }
        self.open.stay();
        self.enter(Phase::Head, self.client.header_timeout());
    }

    pub(crate) fn enter(&self, phase: Phase, timeout: Duration) {
        self.open.enter(phase, timeout);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.open.is_over()
    }
}
