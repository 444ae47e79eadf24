//! Clients of every kind, all on one core.

pub(crate) mod connection;
pub(crate) mod crew;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod kept;
pub(crate) mod pace;
pub(crate) mod visitor;
pub(crate) mod websocket;
