//! Which requests are no evidence, and which events of the application are.

use ipnet::IpNet;

/// `[analysis] ignore`: requests that are served and counted as ever, and are no evidence for or against a release. A request is one of
/// them by its path, its `User-Agent` or its client's address.
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
