//! The decisions: which color is live, what may change that, and what has to follow.
//!
//! The rule of this folder: `std` only. No clock, no I/O, no async, no randomness, no `HashMap` (its order is random).
//! Time comes in as [`clock::Now`], the outside world as events, and what has to be done goes out as effects. So one
//! controller task and one seeded simulator (`tests/sim`) drive the very same code.

pub mod analysis;
pub mod clock;
pub mod color;
pub mod deployment;
pub mod force;
pub mod gate;
pub mod headline;
pub mod health;
pub mod history;
pub mod linger;
pub mod notice;
pub mod release;
pub mod rollout;
pub mod schema;
pub mod split;
pub mod transition;
pub mod verdict;
pub mod written;
