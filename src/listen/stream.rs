//! The client's byte stream, with the few facts about it that hyper does not tell.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::listen::strict::Heads;
use crate::proxy::client::ClientConnection;
use crate::proxy::error::refusal;
use crate::proxy::slot::Phase;

/// The stream of one client connection.
pub(crate) struct ClientStream {
    pub(crate) tcp: TcpStream,
    client: Rc<ClientConnection>,
    heads: Heads,
    /// What an earlier hyper has read and not used; the next one reads it first.
    pub(crate) ahead: Bytes,
}

impl ClientStream {
    pub(crate) fn new(tcp: TcpStream, client: Rc<ClientConnection>) -> ClientStream {
        ClientStream { tcp, client, heads: Heads::default(), ahead: Bytes::new() }
    }

    /// hyper itself refuses a head that it can't read, with no more than a status. Nothing is to be answered then, and
    /// by that it is known; its bytes are taken for written, and a whole answer goes out in their place.
    fn refused(&mut self, bytes: &[u8]) -> bool {
        if self.client.answering.get() || !bytes.starts_with(b"HTTP/1.1 4") {
            return false;
        }
        let status = bytes.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).unwrap_or(400);
        self.client.refused.set(Some(status));
        self.client.interim.borrow_mut().extend_from_slice(refusal(status, None).as_bytes());
        true
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
        if !self.ahead.is_empty() {
            let taken = buf.remaining().min(self.ahead.len());
            buf.put_slice(&self.ahead.split_to(taken));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if came.is_empty() {
            self.client.ended.set(true);
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let phase = this.client.slot.phase();
        if phase != Phase::Tunnel {
            this.heads.came(came, phase == Phase::Idle, this.client.heads.get());
            this.client.ambiguous_head.set(this.heads.ambiguous());
        }
        if phase == Phase::Idle {
            this.client.head_began();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        if self.refused(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        self.client.flushed.set(false);
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        if bufs.first().is_some_and(|first| self.refused(first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
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
        if matches!(self.client.slot.phase(), Phase::Idle | Phase::Head) {
            self.client.answering.set(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
