//! The release on its way, as watched by this process at its present stage.
//!
//! None of it is durable: after a restart the step begins anew, and the judge repeats its judgement.

use std::time::{Duration, Instant};

use crate::domain::deployment::{Deployment, DeploymentId, Stage};
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Kind};
use crate::domain::verdict::{Judgement, Verdict};

const TRY_AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Watching {
    at: Option<(DeploymentId, Stage, Weight)>,
    /// When this process first saw the release at this stage.
    since: Instant,
    /// The time from here on is not yet in [`Deployment::watched`].
    counted_from: Instant,
    judgement: Option<Judgement>,
    said_suspect: bool,
    said_baseline: bool,
    blocked: Option<String>,
    not_before: Instant,
    cools_at: Option<Instant>,
}

impl Watching {
    pub(super) fn new(now: Instant, decision: &Decision) -> Watching {
        Watching {
            at: stage(decision),
            since: now,
            counted_from: now,
            judgement: None,
            said_suspect: false,
            said_baseline: false,
            blocked: None,
            not_before: now,
            cools_at: None,
        }
    }

    pub(super) fn follow(&mut self, now: Instant, decision: &Decision) {
        if self.at != stage(decision) {
            *self = Watching { cools_at: self.cools_at, ..Watching::new(now, decision) };
        }
    }

    /// The step begins anew and keeps its judgement.
    pub(super) fn resume(&mut self, now: Instant) {
        self.since = now;
        self.blocked = None;
    }

    pub(super) fn step_refused(&mut self, now: Instant) {
        self.not_before = now + TRY_AGAIN;
    }

    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn lasted(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn judgement(&self) -> Option<&Judgement> {
        self.judgement.as_ref()
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.judgement.as_ref().map(|judgement| judgement.verdict)
    }

    /// Returns the kinds of lines that are due for the first time at this stage.
    pub(super) fn judge(&mut self, judgement: Judgement) -> impl Iterator<Item = Kind> + use<> {
        let suspect = judgement.verdict == Verdict::Suspect && !self.said_suspect;
        let baseline = judgement.baseline_unhealthy && !self.said_baseline;
        self.said_suspect |= suspect;
        self.said_baseline |= baseline;
        self.judgement = Some(judgement);
        let lines = [(suspect, Kind::Suspect), (baseline, Kind::BaselineUnhealthy)];
        lines.into_iter().filter_map(|(due, kind)| due.then_some(kind))
    }

    pub(super) fn forget_judgement(&mut self) {
        self.judgement = None;
    }

    /// False: the obstacle is recorded already.
    pub(super) fn note_obstacle(&mut self, obstacle: &str) -> bool {
        let new = self.blocked.as_deref() != Some(obstacle);
        if new {
            self.blocked = Some(obstacle.to_owned());
        }
        new
    }

    pub(super) fn set_cool_down(&mut self, until: Option<Instant>) {
        self.cools_at = until;
    }

    pub(super) fn cools_at(&self) -> Option<Instant> {
        self.cools_at
    }

    pub(super) fn observed(&self, now: Instant, deployment: &Deployment) -> Duration {
        deployment.watched + now.saturating_duration_since(self.counted_from)
    }

    pub(super) fn bakes_until(&self, deployment: &Deployment) -> Instant {
        self.counted_from + deployment.plan.bake.saturating_sub(deployment.watched)
    }

    pub(super) fn counted_from(&self) -> Instant {
        self.counted_from
    }

    pub(super) fn count_from(&mut self, now: Instant) {
        self.counted_from = now;
    }
}

fn stage(decision: &Decision) -> Option<(DeploymentId, Stage, Weight)> {
    decision.deployment.as_ref().map(|deployment| (deployment.id, deployment.stage, deployment.weight))
}
