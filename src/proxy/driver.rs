//! The waker with which a client's task drives its endpoint's connection.
//!
//! hyper's client hands requests, answers and body chunks over channels that wake the other side. Here both sides are
//! polled by one task, one after the other, so most of these wakes would only have the task polled once more for
//! nothing; and a connection that comes from the pool still holds the waker of the task that used it last. So a wake
//! from within a poll is only noted. Where the exchange is still under way when the poll ends, it is made up for;
//! where the exchange is over, there is nothing left to do. A wake from outside, from a socket or a timer, is passed
//! on at once.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

thread_local! {
    /// Some client's task is being polled on this thread.
    static POLLING: Cell<bool> = const { Cell::new(false) };
}

/// The waker of one client connection.
#[derive(Default)]
pub(crate) struct Driver(OnceCell<(Arc<Noting>, Waker)>);

struct Noting {
    task: Waker,
    noted: AtomicBool,
}

impl Driver {
    /// Polls the client's task. Its waker is the same for its whole life.
    pub(crate) fn poll<R>(&self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        self.0.get_or_init(|| {
            let noting = Arc::new(Noting { task: cx.waker().clone(), noted: AtomicBool::new(false) });
            (Arc::clone(&noting), Waker::from(noting))
        });
        let outer = POLLING.replace(true);
        let result = poll(cx);
        POLLING.set(outer);
        result
    }

    /// The context to drive with, within [`Driver::poll`].
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(self.0.get().map_or(Waker::noop(), |(_, waker)| waker))
    }

    /// Ends a poll: makes up for what was noted if an exchange is still under way.
    pub(crate) fn settle(&self, under_way: bool) {
        if let Some((noting, _)) = self.0.get()
            && noting.noted.swap(false, Ordering::Relaxed)
            && under_way
        {
            noting.task.wake_by_ref();
        }
    }
}

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if POLLING.get() {
            self.noted.store(true, Ordering::Relaxed);
        } else {
            self.task.wake_by_ref();
        }
    }
}
