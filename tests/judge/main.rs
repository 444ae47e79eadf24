//! The judge of canaries, compiled without the proxy around it: the decisions, what the request path counts, how that becomes what
//! the judge is told, and how releases go from step to step. All of it is the code that ships; what stands in for the rest is small.
//!
//!     cargo run --release --manifest-path tests/judge/Cargo.toml --target-dir target/judge [-- worlds [all | NAME [COUNT]]]
//!
//! Without arguments: every promise, and the quick worlds. `worlds gain=10` bounds otherwise what a second may make of a bet.

#![allow(dead_code, unused_imports)]

use std::process::ExitCode;
use std::time::Instant;

use worlds::{How, Which};

#[path = "../../src/domain"]
pub mod domain {
    pub mod analysis;
    pub mod clock;
    pub mod color;
    pub mod deployment;
    pub mod force;
    pub mod gate;
    pub mod health;
    pub mod history;
    pub mod notice;
    pub mod release;
    pub mod rollout;
    pub mod schema;
    pub mod split;
    pub mod transition;
    pub mod verdict;
    pub mod written;
}

/// What requests are counted by.
#[path = "../../src/telemetry"]
pub mod telemetry {
    pub mod meter;
}

/// What requests are counted as.
#[path = "../../src/evidence"]
pub mod evidence {
    pub(crate) mod trial;
    pub mod routes;
}

/// Stands in for `ledger::ticks`, which writes.
pub(crate) mod ledger {
    pub(crate) mod ticks {
        use std::cell::RefCell;

        use crate::domain::analysis::{Judge, Policy, Tick};
        use crate::domain::deployment::DeploymentId;

        pub(crate) enum Entry {
            Step(u64),
            Tick(Box<Tick>),
        }

        pub(crate) struct Recorded {
            pub(crate) policy: Policy,
            pub(crate) entries: Vec<Entry>,
        }

        impl Recorded {
            pub(crate) fn judge(&self) -> (Judge, ()) {
                (Judge::new(self.policy.clone()), ())
            }

            pub(crate) fn last_tick(&self) -> Option<&Tick> {
                None
            }
        }

        #[derive(Default)]
        pub(crate) struct TickLog(pub(crate) RefCell<Option<Vec<Entry>>>);

        impl TickLog {
            pub(crate) fn append(&self, _: DeploymentId, entry: Entry) {
                if let Some(entries) = &mut *self.0.borrow_mut() {
                    entries.push(entry);
                }
            }
        }
    }
}

#[path = "../../src/control/analysis"]
pub(crate) mod control {
    pub(crate) mod watched;

    // Where what it drives is visible.
    #[path = "../../../tests/judge/worlds/site.rs"]
    pub(crate) mod site;
}

mod promises;
mod random;
mod worlds;

fn main() -> ExitCode {
    let start = Instant::now();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let only_worlds = words.first().is_some_and(|word| word == "worlds");
    if only_worlds {
        words.remove(0);
    }
    let (held, broken) = if only_worlds { (0, 0) } else { promises::all() };
    let (set, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with("gain="));
    let second_gain = set.first().and_then(|word| word[5..].parse().ok());
    let which = match words.first().map(String::as_str) {
        None | Some("quick") => Which::Quick,
        Some("all") => Which::Full,
        Some(name) => Which::Named(name.to_owned(), words.get(1).and_then(|count| count.parse().ok())),
    };
    let (more_held, more_broken) = worlds::all(&How { which, second_gain }, &mut |line| println!("{line}"));
    let (held, broken) = (held + more_held, broken + more_broken);
    let verdict = if broken == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {held} passed; {broken} failed; finished in {:.2}s",
        start.elapsed().as_secs_f64()
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
