//! Processes that served before an upgrade, and still have connections.
//!
//! Each reports its requests in flight until it ends, so that no color counts as drained before. Connections without a
//! request are closed there before a decision takes effect here, so that no request is answered by an older one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::watch;

use crate::control::Controller;
use crate::control::handle::Need;
use crate::domain::color::{Color, PerColor};
use crate::domain::transition::InFlight;
use crate::sys::handover;

/// How long a move waits for one. It needs a moment, if it lives.
const PATIENCE: Duration = Duration::from_millis(100);

/// Messages after the upgrade, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(crate) enum Word {
    /// A process that took over asks for `Left`.
    Report,
    /// A decision is about to take effect: connections without a request have to be closed.
    Moving,
    /// They are.
    Closed,
    /// Requests in flight, and the time until the rest is cut off.
    Left { blue: Count, green: Count, ends_in_ms: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    requests: u64,
    streams: u64,
    tunnels: u64,
}

impl From<InFlight> for Count {
    fn from(InFlight { requests, streams, tunnels }: InFlight) -> Count {
        Count { requests, streams, tunnels }
    }
}

impl From<Count> for InFlight {
    fn from(Count { requests, streams, tunnels }: Count) -> InFlight {
        InFlight { requests, streams, tunnels }
    }
}

impl Word {
    pub(crate) fn left(left: PerColor<InFlight>, ends_in: Duration) -> Word {
        let ends_in_ms = u64::try_from(ends_in.as_millis()).unwrap_or(u64::MAX);
        Word::Left { blue: left[Color::Blue].into(), green: left[Color::Green].into(), ends_in_ms }
    }

    /// `None`: a word of another version.
    pub(crate) fn read(text: &[u8]) -> Option<Word> {
        serde_json::from_slice(text).ok()
    }

    pub(crate) fn send(&self, channel: &impl AsFd) -> io::Result<()> {
        handover::send(channel, &serde_json::to_vec(self).map_err(io::Error::other)?, &[])
    }
}

/// Requests in flight on a color; `None`: not known yet.
type Left = PerColor<Option<InFlight>>;

const UNKNOWN: Left = PerColor { blue: None, green: None };

#[derive(Debug)]
struct Predecessor {
    pid: u32,
    channel: UnixDatagram,
    left: Left,
    ends: Option<Instant>,
    /// Its connections without a request are closed.
    closed: bool,
    gone: bool,
}

#[derive(Debug)]
pub(super) struct Predecessors {
    all: Vec<Predecessor>,
    left: watch::Sender<Left>,
}

impl Default for Predecessors {
    fn default() -> Predecessors {
        Predecessors { all: Vec::new(), left: watch::Sender::new(sum(&[])) }
    }
}

impl Predecessors {
    fn follow(&mut self, pid: u32, channel: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&channel, true)?;
        // Only the type is another one: nothing but `sys::handover` reads and writes.
        let channel = UnixDatagram::from_std(channel.into())?;
        // One that is gone is found by the first look.
        let _ = Word::Report.send(&channel);
        self.all.push(Predecessor { pid, channel, left: UNKNOWN, ends: None, closed: false, gone: false });
        self.tell();
        Ok(())
    }

    /// For the next process.
    pub(super) fn channels(&self) -> Vec<(u32, OwnedFd)> {
        let copy = |one: &Predecessor| Some((one.pid, one.channel.as_fd().try_clone_to_owned().ok()?));
        self.all.iter().filter_map(copy).collect()
    }

    pub(super) fn forget(&mut self) {
        self.all.clear();
    }

    /// Resolves when there is something to [`read`](Self::read).
    pub(super) async fn readable(&self) {
        let any = |cx: &mut Context<'_>| {
            let ready = |one: &Predecessor| one.channel.poll_recv_ready(cx).is_ready();
            // All of them, so that each wakes this task.
            if self.all.iter().map(ready).fold(false, |any, ready| any | ready) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        };
        std::future::poll_fn(any).await;
    }

    pub(super) fn read(&mut self) {
        for one in &mut self.all {
            one.read();
        }
        for ended in self.all.extract_if(.., |one| one.gone) {
            tracing::info!(pid = ended.pid, "The process before the upgrade has ended");
        }
        self.tell();
    }

    /// Has connections without a request closed, and waits for that. A process that is gone has none.
    pub(super) fn close_idle(&mut self) {
        for one in self.all.iter_mut().filter(|one| !one.closed) {
            one.close_idle();
        }
        self.read();
    }

    pub(super) fn left(&self, color: Color) -> InFlight {
        let known = self.all.iter().filter_map(|one| one.left[color]);
        known.fold(InFlight::default(), |mut sum, left| {
            sum += left;
            sum
        })
    }

    /// Changes with the requests in flight of all.
    pub(super) fn watch(&self) -> watch::Receiver<Left> {
        self.left.subscribe()
    }

    pub(super) fn needs(&self, color: Color) -> impl Iterator<Item = Need> {
        let needs = self.all.iter().filter(move |one| one.may_have(color));
        needs.map(move |one| Need::Predecessor { pid: one.pid, left: one.left[color], ends_in: one.ends_in() })
    }

    /// The longest time until the requests on a color are cut off, if there are or may be any.
    pub(super) fn draining(&self, color: Color, timeout: Duration) -> Option<Duration> {
        let drains = self.all.iter().filter(|one| one.may_have(color));
        drains.map(|one| one.ends_in().unwrap_or(timeout)).max()
    }

    fn tell(&self) {
        let now = sum(&self.all);
        self.left.send_if_modified(|left| std::mem::replace(left, now) != now);
    }
}

fn sum(all: &[Predecessor]) -> Left {
    PerColor::from_fn(|color| {
        all.iter().map(|one| one.left[color]).try_fold(InFlight::default(), |mut sum, left| {
            sum += left?;
            Some(sum)
        })
    })
}

/// Resolves when no process before the upgrade has a request on the color.
pub(super) async fn drained(mut left: watch::Receiver<Left>, color: Color) {
    let none = |left: &Left| left[color].is_some_and(|left| left.total() == 0);
    // The controller has ended otherwise.
    let _ = left.wait_for(none).await;
}

impl Predecessor {
    fn may_have(&self, color: Color) -> bool {
        self.left[color].is_none_or(|left| left.total() > 0)
    }

    fn ends_in(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    fn read(&mut self) {
        while !self.gone {
            match self.channel.try_io(Interest::READABLE, || handover::receive(&self.channel)) {
                Ok(Some((text, _))) => self.heard(&text),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => self.gone = true,
            }
        }
    }

    fn heard(&mut self, text: &[u8]) {
        match Word::read(text) {
            Some(Word::Left { blue, green, ends_in_ms }) => {
                self.left = PerColor { blue: Some(blue.into()), green: Some(green.into()) };
                self.ends = Instant::now().checked_add(Duration::from_millis(ends_in_ms));
            }
            Some(Word::Closed) => self.closed = true,
            Some(Word::Report | Word::Moving) | None => {}
        }
    }

    fn close_idle(&mut self) {
        if Word::Moving.send(&self.channel).is_err() {
            self.gone = true;
            return;
        }
        // A request may begin there until the answer.
        self.left = UNKNOWN;
        let by = Instant::now() + PATIENCE;
        while !self.closed && !self.gone {
            let left = Timespec::try_from(by.saturating_duration_since(Instant::now())).unwrap_or_default();
            let waited = poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], Some(&left));
            if !waited.is_ok_and(|ready| ready > 0) {
                tracing::warn!(pid = self.pid, "No answer from the process before the upgrade");
                return;
            }
            match handover::receive(&self.channel) {
                Ok(Some((text, _))) => self.heard(&text),
                Ok(None) | Err(_) => self.gone = true,
            }
        }
    }
}

impl Controller {
    /// Says which process served before an upgrade.
    pub(crate) fn follow(&mut self, pid: u32, channel: OwnedFd) -> io::Result<()> {
        self.predecessors.follow(pid, channel)
    }
}
