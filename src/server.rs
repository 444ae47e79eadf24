//! From a listener to a request: accepting, the PROXY protocol, TLS, the version of HTTP, and the head.

pub(crate) mod accept;
mod client;
pub(crate) mod connection;
mod http2;
mod lingering_close;
pub(crate) mod plane;
pub(crate) mod worker;
