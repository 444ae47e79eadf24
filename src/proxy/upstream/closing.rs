//! Connections that nobody will use, closed a few at a time: a switch leaves hundreds, and requests have their turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The kernel takes about 10 us for each, and so does the endpoint.
const AT_ONCE: usize = 4;
/// A long queue is closed by this part of it at once, so that it holds its descriptors for half a second at most.
const PART: usize = 64;
const BETWEEN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Closing<T>(Rc<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    connections: RefCell<VecDeque<T>>,
    /// A task closes them.
    is_served: Cell<bool>,
}

impl<T> Default for Closing<T> {
    fn default() -> Closing<T> {
        Closing(Rc::new(Queue { connections: RefCell::default(), is_served: Cell::new(false) }))
    }
}

impl<T: 'static> Closing<T> {
    pub(super) fn add(&self, connections: impl IntoIterator<Item = T>) {
        let mut queue = self.0.connections.borrow_mut();
        queue.extend(connections);
        if !queue.is_empty() && !self.0.is_served.replace(true) {
            tokio::task::spawn_local(close(Rc::clone(&self.0)));
        }
    }

    /// Closes one at once, for a request that needs its descriptor; true if there was one.
    pub(super) fn close_one(&self) -> bool {
        let next = self.0.connections.borrow_mut().pop_front();
        next.is_some()
    }

    pub(super) fn close_all(&self) {
        let all = self.0.connections.take();
        drop(all);
    }
}

async fn close<T>(queue: Rc<Queue<T>>) {
    loop {
        tokio::time::sleep(BETWEEN).await;
        let mut connections = queue.connections.borrow_mut();
        if connections.is_empty() {
            queue.is_served.set(false);
            return;
        }
        let part = (connections.len() / PART).max(AT_ONCE).min(connections.len());
        let some: Vec<T> = connections.drain(..part).collect();
        drop(connections);
        drop(some);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(all: &[Rc<()>]) -> usize {
        all.iter().filter(|connection| Rc::strong_count(connection) > 1).count()
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn connections_of_a_color_that_went_are_closed_a_few_at_a_time() {
        let some: Vec<Rc<()>> = (0..11).map(|_| Rc::default()).collect();
        let closing = Closing::default();
        closing.add(some.iter().take(4).cloned());
        assert!(closing.close_one(), "a request needs its descriptor");
        closing.add(some.iter().skip(4).cloned());
        let mut left = open(&some);
        assert_eq!(left, 10);
        while left > 0 {
            tokio::time::sleep(BETWEEN).await;
            let now = open(&some);
            assert!(left - now <= AT_ONCE, "{left} and then {now}");
            left = now;
        }
        assert!(!closing.close_one());
        closing.add(some.first().cloned());
        while open(&some) > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn ten_thousand_connections_are_closed_within_half_a_second() {
        let some: Vec<Rc<()>> = (0..10_000).map(|_| Rc::default()).collect();
        let closing = Closing::default();
        closing.add(some.iter().cloned());
        let began = tokio::time::Instant::now();
        while open(&some) > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        assert!(began.elapsed() < Duration::from_millis(500), "{:?} of virtual time", began.elapsed());
        closing.add(some.iter().cloned());
        closing.close_all();
        assert_eq!(open(&some), 0, "another worker needs their descriptors");
    }
}
