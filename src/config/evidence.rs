//! Which requests are no evidence, and which events of the application are.

use ipnet::IpNet;

use crate::domain::analysis::Bad;
use crate::domain::split::Weight;

/// `[analysis] ignore`: requests that are served and counted as ever, and are no evidence for or against a release. A
/// request is one of them by its path, its `User-Agent` or its client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreConfig {
    /// Path prefixes, on whole segments; each begins with `/`.
    pub paths: Vec<String>,
    /// What a `User-Agent` contains, in lower case.
    pub agents: Vec<String>,
    /// Networks of clients.
    pub addresses: Vec<IpNet>,
}

impl IgnoreConfig {
    /// Nothing is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.agents.is_empty() && self.addresses.is_empty()
    }
}

/// `[[analysis.event]]`: what the application may tell in its answers (`Cutover-Event`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventConfig {
    /// A token. No two are alike.
    pub name: String,
    /// Which way it is bad.
    pub bad: Bad,
    /// So much more, or less, of it for each request is tolerated.
    pub tolerate: Weight,
    /// Its share of `false_rollback_per_deploy`; all of them together at most half.
    pub share: Weight,
    /// So many of one answer count, 1 to 1,000, and are one event together.
    pub per_request: u32,
}
