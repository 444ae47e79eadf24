//! A connection to an endpoint: its addresses, the options of its socket, and TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use socket2::{Domain, SockRef, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::config::EndpointAddress;
use crate::proxy::pool::{Endpoint, Rules, Target};
use crate::wire::socket::Socket;
use crate::wire::socket::keepalive;

/// For many requests.
pub(super) async fn keep(endpoint: &Endpoint, rules: &Rules) -> io::Result<Socket> {
    let tcp = async |address| {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        keepalive::enable(&SockRef::from(&stream))?;
        Ok(Socket::Tcp(stream))
    };
    secure(endpoint, rules, dial(endpoint, tcp, Socket::Unix).await?).await
}

/// For one request, which follows at once.
pub(crate) async fn connect(endpoint: &Endpoint, rules: &Rules) -> io::Result<Socket> {
    let tcp = async |address| {
        let stream = tcp_for_data(address).await?;
        stream.set_nodelay(true)?;
        Ok(Socket::Tcp(stream))
    };
    secure(endpoint, rules, dial(endpoint, tcp, Socket::Unix).await?).await
}

/// Connects, and closes. Without TLS the handshake is reset before it is complete: the endpoint's kernel has told that
/// a process listens, which sees nothing of it, and no side has a connection in TIME_WAIT.
pub(crate) async fn knock(endpoint: &Endpoint, rules: &Rules) -> io::Result<()> {
    if rules.tls.is_some() {
        return connect(endpoint, rules).await.map(drop);
    }
    dial(endpoint, knock_at, drop).await
}

async fn secure(endpoint: &Endpoint, rules: &Rules, socket: Socket) -> io::Result<Socket> {
    let Some(tls) = &rules.tls else { return Ok(socket) };
    let host = match &endpoint.address {
        EndpointAddress::Ip(address) => address.ip().to_string(),
        EndpointAddress::Name { host, .. } => host.clone(),
        EndpointAddress::Unix(_) | EndpointAddress::Service { .. } => String::new(),
    };
    Ok(Socket::Endpoint(Box::new(tls.connect(&host, socket).await?)))
}

async fn dial<S>(
    endpoint: &Endpoint,
    tcp: impl AsyncFn(SocketAddr) -> io::Result<S>,
    unix: impl FnOnce(UnixStream) -> S,
) -> io::Result<S> {
    match (&endpoint.target, &endpoint.address) {
        (Target::Tcp(address), _) => tcp(*address).await,
        (Target::Unix, EndpointAddress::Unix(path)) => Ok(unix(UnixStream::connect(path).await?)),
        (Target::Unix, _) => Err(io::ErrorKind::NotFound.into()),
        // A snapshot with its addresses follows; this request began before it.
        (Target::Unresolved(name), _) => {
            let not_found = |reason: String| io::Error::new(io::ErrorKind::NotFound, reason);
            let mut last = None;
            for address in &*name.first().await.map_err(not_found)? {
                match tcp(*address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| not_found("the name has no address".to_owned())))
        }
    }
}

/// The last acknowledgment of the handshake waits for the data, so that the endpoint wakes up once.
async fn tcp_for_data(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Without it the connection takes one packet more.
    let _ = set_tcp_quickack(&socket, false);
    socket.connect(address).await
}

async fn knock_at(address: SocketAddr) -> io::Result<()> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    let _ = set_tcp_quickack(&socket, false);
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&address.into()) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        connected => return connected,
    }
    // A listener on this machine has answered already: the runtime need not watch the socket.
    if socket.peer_addr().is_ok() {
        return Ok(());
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(()), Err)
}
