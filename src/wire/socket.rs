//! A byte stream to a client or an endpoint.

pub(crate) mod buffer;
pub(crate) mod keepalive;
pub(crate) mod tapped;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::wire::socket::tapped::{Tap, Tapped};

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Ahead(Box<Tapped<Socket, Ahead>>),
    Client(Box<tokio_rustls::server::TlsStream<Socket>>),
    Endpoint(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl Socket {
    /// Puts `read` back in front of the unread bytes.
    pub(crate) fn rewound(self, read: &[u8]) -> Socket {
        Socket::Ahead(Box::new(Tapped::new(self, Ahead(Bytes::copy_from_slice(read)))))
    }

    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(stream) => Some(stream),
            Socket::Unix(_) => None,
            Socket::Ahead(stream) => stream.socket.tcp(),
            Socket::Client(stream) => stream.get_ref().0.tcp(),
            Socket::Endpoint(stream) => stream.get_ref().0.tcp(),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $do:expr) => {
        match $self.get_mut() {
            Socket::Tcp($stream) => $do,
            Socket::Unix($stream) => $do,
            Socket::Ahead($stream) => $do,
            Socket::Client($stream) => $do,
            Socket::Endpoint($stream) => $do,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// Bytes to be read again before the socket's own.
#[derive(Debug)]
pub(crate) struct Ahead(Bytes);

impl Tap<Socket> for Ahead {
    fn poll_read(&mut self, socket: &mut Socket, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Pin::new(socket).poll_read(cx, buf);
        }
        let taken = buf.remaining().min(self.0.len());
        buf.put_slice(&self.0.split_to(taken));
        Poll::Ready(Ok(()))
    }
}
