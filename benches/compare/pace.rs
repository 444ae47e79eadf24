//! Requests that come when they come, and not when the last one was answered: by chance, at a rate on average.
//!
//! Latency counts from the moment at which a request was due. One that has to wait for a free connection, because the
//! proxy is slow, shows that; with clients that ask anew after each answer, nobody would have sent it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::http1::{Dial, Request};

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) due: Instant,
    pub(crate) done: Instant,
}

/// What is due and not yet taken; a permit for each, and one more for each client at the end.
struct Queue {
    due: Mutex<VecDeque<Instant>>,
    permits: Semaphore,
}

/// Asks for so long, so many times a second; every request has to succeed.
pub(crate) async fn ask(to: SocketAddr, connections: usize, rate: f64, duration: Duration) -> Vec<Arrival> {
    let queue = Arc::new(Queue { due: Mutex::default(), permits: Semaphore::new(0) });
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(serve(to, Arc::clone(&queue)));
    }
    let timer = Timer::new();
    let mut due = Instant::now() + Duration::from_millis(20);
    let end = due + duration;
    while due < end {
        timer.until(due).await;
        queue.due.lock().expect("nobody panics").push_back(due);
        queue.permits.add_permits(1);
        due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
    }
    queue.permits.add_permits(connections);
    clients.join_all().await.concat()
}

async fn serve(to: SocketAddr, queue: Arc<Queue>) -> Vec<Arrival> {
    let mut connection = None;
    let request = Request::small();
    let mut seen = Vec::new();
    loop {
        queue.permits.acquire().await.expect("it is never closed").forget();
        let Some(due) = queue.due.lock().expect("nobody panics").pop_front() else { return seen };
        let mut open = match connection.take() {
            Some(open) => open,
            None => Dial::Plain(to).open().await.expect("the proxy accepts"),
        };
        // Some proxies say at a reload that they will close: then the next request has another connection.
        let close = open.ask_or_close(&request).await.expect("a good answer");
        seen.push(Arrival { due, done: Instant::now() });
        connection = (!close).then_some(open);
    }
}

/// Waits by the microsecond, where the runtime's own timers know milliseconds.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> Timer {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        Timer(AsyncFd::new(descriptor.expect("a timer")).expect("a runtime"))
    }

    async fn until(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now());
        // All zeros would turn it off.
        if left.is_zero() {
            return;
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once).expect("a timer");
        loop {
            let mut ready = self.0.readable().await.expect("a timer");
            let mut count = [0; 8];
            if read(&self.0, &mut count).is_ok() {
                return;
            }
            ready.clear_ready();
        }
    }
}
