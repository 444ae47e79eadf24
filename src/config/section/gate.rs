//! `[gate]`: the proof that a color can serve, before a switch moves traffic to it.

mod check;

use std::time::Duration;

use toml::Value;

use crate::config::file::{Section, Span};
use crate::config::render::{duration, integer, percent, table};
use crate::config::units::{HOUR, MS};
use crate::domain::gate::GatePolicy;

pub(super) use check::refuse_unknown_upstreams;
pub(crate) use check::{CheckBody, GateCheck, KeptValue, Scalar};

const DEFAULTS: GatePolicy = GatePolicy { quorum_percent: 100, passes: 1, timeout: Duration::from_secs(30) };

/// `[gate]` with its checks, and where each check names its upstream.
pub(super) struct Gate {
    pub(super) policy: GatePolicy,
    pub(super) checks: Vec<(GateCheck, Span)>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { policy: DEFAULTS, checks: Vec::new() }
    }
}

impl Gate {
    pub(super) fn read(section: &Section<'_>) -> Gate {
        Gate {
            policy: GatePolicy {
                quorum_percent: section.percent("quorum", DEFAULTS.quorum_percent, 1..=100),
                passes: section.integer("passes", DEFAULTS.passes, 1..=100),
                timeout: section.duration("timeout", DEFAULTS.timeout, 100 * MS..=HOUR),
            },
            checks: check::read_checks(section),
        }
    }
}

pub(super) fn write(gate: &GatePolicy, checks: &[GateCheck]) -> Value {
    let mut section = vec![
        ("quorum", percent(gate.quorum_percent)),
        ("passes", integer(gate.passes)),
        ("timeout", duration(gate.timeout)),
    ];
    if !checks.is_empty() {
        section.push(("check", checks.iter().map(GateCheck::write).collect::<Vec<_>>().into()));
    }
    table(section)
}
