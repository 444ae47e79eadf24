//! The addresses of endpoints as they are configured.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One address of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointAddress {
    /// `10.0.0.1:8080`
    Ip(SocketAddr),
    /// `app.internal:8080`: every address of the name
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// `srv+_http._tcp.app.internal`: every address and port of the service
    Service {
        /// The name of its SRV records.
        name: String,
    },
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
    /// It stands for addresses that have to be looked up.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(self, EndpointAddress::Name { .. } | EndpointAddress::Service { .. })
    }
}
