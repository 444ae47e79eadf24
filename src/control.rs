//! The controller: one task that owns the `Rollout`, feeds it events, and carries out its effects.

pub mod handle;
