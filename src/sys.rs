//! The operating system: signals, the service manager, limits. Kept libraries do the work.

pub mod limits;
pub mod service;
pub mod signals;
