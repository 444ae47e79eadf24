//! The decisions: which color is live, what may change that, and what has to follow.
//!
//! The rule of this folder: `std` only. No clock, no I/O, no async, no randomness, no `HashMap` (its order is random).
//! Time comes in as [`clock::Now`], the outside world as events, and what has to be done goes out as effects. So one
//! controller task and one seeded simulator (`tests/sim`) drive the very same code.

pub(crate) mod analysis;
pub(crate) mod clock;
pub(crate) mod color;
pub(crate) mod deployment;
pub(crate) mod force;
pub(crate) mod gate;
pub(crate) mod headline;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod linger;
pub(crate) mod notice;
pub(crate) mod release;
pub(crate) mod rollout;
pub(crate) mod schema;
pub(crate) mod split;
pub(crate) mod transition;
pub(crate) mod verdict;
pub(crate) mod written;
