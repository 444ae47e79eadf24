//! Reading on behind a last answer.
//!
//! Closing a socket with unread bytes resets the connection, and a reset overtakes the answer: a client that is still
//! sending its upload sees a broken pipe instead of the 413. So the proxy closes its half, and throws away what still
//! comes, within bounds.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::wire::socket::Socket;

/// The bounds of one reading on.
pub(super) struct Bounds {
    total: Duration,
    idle: Duration,
    bytes: usize,
}

/// For a client that sends a request whose answer it has. Time as in nginx (`lingering_time`, `lingering_timeout`).
pub(super) const UPLOAD: Bounds =
    Bounds { total: Duration::from_secs(30), idle: Duration::from_secs(5), bytes: 256 << 20 };
/// For a client that was told to go.
pub(super) const GOODBYE: Bounds =
    Bounds { total: Duration::from_secs(1), idle: Duration::from_secs(1), bytes: 256 << 10 };

/// The total where the process stops.
const STOPPING: Duration = Duration::from_secs(1);
/// Reads until other connections have their turn.
const AT_ONCE: usize = 16;
/// One read.
const PIECE: usize = 16 << 10;

/// Tells the client that nothing more comes, and reads until it has closed its half or a bound is reached.
pub(super) async fn linger(slot: &DeadlineSlot, io: &mut Socket, bounds: &Bounds) {
    if slot.take_fired() == Some(Fired::Cut) {
        return;
    }
    // At `max_connections` it is among the first to be closed.
    slot.enter(Phase::Idle, Some(std::time::Instant::now() + bounds.total));
    let (mut total, mut idle) = (pin!(sleep(bounds.total)), pin!(sleep(bounds.idle)));
    let mut last = Instant::now();
    let (mut told, mut hurried) = (false, false);
    let mut left = bounds.bytes;
    let mut buffer = vec![0; PIECE];
    poll_fn(|cx| {
        if slot.is_closing() && !hurried {
            hurried = true;
            let end = total.deadline().min(Instant::now() + STOPPING);
            total.as_mut().reset(end);
        }
        if matches!(slot.fired(), Some(Fired::Deadline | Fired::Cut)) || total.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while idle.as_mut().poll(cx).is_ready() {
            if last.elapsed() >= bounds.idle {
                return Poll::Ready(());
            }
            idle.as_mut().reset(last + bounds.idle);
        }
        if !told {
            match Pin::new(&mut *io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => told = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        for _ in 0..AT_ONCE {
            let mut into = ReadBuf::new(&mut buffer);
            match Pin::new(&mut *io).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && left > into.filled().len() => {
                    left -= into.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
            last = Instant::now();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
