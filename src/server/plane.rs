//! The data plane: one listener and one thread for each worker, from bind to shutdown.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
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
use crate::server::accept::{Accepted, PlaneCommand, Sockets, WAITING};
use crate::server::worker;
use crate::sys::descriptors::{self, Use};
use crate::sys::inherited::Inherited;
use crate::sys::progress::Progress;
use crate::telemetry::access_log::AccessLogWriter;
use crate::wire::socket::keepalive;

/// Limit on the first answers of a new process's workers.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Plane {
    live: Arc<Live>,
    orders: Arc<[mpsc::UnboundedSender<PlaneCommand>]>,
    commands: Arc<[mpsc::UnboundedSender<Command>]>,
    local_addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    preview_addr: Option<SocketAddr>,
    /// Second handles on the listeners, for the process that takes over.
    listening: Vec<(Listener, OwnedFd)>,
    sockets: Vec<Sockets>,
    waiting: Vec<Told>,
    progress: Progress,
    running: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
}

type Told = (mpsc::UnboundedReceiver<PlaneCommand>, mpsc::UnboundedReceiver<Command>);

impl Plane {
    /// Binds one listener for each worker to the same address (`SO_REUSEPORT`), so that the kernel spreads connections,
    /// or takes inherited ones. Nothing is served before [`Plane::start`].
    pub(crate) fn bind(config: &Config, inherited: &mut Inherited) -> io::Result<(Plane, Publisher)> {
        let workers = config.listen.workers;
        let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut listening = Vec::new();
        let mut bind = |listener: Listener, address| {
            let (bound, at) = match inherited.take_tcp(listener.key(), address) {
                open if open.is_empty() => listeners(address, workers)?,
                open => adopted(open, workers)?,
            };
            for (index, socket) in bound.into_iter().enumerate() {
                listening.push((listener, socket.try_clone()?.into()));
                sockets[index % workers].push((listener, socket));
            }
            io::Result::Ok(at)
        };
        let local_addr = bind(Listener::Http, config.listen.http)?;
        let tls_addr = config.listen.https.map(|https| bind(Listener::Https, https)).transpose()?;
        let preview_addr = config.listen.preview.map(|preview| bind(Listener::Preview, preview)).transpose()?;
        let live = Live::new(workers);
        let (orders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let (commands, commanded): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let (orders, commands): (Arc<[_]>, Arc<[_]>) = (orders.into(), commands.into());
        let publisher = Publisher::new(Arc::clone(&live), Arc::clone(&commands), config.metrics.bounds());
        let plane = Plane {
            live,
            orders,
            commands,
            local_addr,
            tls_addr,
            preview_addr,
            listening,
            sockets,
            waiting: receivers.into_iter().zip(commanded).collect(),
            progress: Progress::new(workers),
            running: Vec::new(),
        };
        Ok((plane, publisher))
    }

    #[cfg(feature = "internals")]
    pub fn alone(config: &Config) -> io::Result<(Plane, Publisher)> {
        Plane::bind(config, &mut Inherited::default())
    }

    pub(crate) fn listening(&self) -> &[(Listener, OwnedFd)] {
        &self.listening
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    pub fn preview_addr(&self) -> Option<SocketAddr> {
        self.preview_addr
    }

    /// Sets the answer of the readiness path: 200, or 503, which it also is before the first call.
    pub fn set_ready(&self, ready: bool) {
        self.live.set_ready(ready);
    }

    /// Starts the worker threads and accepts at once.
    #[cfg(feature = "internals")]
    pub fn start(&mut self, access_log: &AccessLogWriter) -> io::Result<()> {
        self.start_idle(access_log)?;
        self.listen();
        Ok(())
    }

    pub(crate) fn listen(&mut self) {
        for (worker, sockets) in self.orders.iter().zip(self.sockets.drain(..)) {
            let _ = worker.send(PlaneCommand::Listen(sockets));
        }
    }

    /// Starts the worker threads after the first `publish`. They accept nothing before [`Plane::listen`].
    pub(crate) fn start_idle(&mut self, access_log: &AccessLogWriter) -> io::Result<()> {
        let ports = [Some(self.local_addr), self.tls_addr, self.preview_addr];
        let ports = ports.map(|address| address.map_or(0, |address| address.port()));
        for (index, (orders, commands)) in self.waiting.drain(..).enumerate() {
            let (ended, end) = oneshot::channel();
            let config = worker::WorkerConfig {
                index,
                ports,
                live: Arc::clone(&self.live),
                orders,
                commands,
                peers: Arc::clone(&self.orders),
                logger: access_log.logger(),
                accepting: Accepting::begin(&self.live),
                progress: self.progress.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                worker::run(config);
                let _ = ended.send(());
            })?;
            self.running.push((thread, end));
        }
        Ok(())
    }

    /// Makes every worker answer a request over a private connection.
    pub(crate) fn prove(&self, config: &Config) -> io::Result<()> {
        let exchange = TcpListener::bind(("127.0.0.1", 0))?;
        let at = exchange.local_addr()?;
        let mut asked = Vec::new();
        for worker in &*self.orders {
            let mut client = TcpStream::connect(at)?;
            let (stream, peer) = exchange.accept()?;
            stream.set_nonblocking(true)?;
            let accepted = Accepted { peer, listener: Listener::Http };
            let _ = worker.send(PlaneCommand::Adopt(stream, accepted, descriptors::take_anyway(Use::Client)));
            let speaks_proxy = config.listen.proxy_protocol.iter().any(|net| net.contains(&peer.ip()));
            let source = if speaks_proxy { "PROXY UNKNOWN\r\n" } else { "" };
            // Without a readiness path, the proxy itself answers a request that names no host.
            let request = match &config.readiness.path {
                None => "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
                Some(path) => format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
            };
            client.write_all(format!("{source}{request}").as_bytes())?;
            asked.push(client);
        }
        let by = Instant::now() + FIRST_ANSWER;
        for (worker, mut client) in asked.into_iter().enumerate() {
            let mut answer = [0; 9];
            let left = by.saturating_duration_since(Instant::now());
            client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let answered = client.read_exact(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.");
            if !answered {
                let seconds = FIRST_ANSWER.as_secs();
                return Err(io::Error::other(format!("worker {worker} did not answer a request within {seconds} s")));
            }
        }
        Ok(())
    }

    /// Another process accepts from the same listeners: every connection closes after its next answer.
    pub(crate) fn part(&mut self) {
        self.listening.clear();
        self.orders.iter().for_each(|worker| drop(worker.send(PlaneCommand::Part)));
    }

    /// A function that closes connections without a request, for use in another task.
    pub(crate) fn close_idle(&self) -> impl Fn() + Send + use<> {
        let orders = Arc::clone(&self.orders);
        move || orders.iter().for_each(|worker| drop(worker.send(PlaneCommand::Finish)))
    }

    /// Accepts the kernel's queue, closes listeners and idle connections, and sends `Connection: close` on busy ones.
    /// Tunnels close as at a switch. After `grace` the rest is cut off. Returns when every connection is gone.
    pub async fn shut_down(mut self, grace: Duration, tunnels_over: Option<Duration>) {
        self.listening.clear();
        self.orders.iter().for_each(|worker| drop(worker.send(PlaneCommand::Finish)));
        self.end(grace, tunnels_over).await;
    }

    pub(crate) async fn end(self, grace: Duration, tunnels_over: Option<Duration>) {
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
                let _ = worker.send(PlaneCommand::Cut);
            }
            all_ended.await;
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// Inherited listeners, at least one for each worker, and their address.
fn adopted(mut open: Vec<TcpListener>, workers: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let local_addr = open[0].local_addr()?;
    for socket in &open {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        keepalive::enable(&socket)?;
        socket.set_nonblocking(true)?;
    }
    while open.len() < workers {
        // Duplicates share one accept queue.
        open.push(open[0].try_clone()?);
    }
    Ok((open, local_addr))
}

fn listeners(address: SocketAddr, workers: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let first = listener(address, true)?;
    let local_addr = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < workers {
        listeners.push(listener(local_addr, false)?);
    }
    Ok((listeners, local_addr))
}

/// `first`: fails if another process listens there. Later ones share the port, without which another process with
/// `SO_REUSEPORT` could take half of the connections unnoticed.
fn listener(address: SocketAddr, first: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(!first)?;
    // Accepted connections inherit this. Small answers must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    keepalive::enable(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(WAITING.into())?;
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
