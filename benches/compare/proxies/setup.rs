//! What a proxy is set up for.

/// What it speaks with the applications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Upstream {
    #[default]
    Http1,
    /// From the first byte on; applications that speak gRPC.
    Http2,
}

/// What it is set up for, besides HTTP/1.1 from end to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    /// Clients that it has room for.
    pub(crate) room: usize,
    /// It speaks TLS too, with HTTP/2 for who asks for it.
    pub(crate) tls: bool,
    pub(crate) upstream: Upstream,
    pub(crate) analysis: Analysis,
    pub(crate) growth: Growth,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            workers: 1,
            room: 8192,
            tls: false,
            upstream: Upstream::default(),
            analysis: Analysis::default(),
            growth: Growth::NONE,
        }
    }
}

/// How much of what it has. Other proxies are asked for routes, endpoints and idle connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) routes: usize,
    pub(crate) endpoints: usize,
    /// Connections on which nothing is asked any more.
    pub(crate) idle: usize,
    pub(crate) access_log: bool,
    pub(crate) canary: bool,
    pub(crate) sticky: bool,
    pub(crate) shield: bool,
    /// A client that reads the metrics each second.
    pub(crate) scrape: bool,
}

impl Growth {
    pub(crate) const NONE: Growth = Growth {
        routes: 0,
        endpoints: 1,
        idle: 0,
        access_log: false,
        canary: false,
        sticky: false,
        shield: false,
        scrape: false,
    };
}

/// Cutover's analysis of releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Analysis {
    /// As it is by default, without a deployment under way.
    #[default]
    On,
    /// With modes that judge nothing.
    Off,
}
