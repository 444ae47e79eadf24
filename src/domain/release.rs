//! What is deployed on a color, by the label that the configuration gives it.

use std::fmt;
use std::sync::Arc;

/// The label of a release, such as `2.14.0`. Two releases are the same when their labels are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(Arc<str>);

impl Release {
    /// Takes a label as it was written.
    #[must_use]
    pub fn new(label: &str) -> Release {
        Release(label.into())
    }

    /// Nothing is deployed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The label; empty where nothing is deployed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_none() { "(nothing)" } else { &self.0 })
    }
}
