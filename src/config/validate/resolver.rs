//! How names are resolved.

use std::net::{IpAddr, SocketAddr};

use crate::config::file::{Section, Span, quoted};
use crate::config::validate::{File, HOUR, MS, SECOND};
use crate::config::{Family, ResolverConfig};

/// The port of a name server that is named without one.
const DNS: u16 = 53;

impl File<'_> {
    pub(super) fn resolver(&self) -> ResolverConfig {
        let defaults = ResolverConfig::default();
        let Some(section) = self.root.section("resolver") else { return defaults };
        let families = [("auto", Family::Auto), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("all", Family::All)];
        let read = ResolverConfig {
            servers: self.name_servers(&section),
            family: section.choice("family", &families),
            min_ttl: section.duration("min_ttl", defaults.min_ttl, 100 * MS..=HOUR),
            max_ttl: section.duration("max_ttl", defaults.max_ttl, SECOND..=24 * HOUR),
            timeout: section.duration("timeout", defaults.timeout, 50 * MS..=30 * SECOND),
        };
        if read.min_ttl > read.max_ttl {
            let span = ["min_ttl", "max_ttl"].iter().find_map(|key| Some(section.get(key)?.span()));
            let (min, max) = (humantime::format_duration(read.min_ttl), humantime::format_duration(read.max_ttl));
            let message = format!("`resolver.min_ttl` is {min}, which is longer than `resolver.max_ttl`, {max}");
            let help = "make `min_ttl` the shorter one".to_owned();
            self.notes.problem(span.unwrap_or_else(|| section.span.clone()), message, help);
        }
        section.refuse_unknown();
        read
    }

    fn name_servers(&self, section: &Section<'_>) -> Vec<SocketAddr> {
        let written = section.strings("servers").unwrap_or_default();
        let mut servers = Vec::new();
        for (text, span) in written {
            let Some(server) = self.name_server(text, span.clone()) else { continue };
            if servers.contains(&server) {
                let message = format!("the name server {} is there twice", quoted(text));
                self.notes.problem(span, message, "keep one of them".to_owned());
            } else {
                servers.push(server);
            }
        }
        servers
    }

    fn name_server(&self, text: &str, span: Span) -> Option<SocketAddr> {
        let address = text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, DNS)));
        let address = address.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
        if address.is_none() {
            let help = "write the address of a name server, \"10.0.0.53\" or \"127.0.0.1:5353\"".to_owned();
            self.notes.problem(span, format!("{} is not a name server", quoted(text)), help);
        }
        address
    }
}
