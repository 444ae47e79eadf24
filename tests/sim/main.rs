//! Seeded simulations of the decision core, and the rules that the source tree keeps.

#![allow(clippy::print_stdout, reason = "a replayed seed prints its steps")]

mod architecture;
mod documents;
mod logs;
mod rollout;
mod world;
