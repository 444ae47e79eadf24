//! The places of a connection's streams: sets of them, and their wakers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

pub(crate) const PLACES: usize = 256;
const WORDS: usize = PLACES / 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places([u64; WORDS]);

impl Places {
    pub(crate) fn add(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    pub(crate) fn add_all(&mut self, others: Places) {
        for (word, other) in self.0.iter_mut().zip(others.0) {
            *word |= other;
        }
    }

    pub(crate) fn split(self, at: usize) -> (Places, Places) {
        let (mut later, mut sooner) = (self, self);
        for (nth, (later, sooner)) in later.0.iter_mut().zip(&mut sooner.0).enumerate() {
            let below = at.saturating_sub(nth * 64);
            let mask = if below >= 64 { u64::MAX } else { (1 << below) - 1 };
            *later &= !mask;
            *sooner &= mask;
        }
        (later, sooner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }
}

impl Iterator for Places {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let (nth, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(nth * 64 + bit)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bells {
    rung: [AtomicU64; WORDS],
    task: AtomicWaker,
}

impl Bells {
    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    pub(crate) fn take(&self) -> Places {
        Places(std::array::from_fn(|word| match self.rung[word].load(Ordering::Relaxed) {
            0 => 0,
            _ => self.rung[word].swap(0, Ordering::Acquire),
        }))
    }

    pub(crate) fn of(self: &Arc<Bells>, place: usize) -> Waker {
        Waker::from(Arc::new(Bell { bells: Arc::clone(self), place }))
    }
}

struct Bell {
    bells: Arc<Bells>,
    place: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        let bit = 1 << (self.place % 64);
        let before = self.bells.rung[self.place / 64].fetch_or(bit, Ordering::Release);
        // Otherwise an earlier ring has woken the task, which has not looked yet.
        if before & bit == 0 {
            self.bells.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_gone_through_from_any_place_on() {
        let mut places = Places::default();
        for place in [0, 3, 63, 64, 200, 255] {
            places.add(place);
        }
        let from = |at| {
            let (later, sooner) = places.split(at);
            later.chain(sooner).collect::<Vec<_>>()
        };
        assert_eq!(from(0), [0, 3, 63, 64, 200, 255]);
        assert_eq!(from(64), [64, 200, 255, 0, 3, 63]);
        assert_eq!(from(201), [255, 0, 3, 63, 64, 200]);
        assert_eq!(from(256), [0, 3, 63, 64, 200, 255]);
    }

    #[test]
    fn a_bell_is_heard_once() {
        let bells = Arc::new(Bells::default());
        let wakers = [5, 77].map(|place| bells.of(place));
        wakers.iter().chain(&wakers).for_each(Waker::wake_by_ref);
        assert_eq!(bells.take().collect::<Vec<_>>(), [5, 77]);
        assert!(bells.take().is_empty());
    }
}
