//! Precedence of control over requests, for the steps of a move on a machine with one core.
//!
//! A busy worker leaves its core to nobody, and the kernel asks only at its ticks (4 ms at 250 Hz) whether another
//! thread should run there. A move has ten such moments and more: each thread that was interrupted, and each wait for
//! the disk. While control has precedence, workers offer their core between two requests, and control pauses between
//! two steps of a forward move, so that no request waits for more than one step, of 50 to 200 us. A rollback does not
//! pause; one that is ordered during a forward move waits for its present pauses, about 1 ms.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::proxy::clock::nanos;
use crate::sys::turns;

/// The longest precedence without a new step: a slow disk or endpoint must not slow requests down.
const LONGEST: Duration = Duration::from_millis(20);
/// A thread uses its core for this long between two offers, so that requests and control take turns.
const BETWEEN: Duration = Duration::from_micros(100);
/// Requests have the core for this long between two steps of control.
const PAUSE: Duration = Duration::from_micros(500);
/// A worker with requests makes its first offer in this time.
const FIRST_OFFER: Duration = Duration::from_micros(50);
/// Workers without an offer for this many nanoseconds have no requests.
const IDLE: u64 = 1_000_000;
/// Without requests, only the first of the pauses within this many nanoseconds waits for an offer.
const NOT_AGAIN: u64 = 10_000_000;

static PRECEDENCE: Precedence = Precedence::new();

thread_local! {
    /// The next offer of this thread, in [`nanos`].
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Requests make way from now on, for 20 ms at most. In a hurry, control does not [`pause`]. With several cores, an
/// offer would go to other programs.
pub(crate) fn give(now: Instant, hurry: bool) {
    if turns::one_core() {
        PRECEDENCE.give(now, hurry);
    }
}

pub(crate) fn end() {
    PRECEDENCE.end();
}

/// Called by workers between two requests.
#[inline]
pub(crate) fn make_way() {
    if PRECEDENCE.until.load(Ordering::Relaxed) != 0 {
        offer();
    }
}

#[cold]
fn offer() {
    let now = Instant::now();
    PRECEDENCE.note_offer(now);
    take_turn(now);
}

fn take_turn(now: Instant) {
    if PRECEDENCE.is_given(now) && nanos(now) >= NEXT.get() {
        thread::yield_now();
        NEXT.set(nanos(Instant::now() + BETWEEN));
    }
}

/// Called by control between two short pieces of long work. Workers leave their core to control; control has to leave
/// it to them as well, or requests wait for the end of the work.
pub(crate) fn take_turns() {
    let now = Instant::now();
    if PRECEDENCE.prolong(now) {
        take_turn(now);
    }
}

/// Lets requests run between two steps of control, and blocks its thread meanwhile.
pub(crate) fn pause() {
    if PRECEDENCE.asks_for_pauses() && PRECEDENCE.awaits_offer(Instant::now()) {
        thread::sleep(FIRST_OFFER);
        PRECEDENCE.note_wait(Instant::now());
    }
    if asks_for_pauses() {
        thread::sleep(PAUSE);
    }
}

/// Requests and control share a core, and a forward move is under way.
pub(crate) fn asks_for_pauses() -> bool {
    PRECEDENCE.asks_for_pauses() && PRECEDENCE.has_offers(Instant::now())
}

/// Times in [`nanos`].
struct Precedence {
    /// 0 without precedence.
    until: AtomicU64,
    /// The last offer of any worker, or 0.
    offered: AtomicU64,
    /// The last wait for an offer that nobody made, or 0.
    in_vain: AtomicU64,
    hurry: AtomicBool,
}

impl Precedence {
    const fn new() -> Precedence {
        Precedence {
            until: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            in_vain: AtomicU64::new(0),
            hurry: AtomicBool::new(false),
        }
    }

    fn give(&self, now: Instant, hurry: bool) {
        self.hurry.store(hurry, Ordering::Relaxed);
        self.until.store(nanos(now + LONGEST), Ordering::Relaxed);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// True if it is in force, which it then is for as long again: the core works, it waits for nobody.
    fn prolong(&self, now: Instant) -> bool {
        let given = self.is_given(now);
        if given {
            self.until.store(nanos(now + LONGEST), Ordering::Relaxed);
        }
        given
    }

    fn note_offer(&self, now: Instant) {
        self.offered.store(nanos(now), Ordering::Relaxed);
    }

    fn is_given(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        let given = nanos(now) < until;
        if !given {
            // A next step may have begun meanwhile.
            let _ = self.until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        given
    }

    fn asks_for_pauses(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0 && !self.hurry.load(Ordering::Relaxed)
    }

    fn awaits_offer(&self, now: Instant) -> bool {
        let in_vain = self.in_vain.load(Ordering::Relaxed);
        !self.has_offers(now) && (in_vain == 0 || nanos(now) >= in_vain + NOT_AGAIN)
    }

    fn note_wait(&self, now: Instant) {
        if !self.has_offers(now) {
            self.in_vain.store(nanos(now), Ordering::Relaxed);
        }
    }

    fn has_offers(&self, now: Instant) -> bool {
        let offered = self.offered.load(Ordering::Relaxed);
        offered != 0 && nanos(now) < offered + IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_ends_by_itself_and_each_step_prolongs_it() {
        let precedence = Precedence::new();
        let now = Instant::now();
        let later = |millis| now + Duration::from_millis(millis);
        assert!(!precedence.is_given(now));
        precedence.give(now, false);
        assert!(precedence.is_given(later(19)));
        precedence.give(later(19), false);
        assert!(precedence.is_given(later(38)));
        assert!(!precedence.is_given(later(39)));
        assert!(!precedence.prolong(later(39)), "long work does not begin it");
        precedence.give(later(40), false);
        assert!(precedence.prolong(later(59)));
        assert!(precedence.is_given(later(78)));
        assert!(!precedence.is_given(later(79)));
        assert_eq!(precedence.until.load(Ordering::Relaxed), 0, "requests go on without a look at the clock");
    }

    #[test]
    fn control_pauses_for_requests_except_in_a_hurry() {
        let precedence = Precedence::new();
        let now = Instant::now();
        assert!(!precedence.asks_for_pauses(), "no move is under way");
        precedence.give(now, false);
        assert!(precedence.asks_for_pauses());
        assert!(!precedence.has_offers(now), "no worker has requests");
        precedence.note_offer(now);
        assert!(precedence.has_offers(now));
        assert!(!precedence.has_offers(now + Duration::from_millis(2)), "no worker has requests any more");
        precedence.give(now, true);
        assert!(!precedence.asks_for_pauses(), "a rollback");
        precedence.give(now, false);
        precedence.end();
        assert!(!precedence.asks_for_pauses());
    }

    #[test]
    fn without_requests_only_the_first_pause_waits() {
        let precedence = Precedence::new();
        let now = Instant::now();
        let later = |micros| now + Duration::from_micros(micros);
        precedence.give(now, false);
        assert!(precedence.awaits_offer(now));
        precedence.note_wait(later(50));
        assert!(!precedence.awaits_offer(later(60)), "no worker has requests");
        assert!(precedence.awaits_offer(later(10_060)), "the next move");
        precedence.note_offer(later(10_070));
        precedence.note_wait(later(10_110));
        assert!(!precedence.awaits_offer(later(10_120)), "there are offers");
        assert!(precedence.has_offers(later(10_120)));
    }
}
