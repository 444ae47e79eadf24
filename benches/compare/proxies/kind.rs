//! The names of the proxies.

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
