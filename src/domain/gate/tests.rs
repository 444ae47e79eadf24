use super::*;

fn check(quorum_percent: u8, results: &[(&str, bool)], expected: bool) {
    let policy = GatePolicy { quorum_percent, passes: 1, timeout: Duration::from_secs(1) };
    let probed = |(upstream, passed): &(&str, bool)| Probed {
        upstream: (*upstream).to_owned(),
        endpoint: "e".to_owned(),
        passed: *passed,
        detail: String::new(),
        at: SystemTime::UNIX_EPOCH,
        took: Duration::ZERO,
    };
    let report = GateReport {
        color: Color::Green,
        rounds: 1,
        endpoints: results.iter().map(probed).collect(),
        checks: Vec::new(),
    };
    assert_eq!(passes(&policy, &report), expected, "{quorum_percent}% of {results:?}");
}

#[test]
fn every_upstream_needs_its_quorum_rounded_up() {
    check(100, &[("a", true), ("a", true)], true);
    check(100, &[("a", true), ("a", false)], false);
    check(50, &[("a", true), ("a", false)], true);
    check(50, &[("a", true), ("a", false), ("a", false)], false);
    check(51, &[("a", true), ("a", false)], false);
    check(50, &[("a", true), ("a", true), ("b", false)], false);
    check(1, &[("a", false), ("a", false)], false);
}

#[test]
fn nobody_asked_is_not_a_pass() {
    check(1, &[], false);
}
