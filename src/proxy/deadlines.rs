//! Deadlines: each client connection, with the exchange on it, is one [`DeadlineSlot`].
//!
//! A slot has a deadline and a flag. Moving the deadline is a store to a cell; nothing is armed, and a timer that does
//! not fire costs nothing. The worker's [sweeper](slots::DeadlineSlots::sweep) sleeps until the earliest deadline, sets
//! the flag of each slot that is due, and wakes its task, which decides what that means.

pub(crate) mod slots;

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Instant;

use crate::evidence::trial::Trial;
use crate::wire::http2::server::Cut;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    Head,
    Held,
    Request,
    Body,
    /// The deadline is the time of the close.
    Tunnel,
    /// The tunnel is being closed, and cut at the deadline. No second close begins.
    Ending,
}

/// The reason to wake a slot's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    Deadline,
    /// Nothing went through a tunnel for too long.
    Idle,
    Ended,
    Closing,
    Cut,
}

/// One client connection and its exchange.
#[derive(Debug)]
pub(crate) struct DeadlineSlot {
    deadline: Cell<Option<Instant>>,
    /// A tunnel has to carry something until then.
    quiet_until: Cell<Option<Instant>>,
    phase: Cell<Phase>,
    epoch: Cell<u64>,
    fired: Cell<Option<Fired>>,
    closing: Cell<bool>,
    /// It takes one more request at most.
    parting: Cell<bool>,
    /// The connection is closed to make room for another one.
    leaving: Cell<bool>,
    cut: Cell<Option<Cut>>,
    /// The exchange as evidence.
    pub(crate) trial: Cell<Option<Trial>>,
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
            parting: Cell::new(false),
            leaving: Cell::new(false),
            cut: Cell::new(None),
            trial: Cell::new(None),
            waker: RefCell::new(None),
            key: Cell::new(0),
        }
    }

    pub(crate) fn enter(&self, phase: Phase, deadline: Option<Instant>) {
        self.phase.set(phase);
        self.deadline.set(deadline);
        self.quiet_until.set(None);
    }

    pub(crate) fn quiet_until(&self, until: Instant) {
        self.quiet_until.set(Some(until));
    }

    pub(crate) fn extend(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The epoch of the color that serves the exchange; 0: none.
    pub(crate) fn serve(&self, epoch: u64) {
        self.epoch.set(epoch);
    }

    pub(crate) fn set_cut(&self, cut: Cut) {
        self.cut.set(Some(cut));
    }

    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut.get()
    }

    /// The reason stays until it is taken.
    pub(crate) fn fired(&self) -> Option<Fired> {
        self.fired.get()
    }

    pub(crate) fn take_fired(&self) -> Option<Fired> {
        self.fired.take()
    }

    /// The connection takes no further request.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// The next answer on this connection is its last.
    pub(crate) fn is_parting(&self) -> bool {
        self.parting.get() || self.closing.get()
    }

    /// Nothing more may be waited for. A connection that is only parting may wait for its last request.
    pub(crate) fn is_over(&self) -> bool {
        let waits = self.parting.get() && !self.closing.get() && self.fired.get() == Some(Fired::Closing);
        self.closing.get() || self.fired.get().is_some() && !waits
    }

    /// Calls off a close that was to make room; false: there was none.
    pub(crate) fn stay(&self) -> bool {
        self.leaving.take()
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

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

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// The need of a connection without a request. In the order in which connections are closed to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waits {
    ForRequest,
    ForHead,
}
