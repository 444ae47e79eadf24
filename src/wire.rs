//! HTTP/1.1, HTTP/2, WebSocket and the PROXY protocol: bytes to messages, and messages to bytes.
//!
//! A [`Head`](head::Head) is a start line and fields in one block of memory. A [`Side`](side::Side) is one end of an
//! exchange in either version, so one loop ([`copy`]) moves a body between any two. HTTP/1.1 ([`http1`]) and HTTP/2
//! towards clients ([`http2::server`]) are written here, to read in place, without an allocation for each request, and
//! to refuse everything ambiguous. HTTP/2 towards endpoints ([`http2::client`]) uses the `h2` crate.

pub(crate) mod copy;
pub(crate) mod head;
pub(crate) mod proxy_protocol;
pub(crate) mod side;
pub(crate) mod socket;
pub(crate) mod websocket;

pub(crate) mod http1 {
    pub(crate) mod body;
    pub(crate) mod connection;
    pub(crate) mod parse;
}

pub(crate) mod http2 {
    pub(crate) mod client;
    mod ending;
    mod fields;
    pub(crate) mod frame;
    pub(crate) mod hpack;
    pub(crate) mod pulse;
    pub(crate) mod server;
}
