//! A refusal as a problem of the admin API: its HTTP status, title and details.

use crate::admin::api::{ConfigProblem, GateAnswer, Problem, UnsafeAnswer};
use crate::admin::convert::checks::checks;
use crate::admin::convert::{micros, time};
use crate::domain::gate::{GateReport, Probed};
use crate::domain::rollout::{FileError, Refusal, StageRefusal};

fn status(refusal: &Refusal) -> (u16, &'static str) {
    match refusal {
        Refusal::Unhealthy(_) => (409, "The target is not healthy"),
        Refusal::CheckFailed(_) => (409, "A check of the gate failed"),
        Refusal::InProgress(_) | Refusal::OnItsWay { .. } => (409, "Another move is in progress"),
        Refusal::PausedAlready { .. } => (409, "Traffic is paused already"),
        Refusal::Withdrawn(_) | Refusal::GivenUp { .. } => (409, "Cancelled"),
        Refusal::UnknownRelease { .. } => (422, "No color has this release"),
        Refusal::NotDrained { .. } => (409, "Requests did not end in time"),
        Refusal::NoKnownGood { .. } | Refusal::NoWayBack { .. } => (409, "There is nothing to roll back to"),
        Refusal::Frozen(_) => (409, "Moves are frozen"),
        Refusal::FrozenAlready(_) => (409, "A freeze is in force"),
        Refusal::Quarantined { .. } => (409, "The release is quarantined"),
        Refusal::RollbackUnsafe(_) => (409, "The data stores do not allow it"),
        Refusal::NoCanary => (409, "No canary is running"),
        Refusal::Baking => (409, "The release has all of the traffic"),
        Refusal::BadPlan(_) => (400, "The plan is not valid"),
        Refusal::CoolingDown { .. } => (409, "A release was rolled back a short time ago"),
        Refusal::StaleGeneration { .. } => (412, "The state has changed"),
        Refusal::NotDurable(_) => (503, "The decision could not be written down"),
        Refusal::InvalidFile(_) => (422, "The configuration file is not valid"),
        Refusal::FileBusy(_) => (409, "The configuration file is being written"),
        Refusal::TargetChanged { .. } => (409, "The target was edited meanwhile"),
        Refusal::Earlier { code, .. } => (status_of_code(code), "Refused before a restart"),
        Refusal::Overruled { .. } => (409, "A rollback has just left this release"),
        Refusal::Stage(refusal) => stage_status(refusal),
    }
}

fn stage_status(refusal: &StageRefusal) -> (u16, &'static str) {
    match refusal {
        StageRefusal::InUse { .. } => (409, "The color is in use"),
        StageRefusal::SameProcess { .. } => (409, "The endpoint serves the other color"),
        StageRefusal::WayBack { .. } => (409, "A rollback goes there"),
        StageRefusal::FileNotWritable(_) => (409, "The configuration file can't be written"),
        StageRefusal::Empty(_) => (409, "Nothing is deployed there"),
        StageRefusal::Unfit(_) => (400, "The release can't be put there as it is described"),
        StageRefusal::Replaced { .. } => (409, "Something else was staged meanwhile"),
    }
}

/// A refusal from before a restart has only its code.
fn status_of_code(code: &str) -> u16 {
    match code {
        "invalid_config" | "unknown_release" => 422,
        "not_durable" => 503,
        "stale_generation" => 412,
        "bad_plan" | "bad_request" => 400,
        _ => 409,
    }
}

impl Problem {
    pub(in crate::admin) fn new(status: u16, code: &str, title: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: code.to_owned(),
            title: title.to_owned(),
            detail: detail.into(),
            endpoints: Vec::new(),
            generation: None,
            rollback_unsafe: None,
            checks: Vec::new(),
            errors: Vec::new(),
        }
    }

    pub(in crate::admin) fn refused(refusal: &Refusal) -> Problem {
        let (status, title) = status(refusal);
        let mut problem = Problem::new(status, refusal.code(), title, refusal.to_string());
        match refusal {
            Refusal::Unhealthy(report) => problem.endpoints = gate(report),
            Refusal::CheckFailed(report) => {
                (problem.endpoints, problem.checks) = (gate(report), checks(&report.checks));
            }
            Refusal::RollbackUnsafe(why) => problem.rollback_unsafe = Some(Box::new(UnsafeAnswer::new(why))),
            Refusal::InvalidFile(file) => {
                problem.detail = format!("{}\nNothing was moved; {}\n", file.drawn.trim_end(), file.repair());
                problem.errors = file.errors.iter().map(ConfigProblem::new).collect();
            }
            Refusal::StaleGeneration { current, .. } => problem.generation = Some(current.0),
            _ => {}
        }
        problem
    }
}

impl ConfigProblem {
    pub(super) fn new(error: &FileError) -> ConfigProblem {
        let FileError { line, column, message, help } = error.clone();
        ConfigProblem { line, column, message, help }
    }
}

pub(super) fn gate(report: &GateReport) -> Vec<GateAnswer> {
    let answer = |probed: &Probed| GateAnswer {
        upstream: probed.upstream.clone(),
        endpoint: probed.endpoint.clone(),
        passed: probed.passed,
        detail: probed.detail.clone(),
        at: time(probed.at),
        took_us: micros(probed.took),
    };
    report.endpoints.iter().map(answer).collect()
}
