//! The client's byte stream, with the few facts about it that hyper does not tell.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::proxy::client::ClientConnection;
use crate::proxy::slot::Phase;

/// The stream of one client connection.
pub(crate) struct ClientStream {
    pub(crate) tcp: TcpStream,
    client: Rc<ClientConnection>,
}

impl ClientStream {
    pub(crate) fn new(tcp: TcpStream, client: Rc<ClientConnection>) -> ClientStream {
        ClientStream { tcp, client }
    }

    /// Writes what comes before anything that hyper has to write.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut interim = self.client.interim.borrow_mut();
        while !interim.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &interim))?;
            interim.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            self.client.ended.set(true);
        } else if self.client.slot.phase() == Phase::Idle {
            self.client.head_began();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.client.flushed.set(false);
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.client.flushed.set(false);
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write; the socket itself has nothing to flush.
        ready!(self.poll_interim(cx))?;
        self.client.flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
