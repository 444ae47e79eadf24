//! What goes over a connection: HTTP/1.1 and HTTP/2, read strictly, written plainly, and one form for both.
//!
//! A [`Head`](head::Head) is a request's or a response's start line and fields in one block of memory. A
//! [`Side`](side::Side) is one end of an exchange, whatever version it speaks: body pieces come from it and go to it. A
//! proxy between two sides is then one loop. HTTP/1.1 ([`http1`], RFC 9112) is our own, because the request path is
//! what this program is about: it reads in place, allocates nothing for a request, and accepts nothing that can be read
//! in two ways. So is HTTP/2 towards clients ([`http2::server`], RFC 9113), for the same reasons; towards endpoints it
//! is the `h2` crate's ([`http2::client`]).

pub(crate) mod head;
pub(crate) mod proxy_protocol;
pub(crate) mod side;
pub(crate) mod socket;
pub(crate) mod websocket;

/// HTTP/1.1, the same towards clients and endpoints.
pub(crate) mod http1 {
    pub(crate) mod body;
    pub(crate) mod connection;
    pub(crate) mod parse;
}

/// HTTP/2.
pub(crate) mod http2 {
    pub(crate) mod client;
    mod ending;
    mod fields;
    pub(crate) mod frame;
    pub(crate) mod hpack;
    pub(crate) mod pulse;
    pub(crate) mod server;
}
