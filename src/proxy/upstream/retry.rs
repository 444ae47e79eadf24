//! What may be sent again, and how often: the retry budget of one upstream on one worker.
//!
//! Retries help where one endpoint fails, and do harm where all do: each failure then makes another request for those
//! that drown already. So retries are paid for by requests, as in Finagle: each request deposits a part of a retry. A
//! reserve lets an upstream with little traffic retry at all. Both count for ten seconds only, so that a quiet hour
//! does not pay for a storm: with each retry, those of the last ten seconds are at most `percent` of the requests of
//! that time, and [`RESERVE`] more.

use std::cell::Cell;

/// Retries in ten seconds that need no requests.
const RESERVE: i64 = 10;
/// What a retry costs; a request deposits the percentage.
const PRICE: i64 = 100;
/// The window is kept in so many pieces,
const PIECES: usize = 10;
/// each of so many milliseconds.
const PIECE: u64 = 1_000;

/// The retries that one upstream may still make on one worker. Times are those of [`clock`](crate::proxy::clock).
#[derive(Debug)]
pub(crate) struct Budget {
    percent: i64,
    /// Deposits less withdrawals, by piece of the window.
    pieces: [Cell<i64>; PIECES],
    /// All pieces together.
    sum: Cell<i64>,
    /// The number of the present piece.
    present: Cell<u64>,
}

impl Budget {
    /// A budget of `percent` retries for a hundred requests. With 0 there are none, the reserve included.
    pub(crate) fn new(percent: u32) -> Budget {
        Budget { percent: i64::from(percent), pieces: Default::default(), sum: Cell::new(0), present: Cell::new(0) }
    }

    pub(crate) fn percent(&self) -> i64 {
        self.percent
    }

    /// A request, which pays for a part of a retry.
    pub(crate) fn deposit(&self, now: u64) {
        self.change(now, self.percent);
    }

    /// Whether there may be a retry now. If so, it is paid.
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

    /// Forgets the pieces that are older than the window; the place of the present one.
    fn advance(&self, now: u64) -> usize {
        // A clock that was read earlier belongs to what is present.
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

/// A budget whose share may differ from one request to the next.
#[derive(Debug)]
pub(crate) struct Adjustable(Budget);

impl Default for Adjustable {
    fn default() -> Adjustable {
        Adjustable(Budget::new(0))
    }
}

impl Adjustable {
    /// The budget with this share; a new share begins a new budget.
    pub(crate) fn at(&mut self, percent: u32) -> &Budget {
        if self.0.percent() != i64::from(percent) {
            self.0 = Budget::new(percent);
        }
        &self.0
    }
}

/// Whether it makes no difference if a request with this method arrives twice (RFC 9110, 9.2.2). Methods are
/// case-sensitive; of one that is unknown nothing is assumed.
pub(crate) fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}

#[cfg(test)]
mod tests;
