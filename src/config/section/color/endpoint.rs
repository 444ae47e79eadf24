//! The addresses of endpoints.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::file::kinds::is_name;
use crate::config::file::{Section, Written, quoted};

/// One entry of a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// `10.0.0.1:8080`
    Ip(SocketAddr),
    /// `app.internal:8080`: every address of the name.
    Name { host: String, port: u16 },
    /// `srv+_http._tcp.app.internal`: every address and port in the SRV records of the name.
    Service { name: String },
    /// `unix:/run/app.sock`
    Unix(PathBuf),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Ip(address) => address.fmt(f),
            EndpointAddress::Name { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Service { name } => write!(f, "srv+{name}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl EndpointAddress {
    /// The entry stands for addresses from the DNS.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(self, EndpointAddress::Name { .. } | EndpointAddress::Service { .. })
    }

    pub(super) fn read(section: &Section<'_>, (text, span): Written<'_>) -> Option<EndpointAddress> {
        let endpoint = match text.strip_prefix("unix:") {
            Some(path) => (!path.is_empty()).then(|| EndpointAddress::Unix(path.into())),
            None if text.starts_with("srv+") => return service(section, (text, span)),
            None => text.parse().ok().map(EndpointAddress::Ip).or_else(|| named(text)),
        };
        let usable = !matches!(&endpoint, Some(EndpointAddress::Ip(address)) if address.port() == 0);
        if endpoint.is_none() || !usable {
            let help = "write \"10.0.0.1:8080\", \"app.internal:8080\", \"srv+_http._tcp.app.internal\" or \"unix:/run/app.sock\"";
            section.problem(span, format!("{} is not an endpoint", quoted(text)), help);
            return None;
        }
        endpoint
    }
}

/// The name of SRV records: `_SERVICE._PROTOCOL.NAME` (RFC 2782).
fn service(section: &Section<'_>, (text, span): Written<'_>) -> Option<EndpointAddress> {
    let name = text.strip_prefix("srv+").unwrap_or(text);
    let mut labels = name.splitn(3, '.');
    let mut underscored = || labels.next().is_some_and(|label| label.len() > 1 && label.starts_with('_'));
    let of_service = underscored() && underscored() && labels.next().is_some_and(|domain| !domain.is_empty());
    if !of_service || !is_name(name) {
        let help = "write \"srv+_http._tcp.app.internal\", without a port: the records have it";
        section.problem(span, format!("{} does not name SRV records", quoted(text)), help);
        return None;
    }
    Some(EndpointAddress::Service { name: name.to_owned() })
}

fn named(text: &str) -> Option<EndpointAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    // Digits and dots alone are a mistyped address, not a name.
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (!numeric && is_name(host)).then(|| EndpointAddress::Name { host: host.to_owned(), port })
}
