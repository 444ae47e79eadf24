//! Worlds: traffic as people have it, request by request, through the real counting, sampling, judging and stages.

mod faults;
mod quiet;
mod table;

pub use table::{How, Which, all};
