//! Buffers in blocks that a connection borrows from its thread only while they hold bytes.
//!
//! A waiting connection holds no block, so ten thousand idle ones cost no more than their sockets.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::sys::buffered::{self, Charge};

/// Holds a head, and most whole messages.
pub(crate) const SMALL: usize = 32 << 10;
/// Largest block that an incomplete message keeps while nothing arrives.
pub(crate) const TINY: usize = 4 << 10;
/// Piece of a large body. Smaller blocks cost more system calls and wake-ups, larger ones more memory for each slow
/// client.
const LARGE: usize = 256 << 10;
const OUTPUT: usize = 8 << 10;
const LARGE_OUTPUT: usize = 128 << 10;
const KEPT: usize = 32;
const KEPT_LARGE: usize = 16;

#[derive(Default)]
struct Store {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    large_outputs: Vec<Vec<u8>>,
}

thread_local! {
    static STORE: RefCell<Store> = RefCell::default();
}

#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Fully initialized; empty: no block is held.
    block: Vec<u8>,
    start: usize,
    end: usize,
    charge: Charge,
}

impl Input {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn memory(&self) -> usize {
        if self.is_empty() { 0 } else { self.block.len() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.block.len() >= SMALL && self.end - self.start == self.block.len()
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once; 0: the end. `hint`: bytes still to come, 0 if unknown.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
        hint: u64,
    ) -> Poll<io::Result<usize>> {
        self.poll_fill_up_to(cx, io, hint, usize::MAX)
    }

    pub(crate) fn poll_fill_up_to(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut (impl AsyncRead + Unpin),
        hint: u64,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(hint.min(most as u64));
        let end = self.block.len().min(self.end.saturating_add(most));
        let mut free = ReadBuf::new(&mut self.block[self.end..end]);
        let read = Pin::new(io).poll_read(cx, &mut free);
        let n = free.filled().len();
        if read.is_pending() {
            self.rest();
        }
        ready!(read)?;
        self.end += n;
        Poll::Ready(Ok(n))
    }

    fn make_room(&mut self, hint: u64) {
        if self.block.is_empty() && hint <= SMALL as u64 {
            self.block = small();
        } else if self.is_empty() && hint > SMALL as u64 && self.block.len() < LARGE && !buffered::is_full() {
            self.release();
            self.block = take(|store| &mut store.large).unwrap_or_else(|| vec![0; LARGE]);
        } else if self.block.len() < SMALL {
            let rested = std::mem::replace(&mut self.block, small());
            let held = self.end - self.start;
            self.block[..held].copy_from_slice(&rested[self.start..self.end]);
            (self.start, self.end) = (0, held);
        } else if self.end == self.block.len() {
            if self.start > 0 {
                self.block.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.block.resize(self.block.len() * 2, 0);
            }
        }
        self.charge.set(self.block.len());
    }

    /// Nothing more has arrived: keeps no larger a block than the content needs.
    fn rest(&mut self) {
        let held = self.end - self.start;
        if held == 0 {
            self.release();
        } else if held <= TINY && self.block.len() > TINY {
            let mut tiny = vec![0; held.next_power_of_two().max(64)];
            tiny[..held].copy_from_slice(&self.block[self.start..self.end]);
            give_input(std::mem::replace(&mut self.block, tiny));
            (self.start, self.end) = (0, held);
            self.charge.set(self.block.len());
        }
    }

    /// Moves the content into memory of its size, if that is smaller. Only for bytes that will not be used soon.
    pub(crate) fn compact(&mut self) {
        let bytes = self.bytes();
        if bytes.is_empty() || 4 * bytes.len() > 3 * self.block.len() {
            return;
        }
        let own = bytes.to_vec();
        let length = own.len();
        (self.start, self.end) = (0, 0);
        self.release();
        (self.block, self.end) = (own, length);
        self.charge.set(length);
    }

    pub(crate) fn release(&mut self) {
        if self.is_empty() && !self.block.is_empty() {
            give_input(std::mem::take(&mut self.block));
            self.charge.set(0);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        (self.start, self.end) = (0, 0);
        self.release();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    charge: Charge,
}

impl Output {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = take(|store| &mut store.outputs).unwrap_or_else(|| Vec::with_capacity(OUTPUT));
        }
        self.charge.set(self.bytes.capacity());
        &mut self.bytes
    }

    /// The buffer to append `n` bytes to, which becomes a large block if they do not fit.
    pub(crate) fn tail_for(&mut self, n: usize) -> &mut Vec<u8> {
        self.tail();
        if self.bytes.capacity() - self.bytes.len() < n && self.bytes.capacity() < LARGE_OUTPUT {
            let mut larger = take(|store| &mut store.large_outputs).unwrap_or_else(|| Vec::with_capacity(LARGE_OUTPUT));
            larger.extend_from_slice(self.bytes());
            self.clear();
            self.bytes = larger;
            self.charge.set(LARGE_OUTPUT);
        }
        &mut self.bytes
    }

    pub(crate) fn written(&mut self, n: usize) {
        self.sent += n;
        debug_assert!(self.sent <= self.bytes.len());
        if self.is_empty() {
            self.clear();
        } else {
            self.charge.set(self.bytes.capacity());
        }
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.charge.set(0);
        let mut bytes = std::mem::take(&mut self.bytes);
        if (OUTPUT..=4 * OUTPUT).contains(&bytes.capacity()) {
            bytes.clear();
            give(bytes, |store| &mut store.outputs);
        } else if bytes.capacity() == LARGE_OUTPUT {
            bytes.clear();
            give(bytes, |store| &mut store.large_outputs);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.clear();
    }
}

fn small() -> Vec<u8> {
    take(|store| &mut store.small).unwrap_or_else(|| vec![0; SMALL])
}

fn give_input(block: Vec<u8>) {
    match block.len() {
        SMALL => give(block, |store| &mut store.small),
        LARGE => give(block, |store| &mut store.large),
        _ => {}
    }
}

fn take(of: impl FnOnce(&mut Store) -> &mut Vec<Vec<u8>>) -> Option<Vec<u8>> {
    STORE.with_borrow_mut(|store| of(store).pop())
}

fn give(block: Vec<u8>, to: impl FnOnce(&mut Store) -> &mut Vec<Vec<u8>>) {
    // The store is gone while the thread ends.
    let _ = STORE.try_with(|store| {
        let mut store = store.borrow_mut();
        let kept = to(&mut store);
        if kept.len() < if block.capacity() == LARGE { KEPT_LARGE } else { KEPT } {
            kept.push(block);
        }
    });
}

#[cfg(test)]
mod tests;
