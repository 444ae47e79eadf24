//! All slots of one worker, and the sweeper.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use crate::evidence::trial::Trial;
use crate::proxy::clock::{CATCH_UP, PAUSED};
use crate::proxy::deadlines::{DeadlineSlot, Fired, Phase, Waits};

/// Deadlines within this time are handled in one sweep.
const GRAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnels {
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

#[derive(Debug, Default)]
pub(crate) struct DeadlineSlots {
    all: RefCell<Slab<Rc<DeadlineSlot>>>,
    /// Tunnels to close by a time, and requests that become tunnels later.
    retired: RefCell<Vec<(Tunnels, Instant)>>,
    /// The sweeper sleeps until then; an earlier deadline moves it.
    asleep_until: Cell<Option<Instant>>,
    earlier: Notify,
}

impl DeadlineSlots {
    pub(crate) fn add(&self, phase: Phase, deadline: Option<Instant>) -> Rc<DeadlineSlot> {
        let slot = Rc::new(DeadlineSlot::new(phase, deadline));
        slot.key.set(self.all.borrow_mut().insert(Rc::clone(&slot)));
        self.due_at(deadline);
        slot
    }

    pub(crate) fn remove(&self, slot: &DeadlineSlot) {
        self.all.borrow_mut().remove(slot.key.get());
    }

    pub(crate) fn enter(&self, slot: &DeadlineSlot, phase: Phase, timeout: Duration) {
        let deadline = Some(Instant::now() + timeout);
        slot.enter(phase, deadline);
        self.due_at(deadline);
    }

    /// Has the sweeper look at this time, if not earlier.
    pub(crate) fn due_at(&self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.asleep_until.get().is_none_or(|until| deadline < until)
        {
            self.asleep_until.set(Some(deadline));
            self.earlier.notify_one();
        }
    }

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

    /// Closes these tunnels until `by`, each at its own moment, so that their clients do not come back all at once.
    pub(crate) fn end_tunnels(&self, tunnels: Tunnels, by: Instant) {
        let now = Instant::now();
        let all = self.all.borrow();
        let mut retired = self.retired.borrow_mut();
        // An entry stays while a request exists that could become a tunnel.
        retired.retain(|(earlier, _)| *earlier != tunnels && all.iter().any(|(_, slot)| earlier.contain(slot)));
        retired.push((tunnels, by));
        let mut found: Vec<&Rc<DeadlineSlot>> =
            all.iter().map(|(_, slot)| slot).filter(|slot| tunnels.contain(slot)).collect();
        found.retain(|slot| slot.phase.get() == Phase::Tunnel);
        fastrand::shuffle(&mut found);
        let moments = spread(by.saturating_duration_since(now), found.len(), fastrand::f64);
        for (slot, moment) in found.into_iter().zip(moments) {
            slot.deadline.set(Some(now + moment));
            self.due_at(slot.deadline.get());
        }
    }

    pub(crate) fn keep_tunnels(&self, epoch: u64) {
        self.retired.borrow_mut().retain(|(tunnels, _)| *tunnels != Tunnels::Of(epoch));
        for (_, slot) in &*self.all.borrow() {
            if slot.phase.get() == Phase::Tunnel && slot.epoch.get() == epoch {
                slot.deadline.set(None);
            }
        }
    }

    pub(crate) fn enter_tunnel(&self, slot: &DeadlineSlot) {
        let by = self.retired.borrow().iter().filter(|(tunnels, _)| tunnels.contain(slot)).map(|(_, by)| *by).min();
        let deadline = by.map(|by| {
            let now = Instant::now();
            now + by.saturating_duration_since(now).mul_f64(fastrand::f64())
        });
        slot.enter(Phase::Tunnel, deadline);
        self.due_at(deadline);
    }

    /// The deadline of the connection that has been idle longest. Where none is idle, of one whose head is due before
    /// `heads_before`.
    pub(crate) fn longest_idle(&self, heads_before: Instant) -> Option<(Waits, Instant)> {
        let all = self.all.borrow();
        all.iter().filter_map(|(_, slot)| slot.waits(heads_before)).min()
    }

    pub(crate) fn close_longest_idle(&self, heads_before: Instant) -> bool {
        let all = self.all.borrow();
        let waiting = all.iter().filter_map(|(_, slot)| Some((slot.waits(heads_before)?, slot)));
        let Some((_, slot)) = waiting.min_by_key(|(waits, _)| *waits) else { return false };
        slot.leaving.set(true);
        slot.deadline.set(None);
        slot.fire(Fired::Deadline);
        true
    }

    pub(crate) fn wake_held(&self) {
        for (_, slot) in &*self.all.borrow() {
            if slot.phase.get() == Phase::Held {
                slot.wake();
            }
        }
    }

    pub(crate) fn close_all(&self) {
        for (_, slot) in &*self.all.borrow() {
            slot.closing.set(true);
            // An earlier reason that was not looked at yet says more; this is called again.
            if matches!(slot.fired.get(), None | Some(Fired::Closing)) {
                slot.fire(Fired::Closing);
            }
        }
    }

    /// Another process serves from now on: the next answer of every connection is its last. A connection without a
    /// request stays, because its client may be sending one.
    pub(crate) fn part_all(&self) {
        for (_, slot) in &*self.all.borrow() {
            slot.parting.set(true);
            if slot.fired.get().is_none() {
                slot.fire(Fired::Closing);
            }
        }
    }

    pub(crate) fn cut_all(&self) {
        self.end_all(Fired::Cut, |_| true);
    }

    pub(crate) fn each_trial(&self, mut look: impl FnMut(&mut Trial)) {
        for (_, slot) in &*self.all.borrow() {
            if let Some(mut trial) = slot.trial.get() {
                look(&mut trial);
                slot.trial.set(Some(trial));
            }
        }
    }

    pub(crate) async fn sweep(&self) {
        loop {
            let swept = Instant::now();
            self.asleep_until.set(self.fire_due(swept));
            let due = loop {
                let until = self.asleep_until.get().map(|until| until.max(swept + GRAIN));
                let timer = async {
                    match until {
                        Some(until) => tokio::time::sleep_until(until.into()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = timer => break until,
                    // An earlier deadline sets the timer. Most slots that are not looked at now will have moved on.
                    () = self.earlier.notified() => {}
                }
            };
            // Bytes that the sockets received during a pause came in time.
            if due.is_some_and(|due| Instant::now() > due + PAUSED) {
                tokio::time::sleep(CATCH_UP).await;
            }
        }
    }

    /// Returns the earliest deadline that is left.
    fn fire_due(&self, now: Instant) -> Option<Instant> {
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
        next
    }
}

/// `count` moments, one at random within each of as many equal parts of the time.
fn spread(over: Duration, count: usize, mut chance: impl FnMut() -> f64) -> impl Iterator<Item = Duration> {
    (0..count).map(move |part| over.mul_f64((part as f64 + chance()) / count as f64))
}

#[cfg(test)]
mod tests;
