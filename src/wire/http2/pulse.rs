//! Detection of dead HTTP/2 connections by PING (RFC 9113, 6.7).
//!
//! After `ping_timeout` of silence a PING is sent: before the next request, and while requests wait for answers. After
//! the same time of silence again the connection is dead. Anything received counts as life, so a PING that is answered
//! late, behind a large body, does no harm.
//!
//! gRPC servers close a connection after more than two PINGs without data between them (`too_many_pings`), unless they
//! are five minutes apart. So one silence has at most three, and then one in five minutes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior};

use crate::wire::http2::ending::{Ending, Walk};
use crate::wire::socket::Socket;
use crate::wire::socket::tapped::{Tap, Tapped};

/// Ticks of the clock in one patience. One more passes before silence is judged, so that it lasted at least that long.
const BEATS: u32 = 4;
/// PINGs in one silence, before requests that are about to be sent.
const PINGS: u32 = 3;
/// An interval of PINGs that every server accepts.
const FAR_APART: Duration = Duration::from_secs(310);

pub(crate) type Connection = h2::client::Connection<Heard, Bytes>;

/// State of the other end, shared by a connection, its socket and its streams. All are on one thread, so nothing
/// contends.
#[derive(Debug)]
pub(crate) struct Pulse {
    beat: Duration,
    heard: AtomicBool,
    silent: AtomicU32,
    asked: AtomicBool,
    /// Beats without anything received since that PING.
    unanswered: AtomicU32,
    wanted: AtomicBool,
    /// PINGs since the last part of an answer.
    pings: AtomicU32,
    rest: AtomicU32,
    settled: AtomicBool,
    over: AtomicBool,
    driver: AtomicWaker,
    waiting: Mutex<Vec<Waker>>,
    pub(crate) ending: Arc<Ending>,
}

impl Pulse {
    pub(crate) fn new(patience: Duration) -> Arc<Pulse> {
        Arc::new(Pulse {
            beat: patience / BEATS,
            heard: AtomicBool::new(false),
            silent: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            unanswered: AtomicU32::new(0),
            wanted: AtomicBool::new(false),
            pings: AtomicU32::new(0),
            rest: AtomicU32::new(0),
            settled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            driver: AtomicWaker::new(),
            waiting: Mutex::default(),
            ending: Arc::default(),
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub(crate) fn answered(&self) {
        self.pings.store(0, Relaxed);
        self.settled.store(true, Relaxed);
    }

    /// Waits until the peer is known to be alive and, with `settled`, its SETTINGS are known. False: it is dead.
    pub(crate) fn poll_fresh(&self, cx: &mut Context<'_>, settled: bool) -> Poll<bool> {
        if self.is_over() {
            return Poll::Ready(false);
        }
        let asked = self.asked.load(Relaxed);
        let is_silent = self.silent.load(Relaxed) >= BEATS && !self.heard.load(Relaxed);
        let is_unknown = settled && !self.settled.load(Relaxed);
        if !is_unknown && !(is_silent && (asked || self.may_ask(PINGS))) {
            return Poll::Ready(true);
        }
        if !asked && !self.wanted.swap(true, Relaxed) {
            self.driver.wake();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn may_ask(&self, pings: u32) -> bool {
        self.pings.load(Relaxed) < pings || self.beat * self.rest.load(Relaxed) >= FAR_APART
    }

    /// One beat of the clock. `busy`: requests wait for answers. False: the peer is dead.
    fn beats(&self, busy: bool) -> bool {
        let count = |beats: &AtomicU32, reset: bool| {
            let next = if reset { 0 } else { beats.load(Relaxed).saturating_add(1) };
            beats.store(next, Relaxed);
            next
        };
        let heard = self.heard.swap(false, Relaxed);
        count(&self.rest, false);
        let silent = count(&self.silent, heard);
        if self.asked.load(Relaxed) {
            return count(&self.unanswered, heard) <= BEATS;
        }
        if busy && silent >= BEATS && self.may_ask(1) {
            self.wanted.store(true, Relaxed);
        }
        true
    }

    fn sent(&self) {
        self.wanted.store(false, Relaxed);
        self.asked.store(true, Relaxed);
        self.unanswered.store(0, Relaxed);
        self.pings.fetch_add(1, Relaxed);
        self.rest.store(0, Relaxed);
    }

    fn ponged(&self) {
        self.asked.store(false, Relaxed);
        self.silent.store(0, Relaxed);
        self.settled.store(true, Relaxed);
        self.wake();
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Drives a connection to its end. True: the peer was dead. `busy` tells whether requests wait.
pub(crate) async fn drive(mut connection: Connection, pulse: &Pulse, busy: impl Fn() -> bool) -> bool {
    let mut ping = connection.ping_pong();
    let mut clock = tokio::time::interval(pulse.beat.max(Duration::from_millis(1)));
    // Beats missed while the process was paused are no silence.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let gone = poll_fn(|cx| {
        pulse.driver.register(cx.waker());
        // Received bytes count before the clock does.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        poll_pulse(cx, ping.as_mut(), &mut clock, pulse, &busy)
    })
    .await;
    pulse.over.store(true, Relaxed);
    // Ends its streams before waiting requests look for another connection.
    drop(connection);
    pulse.wake();
    gone
}

fn poll_pulse(
    cx: &mut Context<'_>,
    ping: Option<&mut PingPong>,
    clock: &mut Interval,
    pulse: &Pulse,
    busy: impl Fn() -> bool,
) -> Poll<bool> {
    let Some(ping) = ping else { return Poll::Pending };
    while pulse.asked.load(Relaxed) {
        match ping.poll_pong(cx) {
            Poll::Ready(Ok(_)) => pulse.ponged(),
            Poll::Ready(Err(_)) | Poll::Pending => break,
        }
    }
    while clock.poll_tick(cx).is_ready() {
        if !pulse.beats(busy()) {
            return Poll::Ready(true);
        }
    }
    if pulse.wanted.load(Relaxed) && !pulse.asked.load(Relaxed) && ping.send_ping(Ping::opaque()).is_ok() {
        pulse.sent();
        // Polls the connection, which sends the PING, and this task again, which registers for the answer.
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

#[derive(Debug)]
pub(crate) struct Listens {
    pulse: Arc<Pulse>,
    walk: Walk,
}

pub(crate) type Heard = Tapped<Socket, Listens>;

pub(crate) fn heard(socket: Socket, pulse: &Arc<Pulse>) -> Heard {
    Tapped::new(socket, Listens { pulse: Arc::clone(pulse), walk: Walk::default() })
}

impl Tap<Socket> for Listens {
    fn poll_read(&mut self, socket: &mut Socket, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let had_room = buf.remaining() > 0;
        let read = Pin::new(socket).poll_read(cx, buf);
        let came = &buf.filled()[before..];
        match &read {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if !came.is_empty() => {
                self.pulse.heard.store(true, Relaxed);
                self.walk.pass(came, &self.pulse.ending);
            }
            Poll::Ready(Ok(())) if !had_room => {}
            Poll::Ready(_) => self.pulse.ending.broke(),
        }
        read
    }

    fn write_failed(&mut self) {
        self.pulse.ending.broke();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(pulse: &Pulse, settled: bool) -> Poll<bool> {
        pulse.poll_fresh(&mut Context::from_waker(Waker::noop()), settled)
    }

    fn after(pulse: &Pulse, beats: u32, busy: bool) -> bool {
        (0..beats).all(|_| pulse.beats(busy))
    }

    #[test]
    fn a_silent_connection_is_asked_before_use_and_is_dead_if_it_stays_silent() {
        let pulse = Pulse::new(Duration::from_secs(4));
        assert_eq!(ready(&pulse, false), Poll::Ready(true), "a new one");
        assert!(after(&pulse, 100, false), "nobody waits, so nobody asks");
        assert!(!pulse.wanted.load(Relaxed));
        assert_eq!(ready(&pulse, false), Poll::Pending);
        assert!(pulse.wanted.load(Relaxed));
        pulse.sent();
        assert!(after(&pulse, BEATS, true));
        assert_eq!(ready(&pulse, false), Poll::Pending);
        assert!(!pulse.beats(true), "at least the patience has passed");
    }

    #[test]
    fn whatever_arrives_keeps_a_connection_alive() {
        let pulse = Pulse::new(Duration::from_secs(4));
        assert!(after(&pulse, BEATS, true));
        assert!(pulse.wanted.load(Relaxed), "requests wait");
        pulse.sent();
        for _ in 0..20 {
            assert!(after(&pulse, BEATS, true));
            pulse.heard.store(true, Relaxed);
            assert!(pulse.beats(true));
        }
        pulse.ponged();
        assert_eq!(ready(&pulse, false), Poll::Ready(true));
    }

    #[test]
    fn there_are_no_more_pings_in_one_silence_than_a_grpc_server_bears() {
        let pulse = Pulse::new(Duration::from_secs(4));
        let mut sent = 0;
        let mut beats = |beats: u32, busy: bool, asks: bool| {
            for _ in 0..beats {
                pulse.beats(busy);
                let _ = asks.then(|| ready(&pulse, false));
                if pulse.wanted.load(Relaxed) {
                    pulse.sent();
                    pulse.ponged();
                    sent += 1;
                }
            }
            sent
        };
        assert_eq!(beats(100, true, false), 1, "one while requests wait");
        assert_eq!(beats(100, true, true), 3, "and two before others");
        assert_eq!(beats(320, true, true), 4, "and one after five minutes");
        pulse.answered();
        assert_eq!(beats(20, true, false), 5, "an answer begins anew");
    }

    #[test]
    fn settings_are_known_after_the_first_pong_or_answer() {
        let pulse = Pulse::new(Duration::from_secs(4));
        assert_eq!((ready(&pulse, true), pulse.wanted.load(Relaxed)), (Poll::Pending, true));
        pulse.sent();
        assert_eq!(ready(&pulse, true), Poll::Pending);
        pulse.ponged();
        assert_eq!(ready(&pulse, true), Poll::Ready(true));
        let pulse = Pulse::new(Duration::from_secs(4));
        pulse.answered();
        assert_eq!(ready(&pulse, true), Poll::Ready(true));
    }
}
