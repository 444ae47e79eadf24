//! Accepting connections on one worker, and making room for them.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;

use crate::proxy::deadlines::Waits;
use crate::proxy::listener::Listener;
use crate::proxy::worker::Worker;
use crate::server::client::Open;
use crate::server::connection::serve;
use crate::sys::descriptors::{self, Permit, Usage, Use};
use crate::sys::incoming::Incoming;
use crate::telemetry::log_rate::LogRate;

/// Pause of a worker that can't accept: out of descriptors or memory, or at `max_connections`.
const PAUSE: Duration = Duration::from_millis(20);
/// Another worker nearly always closes a connection within this time.
const TURN: Duration = Duration::from_millis(2);
/// Connections that may be closing at once to make room: this many, or this fraction of `max_connections` if more.
const LEAVING: usize = 16;

/// Connections that wait in the kernel, for each listener.
pub(crate) const WAITING: u16 = 4096;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Listener,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LongestIdle {
    pub(crate) waits: (Waits, Instant),
    pub(crate) worker: usize,
}

pub(crate) type Sockets = Vec<(Listener, TcpListener)>;

pub(crate) enum PlaneCommand {
    Adopt(TcpStream, Accepted, Permit),
    FindIdle(mpsc::UnboundedSender<LongestIdle>),
    CloseLongestIdle,
    Listen(Sockets),
    /// Accept the kernel's queue, close the listener, finish in-flight requests.
    Finish,
    /// As `Finish`, while another process accepts from the same listeners: connections without a request stay until
    /// their next one, and close after its answer. [`PlaneCommand::Finish`] may follow.
    Part,
    /// Cut off everything now.
    Cut,
}

/// Accepts until `stop` resolves. The kernel's queue is accepted first: closing the listener would reset it.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    socket: Incoming,
    listener: Listener,
    peers: Rc<[mpsc::UnboundedSender<PlaneCommand>]>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let mut complained = false;
    let mut stopping = false;
    while !stopping {
        let accepted = tokio::select! {
            biased;
            accepted = poll_fn(|cx| socket.poll_next(cx)) => accepted,
            () = &mut stop => break,
        };
        let started = match accepted {
            Ok((stream, peer)) => {
                if std::mem::take(&mut complained) {
                    tracing::info!(%peer, "Connections accepted again");
                }
                let descriptor = tokio::select! {
                    descriptor = room(&worker, &peers) => descriptor,
                    () = &mut stop => {
                        stopping = true;
                        descriptors::take_anyway(Use::Client)
                    }
                };
                place(&worker, &peers, stream, Accepted { peer, listener }, descriptor)
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => {}
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!(%error, "Connections not accepted; retrying every 20 ms");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    // Bounded, because a listener that another process shares may never be empty under load.
    for _ in 0..WAITING {
        let Ok((stream, peer)) = socket.next() else { return };
        let _ = start(&worker, stream, Accepted { peer, listener }, descriptors::take_anyway(Use::Client));
    }
}

/// Waits for a free place, and closes idle connections for it. Meanwhile new clients wait in the kernel.
async fn room(worker: &Rc<Worker>, peers: &[mpsc::UnboundedSender<PlaneCommand>]) -> Permit {
    static TOLD: LogRate = LogRate::new(1, Duration::from_secs(10));
    loop {
        if !is_full(worker)
            && let Some(descriptor) = descriptors::take(Use::Client)
        {
            return descriptor;
        }
        TOLD.say(|suppressed| {
            let connections = worker.live.open_connections();
            let Usage { most, clients, endpoints } = descriptors::usage();
            tracing::warn!(connections, clients, endpoints, room = most, suppressed, "No room for new connections");
        });
        let closing = close_longest_idle(worker, peers).await;
        if closing
            && !is_full(worker)
            && let Some(descriptor) = descriptors::take(Use::Client)
        {
            return descriptor;
        }
        // A closed connection's descriptor is free once its worker had a turn.
        tokio::time::sleep(if closing { TURN } else { PAUSE }).await;
    }
}

async fn close_longest_idle(worker: &Rc<Worker>, peers: &[mpsc::UnboundedSender<PlaneCommand>]) -> bool {
    let live = &worker.live;
    let most = live.with(|snapshot| snapshot.edge.max_connections);
    if live.leaving.load(Ordering::Relaxed) >= LEAVING.max(most / LEAVING) {
        return false;
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    for peer in peers {
        let _ = peer.send(PlaneCommand::FindIdle(tell.clone()));
    }
    drop(tell);
    let mut longest: Option<LongestIdle> = None;
    // A busy worker may not answer in time.
    let _ = tokio::time::timeout(PAUSE, async {
        while let Some(found) = told.recv().await {
            longest = Some(longest.map_or(found, |longest| longest.min(found)));
        }
    })
    .await;
    let Some(LongestIdle { worker: index, .. }) = longest else { return false };
    live.leaving.fetch_add(1, Ordering::Relaxed);
    if peers[index].send(PlaneCommand::CloseLongestIdle).is_err() {
        live.leaving.fetch_sub(1, Ordering::Relaxed);
        return false;
    }
    true
}

pub(crate) fn start(worker: &Rc<Worker>, stream: TcpStream, accepted: Accepted, descriptor: Permit) -> io::Result<()> {
    let stream = tokio::net::TcpStream::from_std(stream)?;
    // Counted before the task runs: a worker that finishes would otherwise take itself for empty.
    let open = Open::new(Rc::clone(worker), accepted.listener, descriptor);
    tokio::task::spawn_local(serve(open, stream, accepted.peer));
    Ok(())
}

/// Hands a fresh connection to the idlest worker if this one has clearly more. The kernel spreads connections by hash,
/// so the few long-lived ones of a load balancer can all land on one worker.
fn place(
    worker: &Rc<Worker>,
    peers: &[mpsc::UnboundedSender<PlaneCommand>],
    stream: TcpStream,
    accepted: Accepted,
    descriptor: Permit,
) -> io::Result<()> {
    let counts = worker.live.connections();
    let mine = counts[worker.index].all();
    let idlest = (0..counts.len()).min_by_key(|index| counts[*index].all()).unwrap_or(worker.index);
    let least = counts[idlest].all();
    if mine <= least + 1 + least / 8 {
        return start(worker, stream, accepted, descriptor);
    }
    match peers[idlest].send(PlaneCommand::Adopt(stream, accepted, descriptor)) {
        Err(SendError(PlaneCommand::Adopt(stream, accepted, descriptor))) => {
            start(worker, stream, accepted, descriptor)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_full(worker: &Worker) -> bool {
    let leaving = worker.live.leaving.load(Ordering::Relaxed);
    let most = worker.live.with(|snapshot| snapshot.edge.max_connections);
    worker.live.open_connections().saturating_sub(leaving) >= most
}

/// The connection failed before it was accepted; the listener is fine (accept(2), "Error handling").
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
