//! `[resolver]`: the addresses of endpoints that are named.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::Value;

use crate::config::file::{Section, Written, quoted};
use crate::config::render::{duration, table, texts, word};
use crate::config::units::{DAY, HOUR, MINUTE, MS, SECOND};

/// The port of a name server that is written without one.
const DNS: u16 = 53;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// The name servers; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    pub family: Family,
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    pub timeout: Duration,
}

impl Default for ResolverConfig {
    fn default() -> ResolverConfig {
        ResolverConfig {
            servers: Vec::new(),
            family: Family::Auto,
            min_ttl: SECOND,
            max_ttl: MINUTE,
            timeout: 2 * SECOND,
        }
    }
}

/// The addresses of a name that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or IPv6 where the name has no IPv4 address.
    Auto,
    Ipv4,
    Ipv6,
    All,
}

impl Family {
    const NAMES: [(&str, Family); 4] =
        [("auto", Family::Auto), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("all", Family::All)];
}

impl ResolverConfig {
    pub(super) fn read(section: &Section<'_>) -> ResolverConfig {
        let defaults = ResolverConfig::default();
        let read = ResolverConfig {
            servers: name_servers(section),
            family: section.choice("family", &Family::NAMES, defaults.family),
            min_ttl: section.duration("min_ttl", defaults.min_ttl, 100 * MS..=HOUR),
            max_ttl: section.duration("max_ttl", defaults.max_ttl, SECOND..=DAY),
            timeout: section.duration("timeout", defaults.timeout, 50 * MS..=30 * SECOND),
        };
        if read.min_ttl > read.max_ttl {
            let span = ["min_ttl", "max_ttl"].iter().find_map(|key| Some(section.get(key)?.span()));
            let [min, max] = [read.min_ttl, read.max_ttl].map(humantime::format_duration);
            let message = format!("`resolver.min_ttl` is {min}, which is longer than `resolver.max_ttl`, {max}");
            section.problem(span.unwrap_or_else(|| section.span.clone()), message, "make `min_ttl` the shorter one");
        }
        read
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("servers", texts(&self.servers)),
            ("family", word(&Family::NAMES, self.family)),
            ("min_ttl", duration(self.min_ttl)),
            ("max_ttl", duration(self.max_ttl)),
            ("timeout", duration(self.timeout)),
        ])
    }
}

fn name_servers(section: &Section<'_>) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for (text, span) in section.strings("servers").unwrap_or_default() {
        let Some(server) = name_server(section, (text, span.clone())) else { continue };
        if servers.contains(&server) {
            section.problem(span, format!("the name server {} is there twice", quoted(text)), "keep one of them");
        } else {
            servers.push(server);
        }
    }
    servers
}

fn name_server(section: &Section<'_>, (text, span): Written<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS)));
    let address = address.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
    if address.is_none() {
        let help = "write the address of a name server, \"10.0.0.53\" or \"127.0.0.1:5353\"";
        section.problem(span, format!("{} is not a name server", quoted(text)), help);
    }
    address
}
