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

    /// Its key in `[listen]`.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Listener::Http => "http",
            Listener::Https => "https",
            Listener::Preview => "preview",
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        self == Listener::Https
    }
}
