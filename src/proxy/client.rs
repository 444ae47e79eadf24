//! One client connection: what its requests share.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::proxy::deadlines::{Fired, Phase, Slot};
use crate::proxy::listener::Listener;
use crate::proxy::per_client::Share;
use crate::proxy::worker::Worker;
use crate::sys::descriptors;

/// An open connection, from accept on: counted, and with a deadline.
pub(crate) struct Open {
    pub(crate) worker: Rc<Worker>,
    /// Of the connection; what is asked over HTTP/2 has slots of its own.
    pub(crate) slot: Rc<Slot>,
    pub(crate) listener: Listener,
    /// Where there is a limit. In a box: a connection that waits has no room for it.
    share: Option<Box<Share>>,
    _descriptor: descriptors::Held,
}

impl Open {
    pub(crate) fn new(worker: Rc<Worker>, listener: Listener, descriptor: descriptors::Held) -> Open {
        worker.clients(listener).fetch_add(1, Ordering::Relaxed);
        let slot = worker.slots.add(Phase::Idle, None);
        Open { slot, worker, listener, share: None, _descriptor: descriptor }
    }

    /// Counts the connection for this client; false: the client has as many as it may.
    pub(crate) fn count_for(&mut self, client: IpAddr) -> bool {
        let most = self.worker.live.with(|snapshot| snapshot.edge.max_connections_per_client);
        let Some(most) = most else { return true };
        self.share = Arc::clone(&self.worker.live.per_client).enter(client, most).map(Box::new);
        self.share.is_some()
    }

    /// The connection was about to be closed for another one, and is not.
    fn stay(&self) {
        if self.slot.stay() {
            self.worker.live.leaving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The next phase has to end within this.
    pub(crate) fn enter(&self, phase: Phase, timeout: Duration) {
        let deadline = Some(self.worker.now() + timeout);
        self.slot.enter(phase, deadline);
        self.worker.slots.due_at(deadline);
    }

    /// Nothing more may be waited for.
    pub(crate) fn is_over(&self) -> bool {
        self.slot.fired().is_some() || self.slot.is_closing()
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

/// One client connection. Lives on its worker's thread.
pub(crate) struct ClientConnection {
    open: Open,
    /// Whose requests they are: the peer, or whom it speaks for by the PROXY protocol.
    pub(crate) peer: SocketAddr,
    /// The peer's address for `X-Forwarded-For`, made once.
    pub(crate) peer_text: Box<str>,
    /// The subject of the certificate that the client has shown.
    pub(crate) subject: Option<Box<str>>,
    idle_timeout: Cell<Duration>,
    header_timeout: Cell<Duration>,
}

impl ClientConnection {
    pub(crate) fn new(open: Open, peer: SocketAddr, subject: Option<String>) -> Rc<ClientConnection> {
        let worker = &open.worker;
        let (idle_timeout, header_timeout) =
            worker.live.with(|snapshot| (snapshot.edge.idle_timeout, snapshot.edge.header_timeout));
        Rc::new(ClientConnection {
            peer,
            peer_text: peer.ip().to_canonical().to_string().into(),
            idle_timeout: Cell::new(idle_timeout),
            header_timeout: Cell::new(header_timeout),
            subject: subject.map(Into::into),
            open,
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
        // The request came before the end of the idle connection.
        if self.slot.fired() == Some(Fired::Deadline) {
            self.slot.take_fired();
        }
        self.stay();
        self.enter(Phase::Head, self.header_timeout.get());
    }
}

impl Deref for ClientConnection {
    type Target = Open;

    fn deref(&self) -> &Open {
        &self.open
    }
}
