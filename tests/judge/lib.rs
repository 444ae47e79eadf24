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
    pub mod routes;
}

#[cfg(not(test))]
#[path = "../../src/proxy"]
pub(crate) mod proxy {
    pub(crate) mod metering;

    /// Stands in for `proxy::blame`.
    pub(crate) mod blame {
        #[derive(Clone, Copy)]
        pub(crate) enum Blame {
            Client,
            Proxy,
            Endpoint,
            Release,
            Nobody,
        }

        impl Blame {
            pub(crate) fn is_charged(self) -> bool {
                matches!(self, Blame::Endpoint | Blame::Release)
            }
        }
    }

    /// Stands in for `proxy::kind`.
    pub(crate) mod kind {
        #[derive(Clone, Copy)]
        pub(crate) enum Kind {
            UpstreamClosed,
            BadAnswer,
            ResponseTimeout,
            BodyTimeout,
            Refused,
        }
    }

    /// Stands in for `proxy::snapshot::split`.
    pub(crate) mod snapshot {
        pub(crate) mod split {
            use crate::telemetry::routes::RouteId;

            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub(crate) enum Counted {
                #[default]
                Not,
                Route(RouteId),
                Segment,
            }
        }
    }

    /// Stands in for `proxy::worker`: one worker with a clock that is set.
    pub(crate) mod worker {
        use std::cell::{Cell, RefCell};
        use std::sync::Arc;
        use std::time::Instant;

        use crate::proxy::metering::Metered;
        use crate::telemetry::routes::{Known, Routes};

        pub(crate) struct Live {
            pub(crate) routes: Arc<Routes>,
        }

        /// What waits for its answer, with whatever the site knows of it.
        #[derive(Default)]
        pub(crate) struct Slots(pub(crate) RefCell<Vec<(Metered, crate::control::site::Pending)>>);

        impl Slots {
            pub(crate) fn each_metered(&self, mut look: impl FnMut(&mut Metered)) {
                self.0.borrow_mut().iter_mut().for_each(|(metered, _)| look(metered));
            }
        }

        pub(crate) struct Worker {
            pub(crate) index: usize,
            pub(crate) live: Live,
            pub(crate) slots: Slots,
            pub(crate) known: RefCell<Known>,
            pub(crate) clock: Cell<Instant>,
        }

        impl Worker {
            pub(crate) fn now(&self) -> Instant {
                self.clock.get()
            }
        }
    }
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
