//! The configuration file as a way in: edits, orders, write-backs, and files that are unusable or hang.

mod file;
mod orders;
mod pipes;
mod unusable;
mod write_back;
