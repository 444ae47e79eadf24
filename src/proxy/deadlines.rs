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

use crate::evidence::metering::Metered;
use crate::proxy::clock::{CATCH_UP, PAUSED};
use crate::wire::http2::server::Cut;

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
pub(crate) struct Slot {
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

impl Slot {
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

/// Some tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnels {
    /// Those of an epoch.
    Of(u64),
    All,
}

impl Tunnels {
    fn contain(self, slot: &Slot) -> bool {
        match self {
            Tunnels::Of(epoch) => slot.epoch.get() == epoch,
            Tunnels::All => true,
        }
    }
}

/// All slots of one worker.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    all: RefCell<Slab<Rc<Slot>>>,
    /// Tunnels that shall end by then; also those that requests under way become.
    retired: RefCell<Vec<(Tunnels, Instant)>>,
    /// Until when the sweeper sleeps; a deadline before it has to wake it.
    asleep_until: Cell<Option<Instant>>,
    earlier: Notify,
}

impl Slots {
    /// A slot for a new connection.
    pub(crate) fn add(&self, phase: Phase, deadline: Option<Instant>) -> Rc<Slot> {
        let slot = Rc::new(Slot {
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

    /// Wakes what serves this epoch, to be ended.
    pub(crate) fn end_epoch(&self, epoch: u64) {
        self.end_all(Fired::Ended, |slot| slot.epoch.get() == epoch);
    }

    fn end_all(&self, why: Fired, which: impl Fn(&Slot) -> bool) {
        for (_, slot) in &*self.all.borrow() {
            if slot.phase.get() != Phase::Ending && which(slot) {
                slot.fire(why);
            }
        }
    }

    /// Has these tunnels end until `by`, each at a moment of its own, so that their clients come again one after the
    /// other.
    pub(crate) fn end_tunnels(&self, tunnels: Tunnels, by: Instant) {
        let now = Instant::now();
        let all = self.all.borrow();
        let mut retired = self.retired.borrow_mut();
        // Of an earlier one nothing may be left that could become a tunnel.
        retired.retain(|(earlier, _)| *earlier != tunnels && all.iter().any(|(_, slot)| earlier.contain(slot)));
        retired.push((tunnels, by));
        let mut found: Vec<&Rc<Slot>> = all.iter().map(|(_, slot)| slot).filter(|slot| tunnels.contain(slot)).collect();
        found.retain(|slot| slot.phase.get() == Phase::Tunnel);
        // Those that came at the same time do not have to go at the same time.
        fastrand::shuffle(&mut found);
        let moments = spread(by.saturating_duration_since(now), found.len(), fastrand::f64);
        for (slot, moment) in found.into_iter().zip(moments) {
            slot.deadline.set(Some(now + moment));
            self.due_at(slot.deadline.get());
        }
    }

    /// What serves this epoch lives on after all.
    pub(crate) fn keep_tunnels(&self, epoch: u64) {
        self.retired.borrow_mut().retain(|(tunnels, _)| *tunnels != Tunnels::Of(epoch));
        for (_, slot) in &*self.all.borrow() {
            if slot.phase.get() == Phase::Tunnel && slot.epoch.get() == epoch {
                slot.deadline.set(None);
            }
        }
    }

    /// Has a slot become a tunnel.
    pub(crate) fn enter_tunnel(&self, slot: &Slot) {
        let by = self.retired.borrow().iter().filter(|(tunnels, _)| tunnels.contain(slot)).map(|(_, by)| *by).min();
        // The others have their moments; this one takes any.
        let deadline = by.map(|by| {
            let now = Instant::now();
            now + by.saturating_duration_since(now).mul_f64(fastrand::f64())
        });
        slot.enter(Phase::Tunnel, deadline);
        self.due_at(deadline);
    }

    /// When the connection that has been idle longest would be closed anyway. Where none is idle, one whose head has
    /// begun, and is to be complete before `heads_before`.
    pub(crate) fn longest_idle(&self, heads_before: Instant) -> Option<(Waits, Instant)> {
        let all = self.all.borrow();
        all.iter().filter_map(|(_, slot)| slot.waits(heads_before)).min()
    }

    /// Closes that connection; false: there is none any more.
    pub(crate) fn close_longest_idle(&self, heads_before: Instant) -> bool {
        let all = self.all.borrow();
        let waiting = all.iter().filter_map(|(_, slot)| Some((slot.waits(heads_before)?, slot)));
        let Some((_, slot)) = waiting.min_by_key(|(waits, _)| *waits) else { return false };
        slot.leaving.set(true);
        slot.deadline.set(None);
        slot.fire(Fired::Deadline);
        true
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
        self.end_all(Fired::Cut, |_| true);
    }

    /// Looks at every request that is being counted.
    pub(crate) fn each_metered(&self, mut look: impl FnMut(&mut Metered)) {
        for (_, slot) in &*self.all.borrow() {
            if let Some(mut metered) = slot.metered.get() {
                look(&mut metered);
                slot.metered.set(Some(metered));
            }
        }
    }

    /// Fires what is due, forever.
    pub(crate) async fn sweep(&self) {
        loop {
            let now = Instant::now();
            let mut next: Option<Instant> = None;
            let mut later = |deadline| next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
            for (_, slot) in &*self.all.borrow() {
                match slot.deadline.get() {
                    Some(deadline) if deadline <= now => {
                        slot.deadline.set(None);
                        slot.fire(Fired::Deadline);
                    }
                    Some(deadline) => later(deadline),
                    None => {}
                }
                match slot.quiet_until.get() {
                    Some(until) if until <= now => {
                        slot.quiet_until.set(None);
                        // The end of a drain, or of the process, says more.
                        if slot.fired.get().is_none() {
                            slot.fire(Fired::Idle);
                        }
                    }
                    Some(until) => later(until),
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
                    // What the sockets have received during a pause came in time.
                    if Instant::now() > until + PAUSED {
                        tokio::time::sleep(CATCH_UP).await;
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }
}

/// So many moments within this time, evenly, and yet not to be foreseen: each somewhere in its own of as many equal
/// parts.
fn spread(over: Duration, count: usize, mut chance: impl FnMut() -> f64) -> impl Iterator<Item = Duration> {
    (0..count).map(move |part| over.mul_f64((part as f64 + chance()) / count as f64))
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

    #[test]
    fn every_part_of_the_time_has_one_moment() {
        let over = Duration::from_secs(10);
        let moments: Vec<Duration> = spread(over, 1000, fastrand::f64).collect();
        for (part, moment) in moments.iter().enumerate() {
            let (from, to) = (over * part as u32 / 1000, over * (part as u32 + 1) / 1000);
            assert!((from..=to).contains(moment), "{moment:?} is not in part {part}");
        }
        let jitter = moments.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap != over / 1000).count();
        assert!(jitter > 900, "they are not a clock's");
        assert_eq!(spread(Duration::ZERO, 3, || 0.5).collect::<Vec<_>>(), [Duration::ZERO; 3]);
        assert_eq!(spread(over, 0, || 0.5).count(), 0);
    }

    #[test]
    fn only_the_tunnels_of_the_epoch_have_a_moment_and_lose_it_when_they_are_kept() {
        let slots = Slots::default();
        let of = |phase, epoch| {
            let slot = slots.add(phase, None);
            slot.serve(epoch);
            slot
        };
        let (tunnel, other, ending) = (of(Phase::Tunnel, 7), of(Phase::Tunnel, 8), of(Phase::Ending, 7));
        let request = of(Phase::Request, 7);
        let by = Instant::now() + Duration::from_secs(60);
        slots.end_tunnels(Tunnels::Of(7), by);
        // Another one beside it takes nothing from it.
        slots.end_tunnels(Tunnels::Of(9), by);
        assert!(tunnel.deadline.get().is_some_and(|moment| moment <= by));
        for slot in [&other, &ending, &request] {
            assert_eq!(slot.deadline.get(), None);
        }
        slots.enter_tunnel(&request);
        assert!(request.deadline.get().is_some_and(|moment| moment <= by), "it became one of them");
        slots.keep_tunnels(8);
        assert!(tunnel.deadline.get().is_some());
        slots.keep_tunnels(7);
        let late = of(Phase::Request, 7);
        slots.enter_tunnel(&late);
        assert_eq!([&tunnel, &request, &late].map(|slot| slot.deadline.get()), [None; 3]);
        slots.end_tunnels(Tunnels::All, Instant::now());
        assert!(tunnel.deadline.get().is_some() && other.deadline.get().is_some());
    }

    #[test]
    fn the_connection_that_is_idle_longest_is_closed_and_none_with_a_request() {
        let slots = Slots::default();
        let now = Instant::now();
        let of = |phase, seconds| slots.add(phase, Some(now + Duration::from_secs(seconds)));
        let (longest, shorter, head, fresh) =
            (of(Phase::Idle, 5), of(Phase::Idle, 6), of(Phase::Head, 1), of(Phase::Head, 9));
        let busy = [Phase::Request, Phase::Body, Phase::Tunnel, Phase::Held, Phase::Ending].map(|phase| of(phase, 1));
        let before = now + Duration::from_secs(8);
        assert_eq!(slots.longest_idle(before), Some((Waits::ForRequest, now + Duration::from_secs(5))));
        for slot in [&longest, &shorter, &head] {
            assert!(slots.close_longest_idle(before));
            assert_eq!(slot.fired(), Some(Fired::Deadline));
            assert!(slot.stay() && !slot.stay());
        }
        assert!(!slots.close_longest_idle(before), "a head that has just begun has its time");
        assert!(busy.iter().chain([&fresh]).all(|slot| slot.fired().is_none()));
    }

    #[test]
    fn a_tunnel_that_is_being_ended_is_not_ended_again() {
        let slots = Slots::default();
        let slot = slots.add(Phase::Ending, None);
        slot.serve(7);
        slots.end_epoch(7);
        slots.cut_all();
        assert_eq!(slot.fired(), None, "its deadline could be lost");
    }
}
