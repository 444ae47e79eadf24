//! Progress of gate checks, for the status.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::GateCheck;
use crate::control::Controller;
use crate::domain::gate::CheckProgress;
use crate::proxy::pool::{Endpoint, Pool};

/// At one endpoint. Written by the checking task, read by the controller.
#[derive(Debug)]
pub(super) struct Progress {
    endpoint: String,
    /// Name and `times` of each check; `None`: another upstream's.
    checks: Vec<Option<(String, u32)>>,
    passed: AtomicU32,
    done: AtomicU32,
    now: AtomicU32,
    turns: AtomicU32,
}

impl Progress {
    pub(super) fn new(pool: &Pool, endpoint: &Endpoint, checks: &[GateCheck]) -> Progress {
        let of_pool = |check: &GateCheck| (check.upstream == *pool.upstream).then(|| (check.name.clone(), check.times));
        Progress {
            endpoint: endpoint.name.to_string(),
            checks: checks.iter().map(of_pool).collect(),
            passed: AtomicU32::new(0),
            done: AtomicU32::new(0),
            now: AtomicU32::new(0),
            turns: AtomicU32::new(0),
        }
    }

    /// Returns the counter of passed responses.
    pub(super) fn begin(&self, check: usize) -> &AtomicU32 {
        self.turns.store(0, Ordering::Relaxed);
        self.now.store(u32::try_from(check).unwrap_or(u32::MAX), Ordering::Relaxed);
        &self.turns
    }

    pub(super) fn end(&self, passed: bool) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.passed.fetch_add(u32::from(passed), Ordering::Relaxed);
    }

    fn checks(&self) -> u32 {
        u32::try_from(self.checks.iter().flatten().count()).unwrap_or(u32::MAX)
    }

    fn left(&self) -> u32 {
        self.checks().saturating_sub(self.done.load(Ordering::Relaxed))
    }
}

impl Controller {
    /// The slowest endpoint; `None`: no checks are running.
    pub(in crate::control) fn check_progress(&self) -> Option<CheckProgress> {
        let checking = self.checking.as_ref().filter(|checking| self.rollout.awaits(checking.round))?;
        let last = checking.progress.iter().max_by_key(|progress| progress.left())?;
        let now = usize::try_from(last.now.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let (check, times) = last.checks.get(now).cloned().flatten().unwrap_or_default();
        let finished = checking.progress.iter().filter(|progress| progress.left() == 0).count();
        Some(CheckProgress {
            endpoint: last.endpoint.clone(),
            passed: last.passed.load(Ordering::Relaxed),
            checks: last.checks(),
            check,
            responses: last.turns.load(Ordering::Relaxed).min(times),
            times,
            finished: u32::try_from(finished).unwrap_or(u32::MAX),
            endpoints: u32::try_from(checking.progress.len()).unwrap_or(u32::MAX),
        })
    }
}
