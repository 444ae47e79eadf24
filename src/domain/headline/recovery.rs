//! The command that restores service when the color that serves is down.

use std::collections::BTreeMap;

use super::{ColorFacts, Facts};

pub(super) enum Recovery {
    Command(String),
    BothDown,
}

pub(super) fn recovery(facts: &Facts) -> Recovery {
    let other = facts.active.other();
    if facts.other().endpoints.is_empty() || !every_upstream_up(facts.other()) {
        return Recovery::BothDown;
    }
    let healthy = quorum(facts.other(), facts.quorum_percent);
    // During a canary, a rollback leads to the color that is down.
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

pub(super) fn forced<const N: usize>(guards: [(bool, &str); N]) -> String {
    let names: Vec<_> =
        guards.iter().filter(|(stands_in_the_way, _)| *stands_in_the_way).map(|(_, name)| *name).collect();
    if names.is_empty() { String::new() } else { format!(" --force={}", names.join(",")) }
}

pub(super) fn every_upstream_up(color: &ColorFacts) -> bool {
    by_upstream(color).values().all(|(up, _)| *up > 0)
}

pub(super) fn quorum(color: &ColorFacts, percent: u8) -> bool {
    by_upstream(color).values().all(|(up, all)| up * 100 >= all * usize::from(percent))
}

pub(super) fn by_upstream(color: &ColorFacts) -> BTreeMap<&str, (usize, usize)> {
    let mut upstreams = BTreeMap::<&str, (usize, usize)>::new();
    for endpoint in &color.endpoints {
        let (up, all) = upstreams.entry(&endpoint.upstream).or_default();
        *up += usize::from(endpoint.up == Some(true));
        *all += 1;
    }
    upstreams
}
