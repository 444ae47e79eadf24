//! Precedence of control over requests, for the steps of a move on a machine with one core.
//!
//! A busy worker leaves its core to nobody, and the kernel asks only at its ticks (4 ms at 250 Hz) whether another
//! thread should run there. A move has ten such moments and more: each thread that was interrupted, and each wait for
//! the disk. While control has precedence, workers offer their core between two requests.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::proxy::clock::nanos;
use crate::sys::turns;

/// The longest precedence without a new step: a slow disk or endpoint must not slow requests down.
const LONGEST: Duration = Duration::from_millis(20);
/// A thread uses its core for this long between two offers, so that requests and control take turns.
const BETWEEN: Duration = Duration::from_micros(100);

static PRECEDENCE: Precedence = Precedence(AtomicU64::new(0));

thread_local! {
    /// The next offer of this thread, in [`nanos`].
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Requests make way from now on, for 20 ms at most. With several cores, an offer would go to other programs.
pub(crate) fn give(now: Instant) {
    if turns::one_core() {
        PRECEDENCE.give(now);
    }
}

pub(crate) fn end() {
    PRECEDENCE.0.store(0, Ordering::Relaxed);
}

/// Called by workers between two requests.
#[inline]
pub(crate) fn make_way() {
    if PRECEDENCE.0.load(Ordering::Relaxed) != 0 {
        offer();
    }
}

/// Called by control between two short pieces of long work. Workers leave their core to control; control has to leave
/// it to them as well, or requests wait for the end of the work.
pub(crate) fn take_turns() {
    if PRECEDENCE.prolong(Instant::now()) {
        offer();
    }
}

#[cold]
fn offer() {
    let now = Instant::now();
    if PRECEDENCE.is_given(now) && nanos(now) >= NEXT.get() {
        std::thread::yield_now();
        NEXT.set(nanos(Instant::now() + BETWEEN));
    }
}

/// The end in [`nanos`]; 0 without precedence.
struct Precedence(AtomicU64);

impl Precedence {
    fn give(&self, now: Instant) {
        self.0.store(nanos(now + LONGEST), Ordering::Relaxed);
    }

    /// True if it is in force, which it then is for as long again: the core works, it waits for nobody.
    fn prolong(&self, now: Instant) -> bool {
        let given = self.is_given(now);
        if given {
            self.give(now);
        }
        given
    }

    fn is_given(&self, now: Instant) -> bool {
        let until = self.0.load(Ordering::Relaxed);
        let given = nanos(now) < until;
        if !given {
            // A next step may have begun meanwhile.
            let _ = self.0.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_ends_by_itself_and_each_step_prolongs_it() {
        let precedence = Precedence(AtomicU64::new(0));
        let now = Instant::now();
        let later = |millis| now + Duration::from_millis(millis);
        assert!(!precedence.is_given(now));
        precedence.give(now);
        assert!(precedence.is_given(later(19)));
        precedence.give(later(19));
        assert!(precedence.is_given(later(38)));
        assert!(!precedence.is_given(later(39)));
        assert!(!precedence.prolong(later(39)), "long work does not begin it");
        precedence.give(later(40));
        assert!(precedence.prolong(later(59)));
        assert!(precedence.is_given(later(78)));
        assert!(!precedence.is_given(later(79)));
        assert_eq!(precedence.0.load(Ordering::Relaxed), 0, "requests go on without a look at the clock");
    }
}
