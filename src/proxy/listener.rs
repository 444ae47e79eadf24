//! The listeners of the data plane, by what they are for.

/// Where a client connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Without TLS.
    Http,
    /// With it.
    Https,
    /// Without TLS, and for the color that does not serve.
    Preview,
}

impl Listener {
    /// In the order of whatever is kept by listener.
    pub(crate) const ALL: [Listener; 3] = [Listener::Http, Listener::Https, Listener::Preview];

    pub(crate) fn is_tls(self) -> bool {
        self == Listener::Https
    }
}
