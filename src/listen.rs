//! The client's side: listeners, accepting, and serving one connection.

pub(crate) mod accept;
pub(crate) mod connection;
mod http2;
mod linger;
pub mod plane;
