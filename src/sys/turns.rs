//! Turns on the only core, for threads that would keep it for long.
//!
//! The kernel looks whether another thread should run when a thread wakes up or sleeps, and at its ticks (4 ms at
//! 250 Hz). So long work beside a busy worker delays requests by a tick, again and again.

use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use rustix::thread::sched_getaffinity;

const EVERY: Duration = Duration::from_micros(200);

/// With several cores, the kernel finds another one for what has to run.
pub(crate) fn one_core() -> bool {
    static ONE: LazyLock<bool> = LazyLock::new(|| sched_getaffinity(None).is_ok_and(|cores| cores.count() == 1));
    *ONE
}

/// While it lives, a thread wakes up again and again, so that the kernel gives the core to the thread that has had less
/// of it.
#[derive(Debug)]
pub(crate) struct Turns(#[expect(dead_code, reason = "the thread ends with it")] Option<Arc<()>>);

impl Turns {
    pub(crate) fn begin() -> Turns {
        Turns(one_core().then(waking).flatten())
    }
}

/// Without a thread the work is done nevertheless.
fn waking() -> Option<Arc<()>> {
    let alive = Arc::new(());
    let seen = Arc::downgrade(&alive);
    let wake = move || {
        while seen.strong_count() > 0 {
            thread::sleep(EVERY);
        }
    };
    thread::Builder::new().name("turns".to_owned()).spawn(wake).ok().map(|_| alive)
}
