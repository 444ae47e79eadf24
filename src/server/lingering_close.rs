//! Lingering close: the proxy closes its half, then reads and discards within bounds.
//!
//! Closing a socket with unread bytes resets the connection, and the reset overtakes the answer: a client that still
//! sends its upload would see a broken pipe instead of the 413.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase};
use crate::wire::socket::Socket;

pub(super) struct Bounds {
    total: Duration,
    idle: Duration,
    bytes: usize,
}

/// For a client whose answer came before the end of its upload. Times are nginx's (`lingering_time`,
/// `lingering_timeout`).
pub(super) const UPLOAD: Bounds =
    Bounds { total: Duration::from_secs(30), idle: Duration::from_secs(5), bytes: 256 << 20 };
pub(super) const GOODBYE: Bounds =
    Bounds { total: Duration::from_secs(1), idle: Duration::from_secs(1), bytes: 256 << 10 };

const STOPPING: Duration = Duration::from_secs(1);
/// Reads before other connections have their turn.
const AT_ONCE: usize = 16;
const PIECE: usize = 16 << 10;

pub(super) async fn linger(slot: &DeadlineSlot, io: &mut Socket, bounds: &Bounds) {
    if slot.take_fired() == Some(Fired::Cut) {
        return;
    }
    // At `max_connections` idle connections are the first to be closed.
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
