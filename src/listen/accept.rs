//! Accepting connections on one worker.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::listen::connection::serve;
use crate::proxy::client::{Listener, Open};
use crate::proxy::live::{Accepted, Order};
use crate::proxy::worker::Worker;

/// How long a worker that can't accept waits: out of descriptors or memory, or at `max_connections`.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts until told to stop; never fails. `stop` resolves when the process finishes: what waits in the kernel's queue
/// is accepted first, because closing the listener would reset it.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    socket: TcpListener,
    listener: Listener,
    peers: Rc<[mpsc::UnboundedSender<Order>]>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    let mut complained = false;
    loop {
        if is_full(&worker) {
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(PAUSE) => continue,
            }
        }
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                complained = false;
                place(&worker, &peers, stream, Accepted { peer, listener });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!(%error, "Connections can't be accepted; trying again every 20 ms.");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            start(&worker, stream, Accepted { peer, listener });
        }
    }
}

/// Serves a connection on this worker.
pub(crate) fn start(worker: &Rc<Worker>, stream: TcpStream, accepted: Accepted) {
    // Counted at once: a worker that finishes must not take itself for empty before the task runs.
    let open = Open::new(Rc::clone(worker), accepted.listener);
    tokio::task::spawn_local(serve(open, stream, accepted));
}

/// The kernel spreads connections by hash, so the few long-lived ones of a load balancer can all land on one worker. A
/// worker that has clearly more than the idlest one hands a fresh connection over: one hop for a connection, none for
/// its requests.
fn place(worker: &Rc<Worker>, peers: &[mpsc::UnboundedSender<Order>], stream: TcpStream, accepted: Accepted) {
    let counts = worker.live.connections();
    let mine = counts[worker.index].all();
    let idlest = (0..counts.len()).min_by_key(|index| counts[*index].all()).unwrap_or(worker.index);
    let least = counts[idlest].all();
    if mine <= least + 1 + least / 8 {
        return start(worker, stream, accepted);
    }
    if let Ok(stream) = stream.into_std()
        && let Err(refused) = peers[idlest].send(Order::Adopt(stream, accepted))
        && let Order::Adopt(stream, accepted) = refused.0
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        start(worker, stream, accepted);
    }
}

fn is_full(worker: &Worker) -> bool {
    worker.live.open_connections() >= worker.live.with(|snapshot| snapshot.edge.max_connections)
}

/// The connection was gone before it was accepted; the next one is not (accept(2), "Error handling").
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
