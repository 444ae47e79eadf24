//! The client's side: listeners, accepting, and serving one connection.

pub(crate) mod accept;
pub(crate) mod connection;
pub mod plane;
pub mod proxy_protocol;
mod stream;
mod strict;
