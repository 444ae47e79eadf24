//! The names of the proxies, and what sets them apart.

use crate::machine::open_files;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cutover,
    HaProxy,
    Nginx,
    Envoy,
    Sozu,
    Relay,
}

impl Kind {
    /// Clients that it can be set up for, with the descriptors of this process: it refuses to start if it has fewer than
    /// two for each of them.
    pub(crate) fn most_clients(self) -> usize {
        match self {
            Kind::Sozu | Kind::Relay => open_files() / 2 - 64,
            Kind::Cutover | Kind::HaProxy | Kind::Nginx | Kind::Envoy => usize::MAX,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cutover => "Cutover",
            Kind::HaProxy => "HAProxy",
            Kind::Nginx => "nginx",
            Kind::Envoy => "Envoy",
            Kind::Sozu => "Sozu",
            Kind::Relay => "TCP relay",
        }
    }
}
