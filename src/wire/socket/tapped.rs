//! A socket whose reads pass through something that looks at them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) trait Tap<S>: Unpin {
    fn poll_read(&mut self, socket: &mut S, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;

    fn write_failed(&mut self) {}
}

#[derive(Debug)]
pub(crate) struct Tapped<S, T> {
    pub(crate) socket: S,
    tap: T,
}

impl<S, T> Tapped<S, T> {
    pub(crate) fn new(socket: S, tap: T) -> Tapped<S, T> {
        Tapped { socket, tap }
    }
}

impl<S, T: Tap<S>> Tapped<S, T> {
    fn written<R>(&mut self, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if matches!(result, Poll::Ready(Err(_))) {
            self.tap.write_failed();
        }
        result
    }
}

impl<S: Unpin, T: Tap<S>> AsyncRead for Tapped<S, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Tapped { socket, tap } = &mut *self;
        tap.poll_read(socket, cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, T: Tap<S>> AsyncWrite for Tapped<S, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        self.written(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
