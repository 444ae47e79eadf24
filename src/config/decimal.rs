//! A number with up to six decimals, which compares exactly and is written as it was read.

use std::fmt;

/// The number in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    pub const fn from_millionths(millionths: u64) -> Decimal {
        Decimal(millionths)
    }

    /// `None` where the number is negative or has more decimals.
    pub(super) fn exactly(number: f64) -> Option<Decimal> {
        let millionths = (number * 1e6).round();
        let exact = number >= 0.0 && (millionths / 1e6 - number).abs() < 1e-9;
        exact.then_some(Decimal(millionths as u64))
    }

    #[must_use]
    pub fn get(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
