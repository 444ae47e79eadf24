//! The release deployed on a color, by its configured label.

use std::fmt;
use std::sync::Arc;

/// A label such as `2.14.0`. Two releases are the same if their labels are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(Arc<str>);

impl Release {
    #[must_use]
    pub fn new(label: &str) -> Release {
        Release(label.into())
    }

    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

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
