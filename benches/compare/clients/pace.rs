//! Requests that come when they come, and not when the last one was answered: by chance, at a rate on average.
//!
//! Latency counts from the moment at which a request was due. One that has to wait for a free connection, because the
//! proxy is slow, shows that; with clients that ask anew after each answer, nobody would have sent it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clients::http1::{Dial, Request};

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) due: Instant,
    pub(crate) done: Instant,
    /// No answer came, or a wrong one.
    pub(crate) failed: bool,
}

/// What is due and not yet taken; a permit for each, and one more for each client at the end.
struct Queue {
    due: Mutex<VecDeque<Instant>>,
    permits: Semaphore,
}

/// Asks for so long, so many times a second. A request that fails is not made again.
pub(crate) async fn ask(to: SocketAddr, connections: usize, rate: f64, duration: Duration) -> Vec<Arrival> {
    let queue = Arc::new(Queue { due: Mutex::default(), permits: Semaphore::new(0) });
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(serve(to, Arc::clone(&queue)));
    }
    // The runtime's own timers know milliseconds, a thread's sleep microseconds.
    std::thread::spawn(move || {
        set_current_timer_slack(NonZero::new(1)).expect("a thread may set its own");
        let mut due = Instant::now() + Duration::from_millis(20);
        let end = due + duration;
        while due < end {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            queue.due.lock().expect("nobody panics").push_back(due);
            queue.permits.add_permits(1);
            due += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
        }
        queue.permits.add_permits(connections);
    });
    clients.join_all().await.concat()
}

async fn serve(to: SocketAddr, queue: Arc<Queue>) -> Vec<Arrival> {
    let mut connection = None;
    let request = Request::small();
    let mut seen = Vec::new();
    loop {
        queue.permits.acquire().await.expect("it is never closed").forget();
        let Some(due) = queue.due.lock().expect("nobody panics").pop_front() else { return seen };
        let asked = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Dial::Plain(to).open().await?,
            };
            let close = open.ask_or_close(&request).await?;
            std::io::Result::Ok((!close).then_some(open))
        };
        let outcome = asked.await;
        seen.push(Arrival { due, done: Instant::now(), failed: outcome.is_err() });
        connection = outcome.unwrap_or_default();
    }
}
