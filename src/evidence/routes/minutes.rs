//! Users who stay on a color, minute by minute: for each client network one user, with the number of requests and of
//! failures.
//!
//! A user's first error counts once, and later ones would be lost. A minute forgets the one before, so
//! a release that breaks late for known users is found, and so is one that breaks for few users. The first request of a
//! minute decides which user of a network counts; its outcome does not.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use crate::domain::color::{Color, PerColor};
use crate::domain::split::Weight;

const PLACES: usize = 1 << 16;
const ATTEMPTS: usize = 4;
const COUNT: u32 = 13;
const MOST: u64 = (1 << COUNT) - 1;

/// One user in one minute: `minute 16 | user 16 | mixed 1 | green 1 | failed 13 | requests 13`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit(u64);

impl Unit {
    const FAILED: u32 = COUNT;
    const GREEN: u32 = 2 * COUNT;
    const MIXED: u32 = Unit::GREEN + 1;
    const USER: u32 = Unit::MIXED + 1;
    const MINUTE: u32 = Unit::USER + 16;

    fn new(minute: u16, user: u16, color: Color) -> Unit {
        let green = u64::from(color == Color::Green);
        Unit(u64::from(minute) << Unit::MINUTE | u64::from(user) << Unit::USER | green << Unit::GREEN)
    }

    fn minute(self) -> u16 {
        (self.0 >> Unit::MINUTE) as u16
    }

    fn name(self) -> u64 {
        self.0 >> Unit::USER
    }

    fn color(self) -> Color {
        if self.0 >> Unit::GREEN & 1 == 1 { Color::Green } else { Color::Blue }
    }

    fn is_mixed(self) -> bool {
        self.0 >> Unit::MIXED & 1 == 1
    }

    fn requests(self) -> u64 {
        self.0 & MOST
    }

    fn failed(self) -> u64 {
        self.0 >> Unit::FAILED & MOST
    }

    fn with(self, color: Color, failed: bool) -> Unit {
        if self.color() != color {
            Unit(self.0 | 1 << Unit::MIXED)
        } else if self.requests() == MOST {
            self
        } else {
            Unit(self.0 + 1 + (u64::from(failed) << Unit::FAILED))
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    pub active: u64,
    /// Users with an error; in 1 of 10 requests; in 1 of 2.
    pub bad: [u64; 3],
}

#[derive(Debug)]
pub(super) struct Minutes {
    /// The lower 16 bits count.
    present: AtomicU32,
    /// Requests given in this tick or before may have been split by another weight.
    after: AtomicU64,
    weight: AtomicU16,
    units: Box<[AtomicU64]>,
}

impl Minutes {
    pub(super) fn new() -> Minutes {
        Minutes {
            present: AtomicU32::new(1),
            after: AtomicU64::new(0),
            weight: AtomicU16::new(0),
            units: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// A request given in `tick` has finished. `hashes`: the places that the user's network may use.
    pub(super) fn record(
        &self,
        hashes: impl Iterator<Item = u64>,
        user: u64,
        (color, tick, failed): (Color, u64, bool),
    ) {
        if tick < self.after.load(Ordering::Relaxed) {
            return;
        }
        let fresh = Unit::new(self.present.load(Ordering::Relaxed) as u16, (user >> 48) as u16, color);
        for hash in hashes {
            let unit = &self.units[hash as usize % PLACES];
            for _ in 0..ATTEMPTS {
                let seen = Unit(unit.load(Ordering::Relaxed));
                let known = if seen.minute() == fresh.minute() { seen } else { fresh };
                if known.name() != fresh.name() {
                    break;
                }
                let next = known.with(color, failed).0;
                if unit.compare_exchange(seen.0, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    return;
                }
            }
        }
    }

    pub(super) fn end(&self) -> PerColor<MinuteCounts> {
        let minute = self.present.fetch_add(1, Ordering::Relaxed) as u16;
        let mut counts: PerColor<MinuteCounts> = PerColor::default();
        for unit in self.units.iter().map(|unit| Unit(unit.load(Ordering::Relaxed))) {
            if unit.minute() != minute || unit.is_mixed() {
                continue;
            }
            let (requests, failed) = (unit.requests(), unit.failed());
            let of = &mut counts[unit.color()];
            of.active += 1;
            let degrees = [failed > 0, failed * 10 >= requests && failed > 0, failed * 2 >= requests && failed > 0];
            for (bad, is_bad) in of.bad.iter_mut().zip(degrees) {
                *bad += u64::from(is_bad);
            }
        }
        counts
    }

    /// A changed weight begins the minute anew. `tick`: the present one.
    pub(super) fn note_share(&self, weight: Weight, tick: u64) {
        if self.weight.swap(weight.basis_points(), Ordering::Relaxed) != weight.basis_points() {
            self.after.store(tick, Ordering::Relaxed);
            self.present.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(minutes: &Minutes, network: u64, user: u64, color: Color, failed: bool) {
        minutes.record(std::iter::once(network), user << 48, (color, 1, failed));
    }

    #[test]
    fn users_are_counted_by_how_much_of_what_they_asked_for_failed() {
        let minutes = Minutes::new();
        for (network, failed) in [(0, 0), (1, 1), (2, 2), (3, 10), (4, 20)] {
            (0..20).for_each(|n| record(&minutes, network, 7, Color::Green, n < failed));
        }
        record(&minutes, 5, 1, Color::Blue, false);
        let counts = minutes.end();
        assert_eq!(counts.green, MinuteCounts { active: 5, bad: [4, 3, 2] });
        assert_eq!(counts.blue, MinuteCounts { active: 1, bad: [0; 3] });
        assert_eq!(minutes.end(), PerColor::default(), "a minute forgets the one before");
    }

    #[test]
    fn of_a_network_the_first_user_of_a_minute_counts_and_nobody_who_changed_the_color() {
        let minutes = Minutes::new();
        record(&minutes, 1, 1, Color::Green, false);
        record(&minutes, 1, 2, Color::Green, true);
        record(&minutes, 2, 3, Color::Blue, false);
        record(&minutes, 2, 3, Color::Green, true);
        let counts = minutes.end();
        assert_eq!((counts.green, counts.blue.active), (MinuteCounts { active: 1, bad: [0; 3] }, 0));
    }

    #[test]
    fn what_was_shared_in_another_way_is_left_out() {
        let minutes = Minutes::new();
        record(&minutes, 1, 1, Color::Green, true);
        minutes.note_share(Weight::HALF, 2);
        record(&minutes, 2, 1, Color::Green, true);
        minutes.record(std::iter::once(3), 1, (Color::Green, 2, true));
        minutes.note_share(Weight::HALF, 3);
        assert_eq!(minutes.end().green.active, 1);
    }
}
