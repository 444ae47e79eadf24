//! The operating system: signals, the service manager, limits, memory, and the process's share of each.

pub mod buffered;
pub mod descriptors;
pub mod limits;
pub mod memory;
pub mod ports;
pub mod service;
pub mod signals;
pub mod users;
