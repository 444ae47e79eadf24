//! Gate checks (`[[gate.check]]`): requests to each endpoint of the target, on connections of their own.
//!
//! Endpoints are checked at the same time, each with the checks in the order of the file.

mod ask;
mod call;
mod progress;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::AbortHandle;

use crate::config::GateCheck;
use crate::control::check::progress::Progress;
use crate::control::{Controller, Input, pieces};
use crate::domain::color::Color;
use crate::domain::gate::{CheckFailure, CheckReport};
use crate::domain::rollout::{Event, RoundId};
use crate::proxy::publisher::Warming;

const FAILURES: usize = 5;

const FILES_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Checking {
    round: RoundId,
    task: AbortHandle,
    progress: Vec<Arc<Progress>>,
}

struct Finding {
    check: usize,
    failure: Option<CheckFailure>,
    at: SystemTime,
    took: Duration,
}

impl Controller {
    /// `endpoints`: those that passed the health round, by upstream and name.
    pub(super) fn check(&mut self, round: RoundId, color: Color, back: bool, endpoints: &[(String, String)]) {
        let checks: Vec<GateCheck> =
            self.config.gate_checks.iter().filter(|check| !back || check.on_rollback).cloned().collect();
        let (serves, warmer) = (self.publisher.serves(color), self.warmer(color));
        let passed: HashSet<(&str, &str)> =
            endpoints.iter().map(|(upstream, name)| (upstream.as_str(), name.as_str())).collect();
        let mut targets = Vec::new();
        for pool in &self.publisher.pools()[color] {
            let of_pool = pool
                .endpoints
                .iter()
                .filter(|endpoint| !endpoint.is_leaving() && passed.contains(&(&*pool.upstream, &*endpoint.name)));
            for endpoint in of_pool {
                let progress = Arc::new(Progress::new(pool, endpoint, &checks));
                targets.push((Arc::clone(pool), Arc::clone(endpoint), progress));
            }
        }
        let progress = targets.iter().map(|(.., progress)| Arc::clone(progress)).collect();
        let (inputs, host) = (self.inputs.clone(), self.config.health.host.clone());
        let task = tokio::spawn(async move {
            let checks = with_files(checks).await;
            let asked = targets.into_iter().map(|(pool, endpoint, progress)| {
                let (checks, host) = (Arc::clone(&checks), host.clone());
                async move {
                    let (mut findings, mut connected) = (Vec::new(), None);
                    for (check, of) in checks.iter().enumerate().filter(|(_, of)| of.upstream == *pool.upstream) {
                        let began = Instant::now();
                        let turns = progress.begin(check);
                        let asked = ask::endpoint(&endpoint, pool.rules(), host.as_deref(), of, turns, &mut connected);
                        let failure = asked.await.err();
                        progress.end(failure.is_none());
                        let failure = failure.map(|ask::Failure { found, wanted }| CheckFailure {
                            endpoint: endpoint.name.to_string(),
                            found,
                            wanted,
                        });
                        findings.push(Finding { check, failure, at: SystemTime::now(), took: began.elapsed() });
                    }
                    // It may be another process than in the health round.
                    if let Some(connected) = connected.filter(|_| !serves) {
                        endpoint.renew(connected);
                    }
                    (endpoint.id, findings)
                }
            });
            let asked = pieces::begin(asked.collect::<Vec<_>>(), back).await.join_all().await;
            let (ids, findings): (HashSet<_>, Vec<_>) = asked.into_iter().unzip();
            let findings: Vec<_> = findings.into_iter().flatten().collect();
            let of_check = |(index, check)| report(index, check, &findings);
            let reports: Vec<_> = checks.iter().enumerate().map(of_check).collect();
            let warmer = warmer.filter(|_| reports.iter().all(CheckReport::has_passed));
            let warming = warmer.map(|warmer| warmer.warm(&ids));
            let _ = inputs.send(Input::Checked(round, reports, warming));
        });
        self.checking = Some(Checking { round, task: task.abort_handle(), progress });
    }

    pub(super) fn checked(&mut self, round: RoundId, reports: Vec<CheckReport>, warming: Option<Warming>) {
        self.warming = warming;
        for report in reports.iter().filter(|report| !report.has_passed()) {
            let first = report.failures.first();
            let (endpoint, found, wanted) =
                first.map_or(("", "", ""), |failure| (&failure.endpoint, &failure.found, &failure.wanted));
            let (check, upstream, failed) = (&report.check, &report.upstream, report.endpoints - report.passed);
            tracing::warn!(check, upstream, endpoint, found, wanted, failed, "Gate check failed");
        }
        self.handle(Event::Checked(round, reports));
    }

    /// Aborts checks whose gate has ended or begun anew.
    pub(super) fn abort_obsolete_checks(&mut self) {
        if let Some(Checking { task, .. }) = self.checking.take_if(|checking| !self.rollout.awaits(checking.round)) {
            task.abort();
        }
    }
}

/// The checks with the present content of their files: a corrected secret counts at the next attempt.
async fn with_files(checks: Vec<GateCheck>) -> Arc<[GateCheck]> {
    if checks.iter().all(|check| check.kept().next().is_none()) {
        return checks.into();
    }
    let known = checks.clone();
    let read = tokio::task::spawn_blocking(move || checks.iter().map(GateCheck::read_again).collect::<Vec<_>>());
    match tokio::time::timeout(FILES_TIMEOUT, read).await {
        Ok(Ok(read)) => read.into(),
        // A hanging disk: the content of the last reload.
        Ok(Err(_)) | Err(_) => known.into(),
    }
}

fn report(index: usize, check: &GateCheck, findings: &[Finding]) -> CheckReport {
    let of_check = || findings.iter().filter(|finding| finding.check == index);
    CheckReport {
        check: check.name.clone(),
        upstream: check.upstream.clone(),
        endpoints: u32::try_from(of_check().count()).unwrap_or(u32::MAX),
        passed: u32::try_from(of_check().filter(|finding| finding.failure.is_none()).count()).unwrap_or(u32::MAX),
        failures: of_check().filter_map(|finding| finding.failure.clone()).take(FAILURES).collect(),
        at: of_check().map(|finding| finding.at).max().unwrap_or_else(SystemTime::now),
        took: of_check().map(|finding| finding.took).max().unwrap_or_default(),
    }
}
