//! The judge of canaries, compiled without the proxy around it: the decisions, what the request path counts, how that becomes what
//! the judge is told, and how releases go from step to step. All of it is the code that ships; what stands in for the rest is small.

//! `cargo test --lib` here runs the unit tests of the decisions in seconds.

#![allow(dead_code)]

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
#[cfg(not(test))]
#[path = "../../src/telemetry"]
pub mod telemetry {
    pub mod meter;
}

/// What requests are counted as.
#[cfg(not(test))]
#[path = "../../src/evidence"]
pub mod evidence {
    pub(crate) mod metering;
    pub mod routes;
}

/// Stands in for `ledger::ticks`, which writes.
#[cfg(not(test))]
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

#[cfg(not(test))]
#[path = "../../src/control/analysis"]
pub(crate) mod control {
    pub(crate) mod watched;

    // Where what it drives is visible.
    #[path = "../../../tests/judge/worlds/site.rs"]
    pub(crate) mod site;
}

pub mod random;
#[cfg(not(test))]
pub mod worlds;
