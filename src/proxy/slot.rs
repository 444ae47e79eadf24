//! What a worker can end: every client connection, with the exchange on it, is one [`Slot`].
//!
//! A slot has a deadline and a flag. Moving the deadline is a store to a cell; nothing is armed, and a timer that does
//! not fire costs nothing. The worker's one sweeper ([`Slots::sweep`]) sleeps until the earliest deadline, sets the
//! flag of the slots that are due, and wakes their tasks; what that means is decided where the slot is looked at.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

/// Deadlines that are due within this are handled together, so that many of them cost few sweeps.
const GRAIN: Duration = Duration::from_millis(20);

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
    /// The connection is a tunnel.
    Tunnel,
}

/// Why a slot was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// The deadline has passed.
    Deadline,
    /// The drain of its color is over its time, or tunnels are closed at the switch.
    Ended,
    /// The process stops: finish what is under way, take nothing new.
    Closing,
    /// The process stops now.
    Cut,
}

/// One client connection and what is on it.
#[derive(Debug)]
pub(crate) struct Slot {
    deadline: Cell<Option<Instant>>,
    phase: Cell<Phase>,
    epoch: Cell<u64>,
    fired: Cell<Option<Fired>>,
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    key: Cell<usize>,
}

impl Slot {
    /// Enters a phase, with its deadline.
    pub(crate) fn enter(&self, phase: Phase, deadline: Option<Instant>) {
        self.phase.set(phase);
        self.deadline.set(deadline);
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

    /// Has the polled task woken when the slot fires.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
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

/// All slots of one worker.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    all: RefCell<Slab<Rc<Slot>>>,
    /// Until when the sweeper sleeps; a deadline before it has to wake it.
    asleep_until: Cell<Option<Instant>>,
    earlier: Notify,
}

impl Slots {
    /// A slot for a new connection.
    pub(crate) fn add(&self, phase: Phase, deadline: Option<Instant>) -> Rc<Slot> {
        let slot = Rc::new(Slot {
            deadline: Cell::new(deadline),
            phase: Cell::new(phase),
            epoch: Cell::new(0),
            fired: Cell::new(None),
            closing: Cell::new(false),
            waker: RefCell::new(None),
            key: Cell::new(0),
        });
        slot.key.set(self.all.borrow_mut().insert(Rc::clone(&slot)));
        self.due_at(deadline);
        slot
    }

    /// Gives a slot back.
    pub(crate) fn remove(&self, slot: &Slot) {
        self.all.borrow_mut().remove(slot.key.get());
    }

    /// Has a slot enter a phase that ends after this.
    pub(crate) fn enter(&self, slot: &Slot, phase: Phase, timeout: Duration) {
        let deadline = Some(Instant::now() + timeout);
        slot.enter(phase, deadline);
        self.due_at(deadline);
    }

    /// Tells the sweeper of a deadline that it may not know. Not needed where a deadline only moves back.
    pub(crate) fn due_at(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.asleep_until.get().is_none_or(|until| deadline < until)
        {
            self.earlier.notify_one();
        }
    }

    /// Wakes what serves this epoch; only tunnels if `tunnels_only`.
    pub(crate) fn end_epoch(&self, epoch: u64, tunnels_only: bool) {
        for (_, slot) in &*self.all.borrow() {
            if slot.epoch.get() == epoch && (!tunnels_only || slot.phase.get() == Phase::Tunnel) {
                slot.fire(Fired::Ended);
            }
        }
    }

    /// Has every request that waits look again.
    pub(crate) fn wake_held(&self) {
        for (_, slot) in &*self.all.borrow() {
            if slot.phase.get() == Phase::Held {
                slot.wake();
            }
        }
    }

    /// Tells every connection that the process stops.
    pub(crate) fn close_all(&self) {
        for (_, slot) in &*self.all.borrow() {
            slot.closing.set(true);
            // What has fired before and was not looked at yet says more; this is called again.
            if slot.fired.get().is_none() {
                slot.fire(Fired::Closing);
            }
        }
    }

    /// Ends every connection now.
    pub(crate) fn cut_all(&self) {
        for (_, slot) in &*self.all.borrow() {
            slot.fire(Fired::Cut);
        }
    }

    /// Fires what is due, forever.
    pub(crate) async fn sweep(&self) {
        loop {
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            for (_, slot) in &*self.all.borrow() {
                match slot.deadline.get() {
                    Some(deadline) if deadline <= now => {
                        slot.deadline.set(None);
                        slot.fire(Fired::Deadline);
                    }
                    Some(deadline) => next = Some(next.map_or(deadline, |next| next.min(deadline))),
                    None => {}
                }
            }
            let until = next.map(|next| next.max(now + GRAIN));
            self.asleep_until.set(until);
            match until {
                Some(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until.into()) => {}
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_fired_is_not_forgotten_because_the_process_stops() {
        let slots = Slots::default();
        let slot = slots.add(Phase::Request, None);
        slots.cut_all();
        slots.close_all();
        assert_eq!(slot.fired(), Some(Fired::Cut));
        assert!(slot.is_closing());
        assert_eq!(slot.take_fired(), Some(Fired::Cut));
        slots.close_all();
        assert_eq!(slot.take_fired(), Some(Fired::Closing));
    }
}
