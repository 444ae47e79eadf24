//! Data stores and their schemas: which versions a release can run on, what it brings them to, and what of that can't
//! be taken back.
//!
//! A release carries [`Labels`]; what releases did is remembered in a [`Lineage`]; what stores are at now is known by
//! [`Currents`]; and [`Verdict`] says whether a release can serve.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

mod current;
mod lineage;
mod verdict;

pub use current::Reading;
pub(crate) use current::{Current, Currents, Live, Source};
pub use lineage::{FirstWrite, Lineage};
pub(crate) use lineage::{Overridden, Step, TakenBack};
pub use verdict::Verdict;
pub(crate) use verdict::{Obstacle, admits, runs};

/// The version of a store's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions that a release can run on, both ends included. Written `41`, `>=41`, `<=43`, `>40`, `<44`, or two of
/// them with a comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    low: u64,
    high: u64,
}

/// Why a text is no range, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeError {
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub repair: String,
}

impl Range {
    /// The lowest version in it.
    #[must_use]
    pub fn lowest(self) -> Version {
        Version(self.low)
    }

    /// Whether a version is in it.
    #[must_use]
    pub fn contains(self, version: Version) -> bool {
        (self.low..=self.high).contains(&version.0)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low == high => low.fmt(f),
            (low, u64::MAX) => write!(f, ">={low}"),
            (0, high) => write!(f, "<={high}"),
            (low, high) => write!(f, ">={low}, <={high}"),
        }
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Range, RangeError> {
        const WAYS: &str = "write \"41\", \">=41\" or \">=41, <=43\"";
        let error = |reason: &str, repair: String| RangeError { reason: reason.to_owned(), repair };
        let mut range = Range { low: 0, high: u64::MAX };
        for part in text.split(',').map(str::trim) {
            let digits = part.trim_start_matches(['<', '>', '=']);
            let (sign, number) = (&part[..part.len() - digits.len()], digits.trim());
            if let Some((low, high)) = number.split_once('-')
                && let (Ok(low), Ok(high)) = (low.trim().parse::<u64>(), high.trim().parse::<u64>())
            {
                return Err(error("says a span with a dash", format!("write \">={low}, <={high}\"")));
            }
            let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let Some(version) = plain.then(|| number.parse::<u64>().ok()).flatten() else {
                return Err(error("is not a range of versions, which are whole numbers", WAYS.to_owned()));
            };
            let beyond = || error("leaves no version", WAYS.to_owned());
            let (low, high) = match sign {
                "" | "=" | "==" => (version, version),
                ">=" => (version, u64::MAX),
                ">" => (version.checked_add(1).ok_or_else(beyond)?, u64::MAX),
                "<=" => (0, version),
                "<" => (0, version.checked_sub(1).ok_or_else(beyond)?),
                _ => return Err(error("has a sign that is none", WAYS.to_owned())),
            };
            range = Range { low: range.low.max(low), high: range.high.min(high) };
        }
        if range.low > range.high {
            return Err(error("leaves no version", WAYS.to_owned()));
        }
        Ok(range)
    }
}

/// From when on a release can't be taken back, whatever versions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Barrier {
    /// Never.
    #[default]
    None,
    /// As soon as it took traffic, and with that its migration is applied.
    Applied,
    /// When it accepted its first mutating request.
    FirstWrite,
}

impl Barrier {
    /// All of them, by the names that they have in files.
    pub const NAMES: [(&'static str, Barrier); 3] =
        [("none", Barrier::None), ("applied", Barrier::Applied), ("first-write", Barrier::FirstWrite)];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Barrier::NAMES.iter().find(|(_, barrier)| *barrier == self).map_or("", |(name, _)| name)
    }
}

/// What a release says of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it can run on.
    pub needs: Range,
    /// What it brings the store to.
    pub migrates_to: Option<Version>,
    /// From when on that can't be taken back.
    pub barrier: Barrier,
}

/// What a release says, by store.
pub type Labels = BTreeMap<String, Label>;

#[cfg(test)]
mod tests;
