//! The state on disk: starts, crashes, and disks that fail or hang.

mod durability;
pub(crate) mod sick_disk;
mod start;
