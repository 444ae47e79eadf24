//! The machine: its cores, the processes on them, and the CPU time that they spend.

pub(crate) mod cores;
pub(crate) mod process;
pub(crate) mod spent;
