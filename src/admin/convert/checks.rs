//! Gate checks, and the color asked for old files, as answers of the admin API.

use crate::admin::api::{CheckAnswer, CheckFailureAnswer, ChecksAnswer, LingerAnswer};
use crate::admin::convert::{micros, time};
use crate::control::handle::LingerStatus;
use crate::domain::gate::{CheckFailure, CheckReport};
use crate::domain::rollout::View;

pub(super) fn checks(reports: &[CheckReport]) -> Vec<CheckAnswer> {
    reports.iter().map(check).collect()
}

fn check(report: &CheckReport) -> CheckAnswer {
    let failure = |failure: &CheckFailure| CheckFailureAnswer {
        endpoint: failure.endpoint.clone(),
        found: failure.found.clone(),
        wanted: failure.wanted.clone(),
    };
    CheckAnswer {
        check: report.check.clone(),
        upstream: report.upstream.clone(),
        passed: report.has_passed(),
        endpoints: report.endpoints,
        failed: report.endpoints - report.passed,
        failures: report.failures.iter().map(failure).collect(),
        at: time(report.at),
        took_us: micros(report.took),
    }
}

pub(super) fn status(view: &View) -> Option<ChecksAnswer> {
    let (color, release, reports) = view.checks.as_ref()?;
    Some(ChecksAnswer {
        color: color.to_string(),
        release: release.to_string(),
        passed: reports.iter().all(CheckReport::has_passed),
        checks: checks(reports),
    })
}

pub(super) fn linger(linger: &LingerStatus) -> LingerAnswer {
    LingerAnswer {
        color: linger.color.to_string(),
        release: linger.release.to_string(),
        paths: linger.paths.clone(),
        until: time(linger.until),
        up: linger.up as u64,
    }
}
