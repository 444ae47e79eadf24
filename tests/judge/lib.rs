//! The judge of canaries, and the few words of decisions that it needs, compiled alone.

#[path = "../../src/domain"]
pub mod domain {
    pub mod analysis;
    pub mod color;
    pub mod split;
    pub mod verdict;
}
