//! The admin listener: TCP or a unix socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::admin::auth::Peer;
use crate::admin::socket::Socket;
use crate::config::{AdminAddress, ListenConfig};
use crate::sys::inherited::Inherited;

pub(crate) const KEY: &str = "admin";

/// A second handle on a listener, and its socket file if this process owns it.
pub(crate) type AdminHandle = (OwnedFd, Option<PathBuf>);

#[derive(Debug)]
pub(crate) struct AdminListener {
    kind: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(Socket),
}

impl AdminListener {
    /// Must be called within a runtime.
    pub(crate) fn bind(listen: &ListenConfig, inherited: &mut Inherited) -> io::Result<AdminListener> {
        let kind = match &listen.admin {
            AdminAddress::Tcp(address) => match inherited.take_tcp(KEY, *address).pop() {
                Some(open) => {
                    open.set_nonblocking(true)?;
                    Bound::Tcp(TcpListener::from_std(open)?)
                }
                None => {
                    let socket = if address.is_ipv4() {
                        tokio::net::TcpSocket::new_v4()
                    } else {
                        tokio::net::TcpSocket::new_v6()
                    }?;
                    // A restart must not wait for the previous process's connections.
                    socket.set_reuseaddr(true)?;
                    socket.bind(*address)?;
                    Bound::Tcp(socket.listen(128)?)
                }
            },
            AdminAddress::Unix(path) => {
                let (mode, group) = (listen.admin_mode, listen.admin_group.as_deref());
                Bound::Unix(match inherited.take_unix(KEY, path) {
                    Some(open) => Socket::adopt(open, path, mode, group)?,
                    None => Socket::bind(path, mode, group)?,
                })
            }
        };
        Ok(AdminListener { kind })
    }

    /// Port 0 is resolved.
    #[must_use]
    pub(crate) fn address(&self) -> AdminAddress {
        match &self.kind {
            Bound::Tcp(listener) => {
                let unknown = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
                AdminAddress::Tcp(listener.local_addr().unwrap_or(unknown))
            }
            Bound::Unix(socket) => AdminAddress::Unix(socket.path().to_owned()),
        }
    }

    pub(super) fn handle(&self) -> io::Result<AdminHandle> {
        match &self.kind {
            Bound::Tcp(listener) => Ok((listener.as_fd().try_clone_to_owned()?, None)),
            Bound::Unix(socket) => Ok((socket.handle()?, socket.is_owned().then(|| socket.path().to_owned()))),
        }
    }

    /// This process serves from now on. One that fails before leaves the socket file to its owner.
    pub(super) fn inherit(&mut self) {
        if let Bound::Unix(socket) = &mut self.kind {
            socket.inherit();
        }
    }

    /// Another process owns the socket file from now on.
    pub(super) fn disown(&mut self) {
        if let Bound::Unix(socket) = &mut self.kind {
            socket.disown();
        }
    }

    pub(super) fn look_after(&mut self) {
        if let Bound::Unix(socket) = &mut self.kind {
            socket.look_after();
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.kind {
            Bound::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small, and clients wait for them.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::tcp(peer)))
            }
            Bound::Unix(socket) => {
                let stream = socket.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Peer::unix(uid)))
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
