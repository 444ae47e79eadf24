//! A listener whose connections no runtime knows yet.
//!
//! tokio's own accept registers a connection with the thread that accepts it, though another one may serve it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};

use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(crate) struct Incoming(AsyncFd<TcpListener>);

impl Incoming {
    /// The listener must not block. To be called on the thread that accepts.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Incoming> {
        #[expect(unsafe_code, reason = "the caller vouches for the descriptor")]
        // SAFETY: A listener of std owns its descriptor, which stays open and the same until the listener is dropped.
        let listener = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?;
        Ok(Incoming(listener))
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let mut readable = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(accepted) = readable.try_io(|listener| next(listener.get_ref())) {
                return Poll::Ready(accepted);
            }
        }
    }

    /// The next connection that is there already.
    pub(crate) fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        next(self.0.get_ref())
    }
}

/// One system call: std's own accept returns a connection that blocks.
fn next(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?.try_into()?;
    Ok((stream.into(), peer))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;

    use super::*;

    fn listener(address: &str) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    #[tokio::test]
    async fn a_connection_does_not_block_and_is_not_inherited() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = listener(address) else { continue };
            let at = listener.local_addr().expect("bound");
            let incoming = Incoming::new(listener).expect("a listener");
            assert_eq!(incoming.next().expect_err("nobody came").kind(), io::ErrorKind::WouldBlock);
            let client = TcpStream::connect(at).expect("it listens");
            let (mut accepted, peer) = poll_fn(|cx| incoming.poll_next(cx)).await.expect("a connection");
            assert_eq!(Some(peer), client.local_addr().ok());
            let error = accepted.read(&mut [0]).expect_err("nothing was sent");
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let flags = rustix::io::fcntl_getfd(&accepted).expect("flags");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[tokio::test]
    async fn connections_that_came_together_are_accepted_one_after_the_other() {
        let listener = listener("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("bound");
        let incoming = Incoming::new(listener).expect("a listener");
        for _ in 0..3 {
            let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(at).expect("it listens")).collect();
            for client in &clients {
                let (_, peer) = poll_fn(|cx| incoming.poll_next(cx)).await.expect("a connection");
                assert_eq!(Some(peer), client.local_addr().ok());
            }
        }
    }
}
