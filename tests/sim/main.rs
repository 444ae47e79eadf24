//! Seeded simulations of the decision core, and the rules that the source tree keeps.

mod architecture;
mod rollout;
mod world;
