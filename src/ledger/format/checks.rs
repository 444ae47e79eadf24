//! Results of gate checks in a ledger line.

use serde::{Deserialize, Serialize};

use super::{micros, parse_time, time};
use crate::domain::gate::{CheckFailure, CheckReport};

#[derive(Serialize, Deserialize)]
pub(super) struct Checked {
    check: String,
    upstream: String,
    endpoints: u32,
    passed: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failed>,
    at: String,
    took_us: u64,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    endpoint: String,
    found: String,
    wanted: String,
}

impl From<&CheckReport> for Checked {
    fn from(report: &CheckReport) -> Checked {
        let failed = |failure: &CheckFailure| {
            let CheckFailure { endpoint, found, wanted } = failure.clone();
            Failed { endpoint, found, wanted }
        };
        Checked {
            check: report.check.clone(),
            upstream: report.upstream.clone(),
            endpoints: report.endpoints,
            passed: report.passed,
            failures: report.failures.iter().map(failed).collect(),
            at: time(report.at),
            took_us: micros(report.took),
        }
    }
}

impl Checked {
    pub(super) fn into_report(self) -> Option<CheckReport> {
        let failure = |Failed { endpoint, found, wanted }| CheckFailure { endpoint, found, wanted };
        Some(CheckReport {
            check: self.check,
            upstream: self.upstream,
            endpoints: self.endpoints,
            passed: self.passed,
            failures: self.failures.into_iter().map(failure).collect(),
            at: parse_time(&self.at)?,
            took: std::time::Duration::from_micros(self.took_us),
        })
    }
}
