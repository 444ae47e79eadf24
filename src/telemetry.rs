//! What the program tells about itself: process log, access log, meters and metrics.

pub mod access_log;
pub mod meter;
