//! Thousands of seeded worlds. `CUTOVER_SIM_SEED=n` replays one and prints each step; `CUTOVER_SIM_SEEDS` and
//! `CUTOVER_SIM_STEPS` set how many and how long.

use crate::world::World;

#[test]
fn no_order_of_events_breaks_an_invariant() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let steps = number("CUTOVER_SIM_STEPS").unwrap_or(150);
    if let Some(seed) = number("CUTOVER_SIM_SEED") {
        return World::new(seed, true).run(steps);
    }
    for seed in 0..number("CUTOVER_SIM_SEEDS").unwrap_or(4_000) {
        let run = std::panic::catch_unwind(|| World::new(seed, false).run(steps));
        assert!(run.is_ok(), "seed {seed} breaks an invariant; replay it with CUTOVER_SIM_SEED={seed}");
    }
}
