//! The operating system: signals, the service manager, limits, memory, and the process's share of each.

pub(crate) mod activation;
pub(crate) mod buffered;
pub(crate) mod descriptors;
pub(crate) mod handover;
pub(crate) mod incoming;
pub(crate) mod inherited;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod service;
pub(crate) mod signals;
pub(crate) mod turns;
pub(crate) mod users;
