//! What is played.

use std::time::Duration;

use crate::shop::Manner;

/// One of them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) how: &'static str,
    /// Requests a second.
    pub(crate) rate: u32,
    /// Before the canary begins: what is usual is learnt.
    pub(crate) usual: Duration,
    /// The canary lasts no longer.
    pub(crate) lasts: Duration,
    pub(crate) before: Manner,
    /// From the moment at which the canary begins: of the old release, and of the new one.
    pub(crate) stable: Manner,
    pub(crate) candidate: Manner,
    /// Sections of the configuration.
    pub(crate) config: &'static str,
    /// It must be rolled back; else it must not.
    pub(crate) bad: bool,
    /// What the verdict has to name.
    pub(crate) named: &'static str,
    pub(crate) page_counts: bool,
    /// What the design says.
    pub(crate) expected: &'static str,
}

const NO_TIME: Manner = Manner { errors: 0.001, median: Duration::ZERO, sigma: 0.0, slower: 1.0, refused: 0.0 };
const LOGNORMAL: Manner = Manner { median: Duration::from_millis(10), sigma: 0.6, ..NO_TIME };
const DOWN: Manner = Manner { errors: 0.3, ..NO_TIME };

/// As short as a step can be judged, and long enough to be.
const STEP_5: &str = "[canary]\nsteps = [\"5%\"]\ndwell = \"10m\"\n[analysis]\ntick = \"100ms\"\n";
const QUICK_WARMUP: &str = "[canary]\nsteps = [\"5%\"]\ndwell = \"10m\"\n[analysis]\ntick = \"100ms\"\nwarmup = { requests = 50, time = \"1s\" }\n";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "spike",
        what: "0.1 % errors, on the new release 8 %",
        how: "1,000 requests a second, 5 % of them to it; all settings by default, but a tick of 100 ms",
        rate: 1_000,
        usual: Duration::from_secs(2),
        lasts: Duration::from_secs(60),
        before: NO_TIME,
        stable: NO_TIME,
        candidate: Manner { errors: 0.08, ..NO_TIME },
        config: STEP_5,
        bad: true,
        named: "errors on",
        page_counts: false,
        expected: "simulated: one test 57 and 138, with its share of the budget 66 and 142; the whole judge 2 s and 4 s",
    },
    Scenario {
        name: "route",
        what: "/checkout takes 3 times as long; lognormal latencies, sigma 0.6",
        how: "600 requests a second, a third of them /checkout, 5 % of all to it; tick 100 ms, warm-up 50 requests and 1 s",
        rate: 600,
        usual: Duration::from_secs(4),
        lasts: Duration::from_secs(90),
        before: LOGNORMAL,
        stable: LOGNORMAL,
        candidate: Manner { slower: 3.0, ..LOGNORMAL },
        config: QUICK_WARMUP,
        bad: true,
        named: "/checkout",
        page_counts: true,
        expected: "simulated 49 of that page, and 50 of all for the warm-up",
    },
    Scenario {
        name: "good",
        what: "no regression: 0.1 % errors, lognormal latencies on both",
        how: "5 minutes at 50 requests a second in 30 s at 500: tick 100 ms for 1 s, steps of 3 s for 30, a bake of 15 s for 2 min 30 with 5 % held back",
        rate: 500,
        usual: Duration::from_secs(3),
        lasts: Duration::from_secs(30),
        before: LOGNORMAL,
        stable: LOGNORMAL,
        candidate: LOGNORMAL,
        config: "[canary]\nsteps = [\"5%\", \"25%\", \"50%\"]\ndwell = \"3s\"\nmax_step = \"3m\"\nholdback = \"5%\"\n[bake]\nduration = \"15s\"\n\
                 [analysis]\ntick = \"100ms\"\nwarmup = { requests = 50, time = \"3s\" }\n",
        bad: false,
        named: "",
        page_counts: false,
        expected: "",
    },
    Scenario {
        name: "low",
        what: "1 request a second, no errors, half of them to the new release",
        how: "60 s, all settings by default",
        rate: 1,
        usual: Duration::from_secs(2),
        lasts: Duration::from_secs(60),
        before: Manner { errors: 0.0, ..NO_TIME },
        stable: Manner { errors: 0.0, ..NO_TIME },
        candidate: Manner { errors: 0.0, ..NO_TIME },
        config: "[canary]\nsteps = [\"50%\"]\n",
        bad: false,
        named: "",
        page_counts: false,
        expected: "2.00 is right: one of two requests is for it",
    },
    Scenario {
        name: "outage",
        what: "both releases fail 30 % of their requests from the moment at which the canary begins",
        how: "500 requests a second for 30 s, 5 % to the new release; all settings by default, but a tick of 100 ms",
        rate: 500,
        usual: Duration::from_secs(2),
        lasts: Duration::from_secs(30),
        before: NO_TIME,
        stable: DOWN,
        candidate: DOWN,
        config: STEP_5,
        bad: false,
        named: "",
        page_counts: false,
        expected: "",
    },
];
