//! Data stores and their schemas: the versions that a release runs on, the version it migrates to, and migrations that
//! can't be undone.
//!
//! A release carries [`Labels`]; a [`Lineage`] remembers past releases; [`Currents`] knows the present versions; a
//! [`Safety`] says whether a release can serve.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

mod current;
mod lineage;
mod safety;

pub use current::Reading;
pub(crate) use current::{Current, Currents, Live, Source};
pub use lineage::{FirstWrite, Lineage};
pub(crate) use lineage::{Overridden, RolledBack, Step};
pub use safety::Safety;
pub(crate) use safety::{Obstacle, admits, runs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Versions that a release runs on, both ends included. Written `41`, `>=41`, `<=43`, `>40`, `<44`, or two of them
/// with a comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    low: u64,
    high: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeError {
    pub reason: String,
    pub repair: String,
}

impl Range {
    #[must_use]
    pub fn lowest(self) -> Version {
        Version(self.low)
    }

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

/// The moment from which a release can't be rolled back, whatever versions say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Barrier {
    #[default]
    None,
    /// When it took traffic, and with that its migration was applied.
    Applied,
    FirstWrite,
}

impl Barrier {
    pub const NAMES: [(&'static str, Barrier); 3] =
        [("none", Barrier::None), ("applied", Barrier::Applied), ("first-write", Barrier::FirstWrite)];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Barrier::NAMES.iter().find(|(_, barrier)| *barrier == self).map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub needs: Range,
    pub migrates_to: Option<Version>,
    pub barrier: Barrier,
}

pub type Labels = BTreeMap<String, Label>;

#[cfg(test)]
mod tests;
