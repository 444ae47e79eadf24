//! Large bodies from socket to socket without a copy: the kernel moves pages through a pipe (splice(2)).
//!
//! Worth it only where there is much to move, and possible only where nobody looks at the bytes: TCP on both sides,
//! HTTP/1.1 on both sides, and a length that is known.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Below this, a read and a write are cheaper than what it takes to begin.
pub(super) const LEAST: u64 = 64 << 10;
/// So much is moved at once; what every process may have without asking for more.
const AT_ONCE: usize = 1 << 20;
/// Pipes that are kept by each thread.
const KEPT: usize = 8;

thread_local! {
    static STORE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// What is between the two sockets.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
    held: usize,
}

impl Pipe {
    /// One that is empty; `None`: there are no more descriptors.
    pub(super) fn take() -> Option<Pipe> {
        STORE.with_borrow_mut(Vec::pop).or_else(|| {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            // A process that has many of them gets small ones.
            let size = fcntl_setpipe_size(&write, AT_ONCE).unwrap_or(64 << 10);
            Some(Pipe { read, write, size, held: 0 })
        })
    }

    pub(super) fn give(self) {
        STORE.with_borrow_mut(|store| {
            if self.held == 0 && store.len() < KEPT {
                store.push(self);
            }
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves from a socket into the pipe, which is empty; 0: the socket has ended.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, from: &TcpStream, most: u64) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.size);
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.write, None, most, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(n) => {
                    self.held = n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    /// Moves what is in the pipe into a socket; how much of it went.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || Ok(splice(&self.read, None, to, None, self.held, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.held -= n;
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
