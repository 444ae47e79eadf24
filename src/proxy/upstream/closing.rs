//! Connections that nobody will use, closed a few at a time: a switch leaves hundreds, and requests have their turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The kernel takes about 10 us for each, and so does the endpoint.
const AT_ONCE: usize = 4;
const BETWEEN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Closing<T>(Rc<RefCell<VecDeque<T>>>);

impl<T> Default for Closing<T> {
    fn default() -> Closing<T> {
        Closing(Rc::default())
    }
}

impl<T: 'static> Closing<T> {
    pub(super) fn add(&self, connections: impl IntoIterator<Item = T>) {
        let mut queue = self.0.borrow_mut();
        let is_closing = !queue.is_empty();
        queue.extend(connections);
        if !is_closing && !queue.is_empty() {
            tokio::task::spawn_local(close(Rc::clone(&self.0)));
        }
    }

    /// Closes one at once, for somebody who needs its descriptor; true if there was one.
    pub(super) fn close_one(&self) -> bool {
        let next = self.0.borrow_mut().pop_front();
        next.is_some()
    }
}

async fn close<T>(queue: Rc<RefCell<VecDeque<T>>>) {
    loop {
        tokio::time::sleep(BETWEEN).await;
        for _ in 0..AT_ONCE {
            let next = queue.borrow_mut().pop_front();
            if next.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn connections_of_a_color_that_went_are_closed_a_few_at_a_time() {
        let some: Vec<Rc<()>> = (0..11).map(|_| Rc::default()).collect();
        let open = || some.iter().filter(|connection| Rc::strong_count(connection) > 1).count();
        let closing = Closing::default();
        closing.add(some.iter().take(4).cloned());
        assert!(closing.close_one(), "somebody needs its descriptor");
        closing.add(some.iter().skip(4).cloned());
        let mut left = open();
        assert_eq!(left, 10);
        while left > 0 {
            tokio::time::sleep(BETWEEN).await;
            let now = open();
            assert!(left - now <= AT_ONCE, "{left} and then {now}");
            left = now;
        }
        assert!(!closing.close_one());
        closing.add(some.first().cloned());
        while open() > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
    }
}
