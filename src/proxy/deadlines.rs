//! Deadlines: each client connection, with the exchange on it, is one [`DeadlineSlot`].
//!
//! A slot has a deadline and a flag. Moving the deadline is a store to a cell; nothing is armed, and a timer that does
//! not fire costs nothing. The worker's [sweeper](slots::DeadlineSlots::sweep) sleeps until the earliest deadline, sets
//! the flag of each slot that is due, and wakes its task, which decides what that means.

pub(crate) mod slots;

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Instant;

use crate::evidence::metering::Metered;
use crate::wire::http2::server::Cut;

/// What the exchange on a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No request; the deadline is the idle timeout.
    Idle,
    /// A request head has begun.
    Head,
    /// A request waits, because requests are held.
    Held,
    /// A request is under way, not answered yet.
    Request,
    /// The answer's body is under way.
    Body,
    /// The connection is a tunnel; the deadline is when it is to be ended.
    Tunnel,
    /// The tunnel is being ended, and nobody can end it once more; the deadline is when it is cut.
    Ending,
}

/// Why a slot was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// The deadline has passed.
    Deadline,
    /// Nothing went through a tunnel for too long.
    Idle,
    /// The drain of its color is over its time.
    Ended,
    /// The process stops: finish what is under way, take nothing new.
    Closing,
    /// The process stops now.
    Cut,
}

/// One client connection and what is on it.
#[derive(Debug)]
pub(crate) struct DeadlineSlot {
    deadline: Cell<Option<Instant>>,
    /// Until when something has to go through a tunnel.
    quiet_until: Cell<Option<Instant>>,
    phase: Cell<Phase>,
    epoch: Cell<u64>,
    fired: Cell<Option<Fired>>,
    closing: Cell<bool>,
    /// It is being closed to make room for another connection.
    leaving: Cell<bool>,
    /// The proxy ended the stream of the present exchange.
    cut: Cell<Option<Cut>>,
    /// What the present exchange is counted as.
    pub(crate) metered: Cell<Option<Metered>>,
    waker: RefCell<Option<Waker>>,
    key: Cell<usize>,
}

impl DeadlineSlot {
    fn new(phase: Phase, deadline: Option<Instant>) -> DeadlineSlot {
        DeadlineSlot {
            deadline: Cell::new(deadline),
            quiet_until: Cell::new(None),
            phase: Cell::new(phase),
            epoch: Cell::new(0),
            fired: Cell::new(None),
            closing: Cell::new(false),
            leaving: Cell::new(false),
            cut: Cell::new(None),
            metered: Cell::new(None),
            waker: RefCell::new(None),
            key: Cell::new(0),
        }
    }

    /// Enters a phase, with its deadline.
    pub(crate) fn enter(&self, phase: Phase, deadline: Option<Instant>) {
        self.phase.set(phase);
        self.deadline.set(deadline);
        self.quiet_until.set(None);
    }

    /// A tunnel may be quiet until then.
    pub(crate) fn quiet_until(&self, until: Instant) {
        self.quiet_until.set(Some(until));
    }

    /// Moves the deadline.
    pub(crate) fn extend(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Says which epoch of a color serves the present exchange; 0: none.
    pub(crate) fn serve(&self, epoch: u64) {
        self.epoch.set(epoch);
    }

    /// Says that the proxy ended the stream of the exchange.
    pub(crate) fn set_cut(&self, cut: Cut) {
        self.cut.set(Some(cut));
    }

    /// The client has not left: the proxy ended its stream.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// Why it was woken, if it was; the reason stays until it is taken.
    pub(crate) fn fired(&self) -> Option<Fired> {
        self.fired.get()
    }

    /// Takes the reason.
    pub(crate) fn take_fired(&self) -> Option<Fired> {
        self.fired.take()
    }

    /// The process stops: this connection takes no further request.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether it was being closed to make room for another connection; it is not any more.
    pub(crate) fn stay(&self) -> bool {
        self.leaving.take()
    }

    /// Has the polled task woken when the slot fires.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// For what the connection waits, and how long at most, if it has no request.
    fn waits(&self, heads_before: Instant) -> Option<(Waits, Instant)> {
        let deadline = self.deadline.get().filter(|_| self.fired.get().is_none() && !self.leaving.get())?;
        match self.phase.get() {
            Phase::Idle => Some((Waits::ForRequest, deadline)),
            Phase::Head if deadline < heads_before => Some((Waits::ForHead, deadline)),
            _ => None,
        }
    }

    fn fire(&self, why: Fired) {
        self.fired.set(Some(why));
        self.wake();
    }

    /// Has the task look again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// What a connection without a request waits for. In the order in which connections are closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waits {
    /// A request.
    ForRequest,
    /// The rest of a head.
    ForHead,
}
