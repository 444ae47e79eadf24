//! Connections to endpoints: made, driven, kept and dropped by the one worker that uses them.
//!
//! hyper's client connection is not a task of its own here: whoever waits for the answer polls it. That saves two
//! wake-ups and a trip through the scheduler for each request. While a connection is idle nobody polls it; that its
//! endpoint closed it is found out when it is taken, before anything is sent, or by [`IdleConnections::sweep`].

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::config::EndpointAddress;
use crate::proxy::body::RequestBody;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::hash::Map;
use crate::proxy::interim::Interim;
use crate::proxy::pool::Endpoint;

/// At most so many idle connections to one endpoint are kept by each worker.
const IDLE_PER_ENDPOINT: usize = 512;

/// A byte stream to an endpoint.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    interim: Rc<RefCell<Interim>>,
    /// HTTP is spoken: that nothing more can be written is no reason not to read what was answered.
    answers: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to an endpoint, free or under a request.
pub(crate) struct UpstreamConnection {
    sender: SendRequest<RequestBody>,
    driver: Box<Connection<TokioIo<Stream>, RequestBody>>,
    interim: Rc<RefCell<Interim>>,
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
        let interim = Rc::new(RefCell::new(Interim::default()));
        let stream = Stream { socket, interim: Rc::clone(&interim), answers: true };
        // No I/O yet: the handshake of HTTP/1.1 is empty.
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Kind::Refused)?;
        Ok(UpstreamConnection {
            sender,
            driver: Box::new(driver),
            interim,
            endpoint: endpoint.id,
            address,
            reused: false,
            keep_until: Instant::now(),
        })
    }

    /// Queues a request; it is written, and its answer read, while [`UpstreamConnection::drive`] is polled.
    pub(crate) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + use<> {
        self.interim.borrow_mut().begin();
        self.sender.try_send_request(request)
    }

    /// Interim answers that came, as they go to the client.
    pub(crate) fn take_interim(&self) -> Option<Vec<u8>> {
        self.interim.borrow_mut().take()
    }

    /// Lets the connection work: write what waits, read what came. Ready when the connection is over, be it because it
    /// was closed, failed, or switched its protocol.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.driver.poll_without_shutdown(cx)
    }

    /// The raw stream after a 101, with what was already read beyond it.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        let parts = self.driver.into_parts();
        let mut stream = parts.io.into_inner();
        stream.answers = false;
        (stream, parts.read_buf)
    }

    /// Whether it can carry a request now.
    fn is_free(&mut self) -> bool {
        // What came last may have been read without the connection having noticed that it is free again.
        self.sender.is_ready() || {
            let over = self.drive(&mut Context::from_waker(Waker::noop())).is_ready();
            !over && self.sender.is_ready()
        }
    }
}

/// The free connections of one worker, by endpoint; the last one used is the first one taken.
#[derive(Default)]
pub(crate) struct IdleConnections {
    by_endpoint: RefCell<Map<u64, Vec<UpstreamConnection>>>,
}

impl IdleConnections {
    /// Takes a free connection to this endpoint.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<UpstreamConnection> {
        let mut all = self.by_endpoint.borrow_mut();
        let free = all.get_mut(&endpoint.id)?;
        loop {
            let connection = free.pop()?;
            // A name may stand for other addresses by now.
            let stale = connection.address.is_some_and(|address| {
                let resolved = endpoint.resolved.load();
                !resolved.is_empty() && !resolved.contains(&address)
            });
            if !stale {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over, if it can carry another one.
    pub(crate) fn put(&self, mut connection: UpstreamConnection, keep_until: Instant) {
        if !connection.is_free() {
            return;
        }
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
        let mut cx = Context::from_waker(Waker::noop());
        self.by_endpoint.borrow_mut().retain(|_, free| {
            free.retain_mut(|connection| connection.keep_until > now && connection.drive(&mut cx).is_pending());
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
        EndpointAddress::Unix(path) => Ok((unix(path).await?, None)),
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

async fn unix(path: &Path) -> io::Result<Socket> {
    Ok(Socket::Unix(UnixStream::connect(path).await?))
}

impl Stream {
    /// An endpoint that refuses an upload answers and closes. hyper would give up at the failed write, with the answer
    /// unread in the socket; so it waits instead, and reads: the answer, and then the end.
    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error))
                if self.answers
                    && matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Poll::Pending
            }
            written => written,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        this.interim.borrow_mut().came(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            // A head without a body: the plain call is the cheaper one.
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets have nothing to flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
