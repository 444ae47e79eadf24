//! The client of a connection: what all of its requests share.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::proxy::listener::Listener;
use crate::proxy::worker::Worker;

pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Listener,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: Box<str>,
    pub(crate) subject: Option<Box<str>>,
    idle_timeout: Cell<Duration>,
    header_timeout: Cell<Duration>,
}

impl Client {
    pub(crate) fn new(worker: Rc<Worker>, listener: Listener, peer: SocketAddr, subject: Option<String>) -> Client {
        let (idle_timeout, header_timeout) =
            worker.live.with(|snapshot| (snapshot.edge.idle_timeout, snapshot.edge.header_timeout));
        Client {
            worker,
            listener,
            peer,
            peer_text: peer.ip().to_canonical().to_string().into(),
            subject: subject.map(Into::into),
            idle_timeout: Cell::new(idle_timeout),
            header_timeout: Cell::new(header_timeout),
        }
    }

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
}
