//! Large bodies from socket to socket without a copy: the kernel moves pages through a pipe (splice(2)).
//!
//! Worth it only where there is much to move, and possible only where nobody looks at the bytes: TCP on both sides,
//! HTTP/1.1 on both sides, and a length that is known.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::sys::buffered::{self, Charge};
use crate::sys::descriptors::{self, Held, Use};

/// Below this, a read and a write are cheaper than what it takes to begin.
pub(crate) const LEAST: u64 = 64 << 10;
/// So much is moved at once; what every process may have without asking for more.
const AT_ONCE: usize = 1 << 20;
/// Pipes that are kept by each thread.
const KEPT: usize = 8;

/// A smaller pipe is not worth its system calls.
const LEAST_SIZE: usize = 64 << 10;
/// A thread that got no pipe copies for so long.
const NONE_FOR: Duration = Duration::from_secs(1);

/// The pipes of one thread.
struct Store {
    pipes: Vec<Pipe>,
    /// There are none to be had before this.
    none_until: Option<Instant>,
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { pipes: Vec::new(), none_until: None }) };
}

/// What is between the two sockets.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: usize,
    held: usize,
    charge: Charge,
    _descriptors: Held,
}

impl Pipe {
    /// An empty pipe; `None`: there are no descriptors, or only a small pipe, with which moving costs more than
    /// copying.
    pub(crate) fn take() -> Option<Pipe> {
        if buffered::is_full() {
            return None;
        }
        STORE.with_borrow_mut(|store| {
            if let Some(pipe) = store.pipes.pop() {
                return Some(pipe);
            }
            if store.none_until.is_some_and(|until| Instant::now() < until) {
                return None;
            }
            let made = Pipe::make();
            store.none_until = if made.is_none() { Some(Instant::now() + NONE_FOR) } else { None };
            made
        })
    }

    fn make() -> Option<Pipe> {
        let descriptors = descriptors::take(Use::Pipe)?;
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // A user with many pipes gets small ones from the kernel (`fs.pipe-user-pages-soft`).
        let size = fcntl_setpipe_size(&write, AT_ONCE).or_else(|_| fcntl_getpipe_size(&write)).ok()?;
        (size >= LEAST_SIZE).then(|| Pipe {
            read,
            write,
            size,
            held: 0,
            charge: Charge::default(),
            _descriptors: descriptors,
        })
    }

    /// Keeps a pipe for the next body. A pipe below the full size is closed: it would slow down every body after it.
    pub(crate) fn give(self) {
        STORE.with_borrow_mut(|store| {
            if self.held == 0 && self.size >= AT_ONCE && store.pipes.len() < KEPT {
                store.pipes.push(self);
            }
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves from a socket into the pipe, which is empty; 0: the socket has ended.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, from: &TcpStream, most: u64) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.size);
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.write, None, most, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(n) => {
                    self.held = n;
                    self.charge.set(n);
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }

    /// Moves what is in the pipe into a socket; how much of it went.
    pub(crate) fn poll_empty(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || Ok(splice(&self.read, None, to, None, self.held, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.held -= n;
                    self.charge.set(self.held);
                    return Poll::Ready(Ok(n));
                }
            }
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<usize> {
        STORE.with_borrow(|store| store.pipes.iter().map(|pipe| pipe.size).collect())
    }

    #[test]
    fn a_pipe_below_its_full_size_is_not_kept() {
        let pipe = |size| {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
            let size = fcntl_setpipe_size(&write, size).expect("a size");
            let descriptors = descriptors::take(Use::Pipe).expect("room");
            Pipe { read, write, size, held: 0, charge: Charge::default(), _descriptors: descriptors }
        };
        for size in [4 << 10, 64 << 10, 512 << 10] {
            pipe(size).give();
            assert!(kept().is_empty(), "{size}");
        }
        pipe(AT_ONCE).give();
        assert_eq!(kept(), [AT_ONCE]);
        assert!(Pipe::take().is_some() && kept().is_empty());
    }

    #[test]
    fn a_thread_that_gets_no_pipe_does_not_ask_for_one_at_each_piece() {
        STORE.with_borrow_mut(|store| store.none_until = Some(Instant::now() + NONE_FOR));
        assert!(Pipe::take().is_none());
        STORE.with_borrow_mut(|store| store.none_until = Some(Instant::now()));
        assert!(Pipe::take().is_some());
    }
}
