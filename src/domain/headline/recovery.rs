//! The command that brings clients back when the color that serves is dead.

use std::collections::BTreeMap;

use super::{ColorFacts, Facts};

/// What the operator can do about an outage.
pub(super) enum Recovery {
    /// This command moves the traffic to endpoints that answer.
    Command(String),
    /// No endpoint of the other color answers.
    BothDown,
}

pub(super) fn recovery(facts: &Facts) -> Recovery {
    let other = facts.active.other();
    if facts.other().endpoints.is_empty() || !every_upstream_up(facts.other()) {
        return Recovery::BothDown;
    }
    let healthy = quorum(facts.other(), facts.quorum_percent);
    // During a canary a rollback leads to the color that is dead.
    let canary = facts.on_its_way.as_ref().is_some_and(|release| release.canary);
    if facts.rollback.has_target && !canary {
        let guards = [(!healthy, "health"), (facts.rollback.is_unsafe, "schema")];
        return Recovery::Command(format!("cutover rollback{} --reason \"outage\"", forced(guards)));
    }
    let quarantined = facts.quarantine.iter().any(|bad| bad.release == facts.other().release);
    let guards = [(!healthy, "health"), (quarantined, "quarantine"), (facts.switch_unsafe, "schema")];
    let thaw = if facts.freeze.is_some() { "cutover unfreeze --reason \"outage\" && " } else { "" };
    Recovery::Command(format!("{thaw}cutover switch {other}{} --reason \"outage\"", forced(guards)))
}

/// The option that overrides these guards.
pub(super) fn forced<const N: usize>(guards: [(bool, &str); N]) -> String {
    let names: Vec<_> =
        guards.iter().filter(|(stands_in_the_way, _)| *stands_in_the_way).map(|(_, name)| *name).collect();
    if names.is_empty() { String::new() } else { format!(" --force={}", names.join(",")) }
}

/// Each upstream has an endpoint that passes its checks.
pub(super) fn every_upstream_up(color: &ColorFacts) -> bool {
    by_upstream(color).values().all(|(up, _)| *up > 0)
}

/// The gate would open.
pub(super) fn quorum(color: &ColorFacts, percent: u8) -> bool {
    by_upstream(color).values().all(|(up, all)| up * 100 >= all * usize::from(percent))
}

/// Endpoints that are up, and all of them.
pub(super) fn by_upstream(color: &ColorFacts) -> BTreeMap<&str, (usize, usize)> {
    let mut upstreams = BTreeMap::<&str, (usize, usize)>::new();
    for endpoint in &color.endpoints {
        let (up, all) = upstreams.entry(&endpoint.upstream).or_default();
        *up += usize::from(endpoint.up == Some(true));
        *all += 1;
    }
    upstreams
}
