//! The operating system: signals, the service manager, limits, memory. Kept libraries do the work.

pub mod limits;
pub mod memory;
pub mod service;
pub mod signals;
