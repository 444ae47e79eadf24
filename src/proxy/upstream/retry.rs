//! Retries: the budget of one upstream on one worker, and the methods that may be repeated.
//!
//! Retries help where one endpoint fails, and harm where all do. So requests pay for them, as in Finagle: each deposits
//! a part of a retry, and a reserve lets an upstream with little traffic retry at all. Both count for ten seconds, so
//! that a quiet hour does not pay for a storm: the retries of any ten seconds are at most `percent` of the requests of
//! that time, and [`RESERVE`] more.

use std::cell::Cell;

/// Retries in ten seconds that need no requests.
const RESERVE: i64 = 10;
/// The price of a retry; a request deposits the percentage.
const PRICE: i64 = 100;
/// Pieces of the window,
const PIECES: usize = 10;
/// of this many milliseconds each.
const PIECE: u64 = 1_000;

/// Times are those of [`clock`](crate::proxy::clock).
#[derive(Debug)]
pub(crate) struct Budget {
    percent: i64,
    pieces: [Cell<i64>; PIECES],
    sum: Cell<i64>,
    present: Cell<u64>,
}

impl Budget {
    /// `percent` retries per hundred requests; 0 turns the reserve off as well.
    pub(crate) fn new(percent: u32) -> Budget {
        Budget { percent: i64::from(percent), pieces: Default::default(), sum: Cell::new(0), present: Cell::new(0) }
    }

    pub(crate) fn percent(&self) -> i64 {
        self.percent
    }

    pub(crate) fn deposit(&self, now: u64) {
        self.change(now, self.percent);
    }

    pub(crate) fn withdraw(&self, now: u64) -> bool {
        self.advance(now);
        let allowed = self.percent > 0 && self.sum.get() + RESERVE * PRICE >= PRICE;
        if allowed {
            self.change(now, -PRICE);
        }
        allowed
    }

    fn change(&self, now: u64, by: i64) {
        let piece = &self.pieces[self.advance(now)];
        piece.set(piece.get() + by);
        self.sum.set(self.sum.get() + by);
    }

    /// Forgets pieces older than the window. Returns the index of the present one.
    fn advance(&self, now: u64) -> usize {
        // A clock that was read earlier counts as the present.
        let present = (now / PIECE).max(self.present.get());
        let place = |number: u64| usize::try_from(number % PIECES as u64).unwrap_or(0);
        let passed = present - self.present.get();
        if passed > 0 {
            for number in 1..=passed.min(PIECES as u64) {
                let forgotten = self.pieces[place(self.present.get() + number)].replace(0);
                self.sum.set(self.sum.get() - forgotten);
            }
            self.present.set(present);
        }
        place(present)
    }
}

#[derive(Debug)]
pub(crate) struct Adjustable(Budget);

impl Default for Adjustable {
    fn default() -> Adjustable {
        Adjustable(Budget::new(0))
    }
}

impl Adjustable {
    pub(crate) fn at(&mut self, percent: u32) -> &Budget {
        if self.0.percent() != i64::from(percent) {
            self.0 = Budget::new(percent);
        }
        &self.0
    }
}

/// Such a request may arrive twice (RFC 9110, 9.2.2). Methods are case-sensitive; an unknown one may not.
pub(crate) fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests;
