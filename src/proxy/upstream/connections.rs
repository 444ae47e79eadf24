//! Connections to endpoints: made, kept and dropped by the one worker that uses them.
//!
//! A free connection of HTTP/1.1 has no task: a close by its endpoint is found when it is taken, before anything is
//! sent, or by [`Connections::sweep`]. A connection of HTTP/2 is shared by the requests of its worker, and its task
//! reads and writes for all of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use rustix::io::Errno;

use crate::config::EndpointAddress;
use crate::proxy::clock;
use crate::proxy::error::ProxyError;
use crate::proxy::error_kind::{ErrorKind, Resource};
use crate::proxy::hash::Map;
use crate::proxy::pool::stated::LOOK_EVERY;
use crate::proxy::pool::{Endpoint, Rules, Target};
use crate::proxy::upstream::closing::Closing;
use crate::proxy::upstream::{dial, exhaustion};
use crate::sys::descriptors::{self, EndpointPermit};
use crate::sys::ports::Port;
use crate::wire::http1::connection::Wire;
use crate::wire::http2::client::Stream;
use crate::wire::http2::pulse::{self, Pulse, drive};
use crate::wire::side::Side;
use crate::wire::socket::Socket;

/// Idle connections to one endpoint that a worker keeps, at most.
const IDLE_PER_ENDPOINT: usize = 512;
/// Each sweep looks at one in ten endpoints for connections that the endpoint closed. A look at 1,000 connections takes
/// 0.5 ms.
const LOOKS: u64 = 10;
/// Bytes of one body that an endpoint may send ahead of the client: the memory that a client can hold per stream.
const STREAM_WINDOW: u32 = 64 << 10;
/// Streams are bounded one by one: under a smaller common window a few clients that do not read would stop all others.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Bytes of one body that wait for an endpoint that reads slowly.
const SEND_BUFFER: usize = 128 << 10;

#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(crate) side: Side,
    /// The time when connecting began. A connection older than the endpoint's last renewal is not used.
    begun: u64,
    /// The next look at the release of an answer; a shared connection keeps it in its share.
    look_at: u64,
    /// It has carried a request before, so a break may only mean that the endpoint closed an idle connection.
    pub(crate) reused: bool,
    keep_until: Instant,
    share: Option<Share>,
    _room: Option<Room>,
}

#[derive(Debug)]
struct Room {
    _port: Port,
    _descriptor: EndpointPermit,
}

impl Room {
    fn take(endpoint: &Endpoint) -> io::Result<Room> {
        let descriptor = descriptors::take_for_endpoint().ok_or(Errno::MFILE)?;
        let limited = !matches!(endpoint.address, EndpointAddress::Unix(_));
        let port = endpoint.ports.take(limited).ok_or(Errno::ADDRNOTAVAIL)?;
        Ok(Room { _port: port, _descriptor: descriptor })
    }
}

#[derive(Debug, Default)]
struct Use {
    requests: Cell<usize>,
    look_at: Cell<u64>,
}

#[derive(Debug)]
struct Share(Rc<Use>);

impl Share {
    fn new(used: &Rc<Use>) -> Share {
        used.requests.set(used.requests.get() + 1);
        Share(Rc::clone(used))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get() - 1);
    }
}

struct Shared {
    sender: SendRequest<Bytes>,
    scheme: &'static str,
    pulse: Arc<Pulse>,
    used: Rc<Use>,
    begun: u64,
    keep_until: Instant,
}

impl Shared {
    /// After GOAWAY, requests in flight are finished, and a new one needs another connection.
    fn takes_requests(&mut self) -> bool {
        let ready = self.sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        !self.pulse.is_over() && !matches!(ready, Poll::Ready(Err(_)))
    }

    fn share(&self, rules: &Rules) -> UpstreamConnection {
        let pulse = Some(Arc::clone(&self.pulse));
        let stream = Stream::free(self.sender.clone(), self.scheme, pulse, rules.limits());
        UpstreamConnection {
            side: Side::Http2(Box::new(stream)),
            begun: self.begun,
            look_at: 0,
            reused: true,
            keep_until: self.keep_until,
            share: Some(Share::new(&self.used)),
            _room: None,
        }
    }
}

struct To<C> {
    endpoint: Arc<Endpoint>,
    connections: Vec<C>,
}

impl<C> To<C> {
    fn new(endpoint: &Arc<Endpoint>) -> To<C> {
        To { endpoint: Arc::clone(endpoint), connections: Vec::new() }
    }
}

#[derive(Default)]
pub(crate) struct Connections {
    /// HTTP/1.1; the last one used is the first one taken.
    free: RefCell<Map<u64, To<UpstreamConnection>>>,
    shared: RefCell<Map<u64, To<Shared>>>,
    /// Held while a connection is made; other requests wait for it instead of making one each.
    making: RefCell<Map<u64, Rc<tokio::sync::Mutex<()>>>>,
    sweeps: Cell<u64>,
    closing: Closing<UpstreamConnection>,
}

impl UpstreamConnection {
    pub(crate) fn take_look(&mut self, now: u64) -> bool {
        let look_at = self.share.as_ref().map_or(self.look_at, |share| share.0.look_at.get());
        if now < look_at {
            return false;
        }
        match &self.share {
            Some(share) => share.0.look_at.set(now + LOOK_EVERY),
            None => self.look_at = now + LOOK_EVERY,
        }
        true
    }

    /// True if it is open, and no unrequested bytes came.
    fn poll_free(&mut self) -> bool {
        let left = self.side.poll_left(&mut Context::from_waker(Waker::noop())).is_ready();
        !left && !self.side.has_unread()
    }
}

impl Connections {
    pub(crate) fn take(&self, endpoint: &Endpoint, rules: &Rules) -> Option<UpstreamConnection> {
        if rules.http2 { self.take_shared(endpoint, rules) } else { self.take_free(endpoint) }
    }

    fn take_free(&self, endpoint: &Endpoint) -> Option<UpstreamConnection> {
        let mut all = self.free.borrow_mut();
        let free = &mut all.get_mut(&endpoint.id)?.connections;
        let evidence = endpoint.evidence();
        loop {
            let mut connection = free.pop()?;
            if connection.begun > evidence && connection.poll_free() {
                return Some(connection);
            }
        }
    }

    fn take_shared(&self, endpoint: &Endpoint, rules: &Rules) -> Option<UpstreamConnection> {
        let mut all = self.shared.borrow_mut();
        let shared = &mut all.get_mut(&endpoint.id)?.connections;
        let evidence = endpoint.evidence();
        // A dropped one sends GOAWAY, and ends with its last stream.
        shared.retain_mut(|shared| shared.begun > evidence && shared.takes_requests());
        let has_room = |shared: &&Shared| shared.used.requests.get() < shared.sender.current_max_send_streams();
        Some(shared.iter().find(has_room)?.share(rules))
    }

    pub(crate) async fn make(
        &self,
        endpoint: &Arc<Endpoint>,
        rules: &Rules,
        timeout: Duration,
    ) -> Result<UpstreamConnection, ProxyError> {
        match clock::within(timeout, self.open(endpoint, rules)).await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => {
                if let Some(resource) = exhaustion::of(&error) {
                    exhaustion::report(&endpoint.name, resource, &error);
                    return Err(ErrorKind::Exhausted(resource).into());
                }
                tracing::debug!(endpoint = %endpoint.name, %error, "Could not connect.");
                let named = matches!(endpoint.target, Target::Unresolved(_));
                Err(match error.kind() {
                    io::ErrorKind::NotFound if named => ErrorKind::NameUnknown,
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::NotTrusted,
                    _ => ErrorKind::Refused,
                }
                .into())
            }
            None if matches!(endpoint.target, Target::Unresolved(_)) => Err(ErrorKind::NameUnknown.into()),
            None => Err(ErrorKind::ConnectTimeout.into()),
        }
    }

    async fn open(&self, endpoint: &Arc<Endpoint>, rules: &Rules) -> io::Result<UpstreamConnection> {
        if !rules.http2 {
            let room = self.make_room(endpoint)?;
            let (begun, socket) = connect_anew(endpoint, rules).await?;
            return Ok(UpstreamConnection {
                side: Side::Http1(Box::new(Wire::new(socket))),
                begun,
                look_at: 0,
                reused: false,
                keep_until: Instant::now(),
                share: None,
                _room: Some(room),
            });
        }
        let making = Rc::clone(self.making.borrow_mut().entry(endpoint.id).or_default());
        let _alone = making.lock().await;
        if let Some(connection) = self.take_shared(endpoint, rules) {
            return Ok(connection);
        }
        let room = self.make_room(endpoint)?;
        let (begun, socket) = connect_anew(endpoint, rules).await?;
        let pulse = Pulse::new(rules.ping_timeout);
        let (sender, connection) = handshake(socket, &pulse, rules).await?;
        let used = Rc::new(Use::default());
        let (driven, busy, name) = (Arc::clone(&pulse), Rc::clone(&used), endpoint.name.clone());
        tokio::task::spawn_local(async move {
            if drive(connection, &driven, || busy.requests.get() > 0).await {
                tracing::warn!(endpoint = %name, "HTTP/2 connection to an endpoint is dead");
            }
            drop(room);
        });
        let shared = Shared { sender, scheme: scheme(rules), pulse, used, begun, keep_until: Instant::now() };
        let connection = UpstreamConnection { reused: false, ..shared.share(rules) };
        let mut all = self.shared.borrow_mut();
        all.entry(endpoint.id).or_insert_with(|| To::new(endpoint)).connections.push(shared);
        Ok(connection)
    }

    fn make_room(&self, endpoint: &Endpoint) -> io::Result<Room> {
        match Room::take(endpoint) {
            Err(full) if exhaustion::of(&full) == Some(Resource::Descriptors) && self.close_one() => {
                Room::take(endpoint)
            }
            taken => taken,
        }
    }

    fn close_one(&self) -> bool {
        if self.closing.close_one() {
            return true;
        }
        let mut free = self.free.borrow_mut();
        // The one that was unused for longest is first.
        let all = free.values_mut().map(|free| &mut free.connections).filter(|free| !free.is_empty());
        let oldest = all.min_by_key(|free| free[0].keep_until);
        oldest.map(|free| drop(free.remove(0))).is_some()
    }

    /// For another worker that has no room for a connection.
    pub(crate) fn close_free(&self) {
        self.closing.close_all();
        self.free.borrow_mut().clear();
    }

    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, mut connection: UpstreamConnection, keep_until: Instant) {
        let is_http1 = matches!(connection.side, Side::Http1(_));
        if !endpoint.keeps() || connection.begun <= endpoint.evidence() {
            if is_http1 && !descriptors::is_tight() {
                self.closing.add([connection]);
            }
            return;
        }
        if !is_http1 {
            if let Some(shared) = self.shared.borrow_mut().get_mut(&endpoint.id) {
                for shared in &mut shared.connections {
                    shared.keep_until = shared.keep_until.max(keep_until);
                }
            }
            return;
        }
        if descriptors::is_tight() {
            return;
        }
        connection.reused = true;
        connection.keep_until = keep_until;
        let mut all = self.free.borrow_mut();
        let free = &mut all.entry(endpoint.id).or_insert_with(|| To::new(endpoint)).connections;
        if free.len() < IDLE_PER_ENDPOINT {
            free.push(connection);
        }
    }

    /// Drops connections that are older than the evidence, free for too long, closed by the endpoint, or to an endpoint
    /// that does not serve.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut over = Vec::new();
        let sweep = self.sweeps.replace(self.sweeps.get().wrapping_add(1));
        self.free.borrow_mut().retain(|id, To { endpoint, connections }| {
            let (evidence, keeps) = (endpoint.evidence(), endpoint.keeps());
            let looks = (id.wrapping_add(sweep)).is_multiple_of(LOOKS);
            let stays =
                |connection: &UpstreamConnection| keeps && connection.begun > evidence && connection.keep_until > now;
            let is_closed = |connection: &mut UpstreamConnection| looks && !connection.poll_free();
            over.extend(connections.extract_if(.., |connection| !stays(connection) || is_closed(connection)));
            !connections.is_empty()
        });
        self.closing.add(over);
        self.shared.borrow_mut().retain(|_, To { endpoint, connections }| {
            let (evidence, keeps) = (endpoint.evidence(), endpoint.keeps());
            connections.retain(|shared| {
                let is_used = shared.used.requests.get() > 0 || (keeps && shared.keep_until > now);
                // The streams of a dropped one hold it to their end.
                is_used && shared.begun > evidence && !shared.pulse.is_over()
            });
            !connections.is_empty()
        });
        self.making.borrow_mut().retain(|_, making| Rc::strong_count(making) > 1);
    }

    /// The number of free connections that a request would take.
    pub(crate) fn free(&self, endpoint: &Endpoint) -> usize {
        let evidence = endpoint.evidence();
        let all = self.free.borrow();
        let of_endpoint = all.get(&endpoint.id).into_iter().flat_map(|free| &free.connections);
        of_endpoint.filter(|connection| connection.begun > evidence).count()
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

async fn handshake(
    socket: Socket,
    pulse: &Arc<Pulse>,
    rules: &Rules,
) -> io::Result<(SendRequest<Bytes>, pulse::Connection)> {
    let limits = rules.limits();
    // As RFC 9113 counts (6.5.2), with room for heads that are then refused by name.
    let most = u32::try_from(2 * (limits.bytes + 32 * limits.fields)).unwrap_or(u32::MAX);
    let mut handshake = h2::client::Builder::new();
    handshake
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(most)
        .enable_push(false);
    handshake.handshake(pulse::heard(socket, pulse)).await.map_err(io::Error::other)
}

pub(crate) async fn http2(
    socket: Socket,
    rules: &Rules,
) -> io::Result<(Stream, impl Future<Output = Result<(), h2::Error>>)> {
    let (sender, connection) = handshake(socket, &Pulse::new(rules.ping_timeout), rules).await?;
    Ok((Stream::free(sender, scheme(rules), None, rules.limits()), connection))
}

fn scheme(rules: &Rules) -> &'static str {
    if rules.tls.is_some() { "https" } else { "http" }
}

/// Returns the time at which it was begun as well: no evidence is younger.
async fn connect_anew(endpoint: &Endpoint, rules: &Rules) -> io::Result<(u64, Socket)> {
    loop {
        let now = Instant::now();
        let begun = clock::nanos(now);
        match dial::keep(endpoint, rules).await {
            Ok(socket) if begun > endpoint.evidence() => return Ok((begun, socket)),
            // It may lead to a process that was replaced meanwhile.
            Ok(_) => {}
            Err(error) => {
                if is_deserted(&error) {
                    endpoint.renew(now);
                }
                return Err(error);
            }
        }
    }
}

/// No listener: the process that listened is about to end.
fn is_deserted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::CONNREFUSED | Errno::NOENT))
}
