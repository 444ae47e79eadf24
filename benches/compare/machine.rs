//! The machine: its cores, the processes on them, and the CPU time that they spend.

pub(crate) mod cores;
pub(crate) mod process;
pub(crate) mod spent;
pub(crate) mod workers;

use rustix::process::{Resource, getrlimit};

/// Descriptors that a process may have.
pub(crate) fn open_files() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}
