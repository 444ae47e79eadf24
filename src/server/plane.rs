//! The data plane as a whole: one listener and one thread for each worker, from bind to shutdown.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::proxy::commands::Command;
use crate::proxy::deadlines::slots::Tunnels;
use crate::proxy::listener::Listener;
use crate::proxy::live::{Accepting, Live};
use crate::proxy::publisher::Publisher;
use crate::server::accept::Order;
use crate::server::worker::{self, Sockets};
use crate::telemetry::access_log::AccessLogWriter;
use crate::wire::socket::keepalive;

/// Connections that may wait in the kernel, for each worker.
const BACKLOG: i32 = 4096;

/// All workers with their listeners.
#[derive(Debug)]
pub struct Plane {
    live: Arc<Live>,
    orders: Arc<[mpsc::UnboundedSender<Order>]>,
    commands: Arc<[mpsc::UnboundedSender<Command>]>,
    local_addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    preview_addr: Option<SocketAddr>,
    waiting: Vec<(Sockets, Told)>,
    running: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
}

/// What one worker is told.
type Told = (mpsc::UnboundedReceiver<Order>, mpsc::UnboundedReceiver<Command>);

impl Plane {
    /// Binds one listener for each worker to the same address (`SO_REUSEPORT`), so that the kernel spreads connections
    /// and no worker waits for another one. Nothing is served before [`Plane::start`].
    pub fn bind(config: &Config) -> io::Result<(Plane, Publisher)> {
        let workers = config.listen.workers;
        let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut bind = |listener, address| {
            let (bound, at) = listeners(address, workers)?;
            sockets.iter_mut().zip(bound).for_each(|(of_worker, socket)| of_worker.push((listener, socket)));
            io::Result::Ok(at)
        };
        let local_addr = bind(Listener::Http, config.listen.http)?;
        let tls_addr = config.listen.https.map(|https| bind(Listener::Https, https)).transpose()?;
        let preview_addr = config.listen.preview.map(|preview| bind(Listener::Preview, preview)).transpose()?;
        let live = Live::new(workers);
        let (orders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let (commands, commanded): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let (orders, commands): (Arc<[_]>, Arc<[_]>) = (orders.into(), commands.into());
        let publisher = Publisher::new(Arc::clone(&live), Arc::clone(&commands));
        let waiting = sockets.into_iter().zip(receivers.into_iter().zip(commanded)).collect();
        let running = Vec::new();
        Ok((Plane { live, orders, commands, local_addr, tls_addr, preview_addr, waiting, running }, publisher))
    }

    /// Where it listens; a port 0 is resolved.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it listens for TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// Where it listens for previews.
    pub fn preview_addr(&self) -> Option<SocketAddr> {
        self.preview_addr
    }

    /// What the readiness path answers: 200 or 503; 503 before this is called.
    pub fn set_ready(&self, ready: bool) {
        self.live.set_ready(ready);
    }

    /// Starts the worker threads. Call it after the first `publish`.
    pub fn start(&mut self, access_log: &AccessLogWriter) -> io::Result<()> {
        let ports = [Some(self.local_addr), self.tls_addr, self.preview_addr];
        let ports = ports.map(|address| address.map_or(0, |address| address.port()));
        for (index, (sockets, (orders, commands))) in self.waiting.drain(..).enumerate() {
            let (ended, end) = oneshot::channel();
            let config = worker::WorkerConfig {
                index,
                ports,
                live: Arc::clone(&self.live),
                sockets,
                orders,
                commands,
                peers: Arc::clone(&self.orders),
                logger: access_log.logger(),
                accepting: Accepting::begin(&self.live),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                worker::run(config);
                // Nobody waits any more if the process is being torn down.
                let _ = ended.send(());
            })?;
            self.running.push((thread, end));
        }
        Ok(())
    }

    /// Accepts what waits, closes the listeners and the idle connections; busy ones get `Connection: close`. Returns
    /// when every connection is gone. Tunnels end as they do at a switch; after `grace` what is left is ended.
    pub async fn shut_down(self, grace: Duration, tunnels_over: Option<Duration>) {
        for worker in &*self.orders {
            let _ = worker.send(Order::Finish);
        }
        if let Some(over) = tunnels_over {
            let by = Instant::now() + over.min(grace);
            for worker in &*self.commands {
                let _ = worker.send(Command::EndTunnels(Tunnels::All, by));
            }
        }
        let (threads, ends): (Vec<_>, Vec<_>) = self.running.into_iter().unzip();
        let all_ended = async {
            for end in ends {
                let _ = end.await;
            }
        };
        let mut all_ended = std::pin::pin!(all_ended);
        if tokio::time::timeout(grace, &mut all_ended).await.is_err() {
            for worker in &*self.orders {
                let _ = worker.send(Order::Cut);
            }
            all_ended.await;
        }
        for thread in threads {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// One for each worker, and where they listen.
fn listeners(address: SocketAddr, workers: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = listener(address, true)?;
    let local_addr = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(listener(local_addr, false)?);
    }
    Ok((listeners, local_addr))
}

/// `first`: nobody else may listen there. Those behind it share with it, so it may be shared from then on; but another
/// process that did the same would get half of the connections, and nobody would be told.
fn listener(address: SocketAddr, first: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(!first)?;
    // What a listener is set to, its connections are. Small answers must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    keepalive::enable(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_an_address_and_nobody_else_does() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listening, at) = listeners(any, 4).expect("a free port");
        assert_eq!(listening.len(), 4);
        assert!(listening.iter().all(|listener| listener.local_addr().is_ok_and(|address| address == at)));
        let error = listeners(at, 4).expect_err("somebody listens there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listening);
        listeners(at, 1).expect("it is free again");
    }
}
