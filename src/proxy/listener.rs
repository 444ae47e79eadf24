//! The listeners of the data plane.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Http,
    Https,
    Preview,
}

impl Listener {
    /// In the order of arrays by listener.
    pub(crate) const ALL: [Listener; 3] = [Listener::Http, Listener::Https, Listener::Preview];

    pub(crate) fn is_tls(self) -> bool {
        self == Listener::Https
    }
}
