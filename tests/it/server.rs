//! Client connections: TLS, HTTP/1.1 and HTTP/2, the PROXY protocol, limits, and answers of the proxy itself.

mod grpc_ends;
pub(crate) mod http2;
pub(crate) mod http2_bounds;
mod lengths;
mod own_answers;
mod proxy_protocol;
mod refused;
mod room;
mod tls;
pub(crate) mod versions;
