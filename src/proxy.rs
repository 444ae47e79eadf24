//! The data plane: what happens to a request between a client and an endpoint.

pub mod live;
pub mod pool;
