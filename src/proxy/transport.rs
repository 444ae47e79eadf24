//! Connections to endpoints: made, kept and dropped by the one worker that uses them.
//!
//! A connection that is free is looked after by nobody; that its endpoint closed it is found out when it is taken, before
//! anything is sent, or by [`IdleConnections::sweep`].

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};

use crate::config::EndpointAddress;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::hash::Map;
use crate::proxy::pool::Endpoint;
use crate::wire::http1::Wire;
use crate::wire::side::Side;
use crate::wire::socket::Socket;

/// At most so many idle connections to one endpoint are kept by each worker.
const IDLE_PER_ENDPOINT: usize = 512;

/// A connection to an endpoint, free or under a request.
#[derive(Debug)]
pub(crate) struct UpstreamConnection {
    pub(crate) side: Side,
    endpoint: u64,
    address: Option<SocketAddr>,
    /// It has carried a request before; so that it breaks may only mean that the endpoint closed an idle connection.
    pub(crate) reused: bool,
    keep_until: Instant,
}

impl UpstreamConnection {
    /// Connects, within `timeout`.
    pub(crate) async fn connect(endpoint: &Endpoint, timeout: Duration) -> Result<UpstreamConnection, ProxyError> {
        let connecting = tokio::time::timeout(timeout, open(endpoint));
        let (socket, address) = match connecting.await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %endpoint.name, %error, "Could not connect.");
                let kind = if error.kind() == io::ErrorKind::NotFound
                    && matches!(endpoint.address, EndpointAddress::Name { .. })
                {
                    Kind::NameUnknown
                } else {
                    Kind::Refused
                };
                return Err(kind.into());
            }
            Err(_elapsed) => return Err(Kind::ConnectTimeout.into()),
        };
        Ok(UpstreamConnection {
            side: Side::Http1(Box::new(Wire::new(socket))),
            endpoint: endpoint.id,
            address,
            reused: false,
            keep_until: Instant::now(),
        })
    }

    /// Whether it can carry a request now: nothing came that nobody asked for, and it was not closed.
    fn is_free(&mut self) -> bool {
        let left = self.side.poll_left(&mut Context::from_waker(Waker::noop())).is_ready();
        !left && !self.side.has_unread()
    }
}

/// The free connections of one worker, by endpoint; the last one used is the first one taken.
#[derive(Debug, Default)]
pub(crate) struct IdleConnections {
    by_endpoint: RefCell<Map<u64, Vec<UpstreamConnection>>>,
}

impl IdleConnections {
    /// Takes a free connection to this endpoint.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<UpstreamConnection> {
        let mut all = self.by_endpoint.borrow_mut();
        let free = all.get_mut(&endpoint.id)?;
        loop {
            let mut connection = free.pop()?;
            // A name may stand for other addresses by now.
            let stale = connection.address.is_some_and(|address| {
                let resolved = endpoint.resolved.load();
                !resolved.is_empty() && !resolved.contains(&address)
            });
            if !stale && connection.is_free() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over.
    pub(crate) fn put(&self, mut connection: UpstreamConnection, keep_until: Instant) {
        connection.reused = true;
        connection.keep_until = keep_until;
        let mut all = self.by_endpoint.borrow_mut();
        let free = all.entry(connection.endpoint).or_default();
        if free.len() < IDLE_PER_ENDPOINT {
            free.push(connection);
        }
    }

    /// Drops what is too old or was closed by the endpoint.
    pub(crate) fn sweep(&self, now: Instant) {
        self.by_endpoint.borrow_mut().retain(|_, free| {
            free.retain_mut(|connection| connection.keep_until > now && connection.is_free());
            !free.is_empty()
        });
    }

    /// Drops all free connections to these endpoints.
    pub(crate) fn close(&self, endpoints: &[u64]) {
        let mut all = self.by_endpoint.borrow_mut();
        for endpoint in endpoints {
            all.remove(endpoint);
        }
    }
}

async fn open(endpoint: &Endpoint) -> io::Result<(Socket, Option<SocketAddr>)> {
    match &endpoint.address {
        EndpointAddress::Ip(address) => Ok((tcp(*address).await?, None)),
        EndpointAddress::Unix(path) => Ok((Socket::Unix(UnixStream::connect(path).await?), None)),
        EndpointAddress::Name { host, port } => {
            let known = endpoint.resolved.load_full();
            let resolved = if known.is_empty() {
                tokio::net::lookup_host((host.as_str(), *port))
                    .await
                    .map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?
                    .collect()
            } else {
                known.to_vec()
            };
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in resolved {
                match tcp(address).await {
                    Ok(stream) => return Ok((stream, Some(address))),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

async fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Socket::Tcp(stream))
}
