//! The client's byte stream, with the few facts about it that hyper does not tell.

use std::cell::Cell;
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
    facts: Rc<Facts>,
}

/// What is known of the stream.
#[derive(Default)]
pub(crate) struct Facts {
    /// The client has sent its last byte.
    pub(crate) ended: Cell<bool>,
    /// Everything that was written has been taken by the kernel.
    pub(crate) flushed: Cell<bool>,
}

impl ClientStream {
    pub(crate) fn new(tcp: TcpStream, client: Rc<ClientConnection>, facts: Rc<Facts>) -> ClientStream {
        facts.flushed.set(true);
        ClientStream { tcp, client, facts }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            self.facts.ended.set(true);
        } else if self.client.slot.phase() == Phase::Idle {
            self.client.head_began();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.facts.flushed.set(false);
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.facts.flushed.set(false);
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write; the socket itself has nothing to flush.
        self.facts.flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
