//! `[health]`: how endpoints are asked whether they can serve.

use std::time::Duration;

/// `[health]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// What to ask for; `None`: a TCP connect is the check.
    pub path: Option<String>,
    /// The `Host` to ask with; `None`: the endpoint's own address.
    pub host: Option<String>,
    /// From probe to probe.
    pub interval: Duration,
    /// One probe takes no longer.
    pub timeout: Duration,
    /// So many passes in a row bring an endpoint up.
    pub rise: u32,
    /// So many failures in a row take it down.
    pub fall: u32,
    /// The status codes that pass, inclusive.
    pub expect: (u16, u16),
    /// In the answer to a probe, the name of the field that says which release it is.
    pub release_header: Option<String>,
}
