//! All slots of one worker, and its sweeper.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use crate::evidence::metering::Metered;
use crate::proxy::clock::{CATCH_UP, PAUSED};
use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase, Waits};

/// Deadlines that are due within this are handled together, so that many of them cost few sweeps.
const GRAIN: Duration = Duration::from_millis(20);

/// Some tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnels {
    /// Those of an epoch.
    Of(u64),
    All,
}

impl Tunnels {
    fn contain(self, slot: &DeadlineSlot) -> bool {
        match self {
            Tunnels::Of(epoch) => slot.epoch.get() == epoch,
            Tunnels::All => true,
        }
    }
}

/// All slots of one worker.
#[derive(Debug, Default)]
pub(crate) struct DeadlineSlots {
    all: RefCell<Slab<Rc<DeadlineSlot>>>,
    /// Tunnels that shall end by then; also those that requests under way become.
    retired: RefCell<Vec<(Tunnels, Instant)>>,
    /// Until when the sweeper sleeps; a deadline before it has to wake it.
    asleep_until: Cell<Option<Instant>>,
    earlier: Notify,
}

impl DeadlineSlots {
    /// A slot for a new connection.
    pub(crate) fn add(&self, phase: Phase, deadline: Option<Instant>) -> Rc<DeadlineSlot> {
        let slot = Rc::new(DeadlineSlot::new(phase, deadline));
        slot.key.set(self.all.borrow_mut().insert(Rc::clone(&slot)));
        self.due_at(deadline);
        slot
    }

    /// Gives a slot back.
    pub(crate) fn remove(&self, slot: &DeadlineSlot) {
        self.all.borrow_mut().remove(slot.key.get());
    }

    /// Has a slot enter a phase that ends after this.
    pub(crate) fn enter(&self, slot: &DeadlineSlot, phase: Phase, timeout: Duration) {
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

    fn end_all(&self, why: Fired, which: impl Fn(&DeadlineSlot) -> bool) {
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
        let mut found: Vec<&Rc<DeadlineSlot>> =
            all.iter().map(|(_, slot)| slot).filter(|slot| tunnels.contain(slot)).collect();
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
    pub(crate) fn enter_tunnel(&self, slot: &DeadlineSlot) {
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
mod tests;
