//! The gate before a move: probes of the target, and the rule that judges them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatePolicy {
    /// Share of each upstream's endpoints that has to pass, in percent (1 to 100), rounded up to whole endpoints.
    pub quorum_percent: u8,
    pub passes: u32,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    pub upstream: String,
    pub endpoint: String,
    pub passed: bool,
    /// The response in a few words: `200`, `503`, `connection refused`, `301 to https://…`, `timed out after 1s`.
    pub detail: String,
    pub at: SystemTime,
    pub took: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    pub color: Color,
    pub rounds: u32,
    pub endpoints: Vec<Probed>,
    /// Empty: no checks were asked.
    pub checks: Vec<CheckReport>,
}

/// The result of one gate check. Its size is bounded whatever endpoints answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    pub check: String,
    pub upstream: String,
    pub endpoints: u32,
    pub passed: u32,
    pub failures: Vec<CheckFailure>,
    pub at: SystemTime,
    pub took: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure {
    pub endpoint: String,
    /// Truncated and escaped.
    pub found: String,
    pub wanted: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    pub endpoint: String,
    pub passed: u32,
    pub checks: u32,
    pub check: String,
    /// Responses of the current check that passed, out of `times`.
    pub responses: u32,
    pub times: u32,
    pub finished: u32,
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
    /// No endpoint asked is not a pass.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.endpoints > 0 && self.passed == self.endpoints
    }
}

/// In every upstream the quorum of its endpoints has to pass.
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
