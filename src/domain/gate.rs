//! The gate before a move: the target is probed now, and the answers are judged here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;

/// How the answers of a round of probes are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// Share of the endpoints of every upstream that has to pass, in percent (1-100), rounded up to whole endpoints.
    pub quorum_percent: u8,
    /// How many rounds in a row have to pass.
    pub passes: u32,
    /// How long a switch may wait for that.
    pub timeout: Duration,
}

/// What one endpoint answered in the last round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The upstream it belongs to.
    pub upstream: String,
    /// The endpoint as the configuration writes it.
    pub endpoint: String,
    /// It passed.
    pub passed: bool,
    /// The answer in a few words: `200`, `503`, `connection refused`, `301 to https://…`, `timed out after 1s`.
    pub detail: String,
    /// When the answer came.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// What the gate saw: the last round, every endpoint of the target color.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// The color that was probed.
    pub color: Color,
    /// How many rounds were made.
    pub rounds: u32,
    /// The last round.
    pub endpoints: Vec<Probed>,
    /// What the checks found behind it; empty: none were asked.
    pub checks: Vec<CheckReport>,
}

/// What one check of the gate found. Bounded, whatever the endpoints say and however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Its name.
    pub check: String,
    /// The upstream whose endpoints were asked.
    pub upstream: String,
    /// How many were asked.
    pub endpoints: u32,
    /// At how many it passed.
    pub passed: u32,
    /// The first failures.
    pub failures: Vec<CheckFailure>,
    /// When the last response came.
    pub at: SystemTime,
    /// How long the slowest endpoint took.
    pub took: Duration,
}

/// A check that failed at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    /// The endpoint as the configuration writes it.
    pub endpoint: String,
    /// What came, cut and escaped.
    pub found: String,
    /// What should have come.
    pub wanted: String,
}

/// How far the checks of a gate are at the endpoint that is farthest behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// The endpoint as the configuration writes it.
    pub endpoint: String,
    /// Checks that passed there.
    pub passed: u32,
    /// Checks that are asked there.
    pub checks: u32,
    /// The check that is being asked.
    pub check: String,
    /// Its responses that passed so far,
    pub responses: u32,
    /// of so many.
    pub times: u32,
    /// Endpoints that have answered every check,
    pub finished: u32,
    /// of so many.
    pub endpoints: u32,
}

/// `3 of 5 checks of 127.0.0.1:9001 passed, warm-up 12 of 50`
impl fmt::Display for CheckProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckProgress { endpoint, passed, checks, check, responses, times, .. } = self;
        let plural = if *checks == 1 { "" } else { "s" };
        write!(f, "{passed} of {checks} check{plural} of {endpoint} passed")?;
        if *times > 1 { write!(f, ", {check} {responses} of {times}") } else { Ok(()) }
    }
}

impl CheckReport {
    /// Whether it passed at every endpoint. Nobody asked is not a pass.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.endpoints > 0 && self.passed == self.endpoints
    }
}

/// Whether a round passes: in every upstream, the quorum of its endpoints, rounded up.
#[must_use]
pub(crate) fn passes(policy: &GatePolicy, report: &GateReport) -> bool {
    let mut upstreams: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for probed in &report.endpoints {
        let (passed, all) = upstreams.entry(&probed.upstream).or_default();
        *passed += usize::from(probed.passed);
        *all += 1;
    }
    let quorum = usize::from(policy.quorum_percent);
    !upstreams.is_empty() && upstreams.values().all(|(passed, all)| passed * 100 >= all * quorum)
}

#[cfg(test)]
mod tests;
