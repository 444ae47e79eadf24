//! How the names of endpoints are resolved.

use std::net::SocketAddr;
use std::time::Duration;

/// `[resolver]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// The name servers; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// Which addresses of a name are used.
    pub family: Family,
    /// A name is asked for again after this at the earliest.
    pub min_ttl: Duration,
    /// And after this at the latest.
    pub max_ttl: Duration,
    /// A name server has to answer within this; then the next one is asked.
    pub timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> ResolverConfig {
        ResolverConfig {
            servers: Vec::new(),
            family: Family::Auto,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(60),
            timeout: Duration::from_secs(2),
        }
    }
}

/// `resolver.family`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The IPv4 addresses, and those of IPv6 where there is none.
    Auto,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// All of both.
    All,
}
