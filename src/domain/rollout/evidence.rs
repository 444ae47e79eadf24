//! What is known of the release on its way: what the judge says, and since when this process has watched it. Nothing of
//! it is durable: after a restart a step begins anew, and the judge says again what it says.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::deployment::{DeploymentId, HeldBack, Mode, Stage};
use crate::domain::rollout::Rollout;
use crate::domain::rollout::record::by_itself;
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, Kind, Transition};
use crate::domain::verdict::{Judgement, Verdict};

/// After a step that was refused, the next try comes not before this.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What is known of the release on its way.
#[derive(Debug)]
pub(super) struct Watching {
    /// Which, and where it stands.
    at: Option<(DeploymentId, Stage, Weight)>,
    /// Since when this process has seen it there.
    pub(super) since: Instant,
    /// From here on the time is not yet in [`Deployment::watched`].
    ///
    /// [`Deployment::watched`]: crate::domain::deployment::Deployment::watched
    pub(super) counted_from: Instant,
    /// What the judge said of it there last.
    pub(super) judgement: Option<Judgement>,
    /// What was said already, of this stage.
    said_suspect: bool,
    said_baseline: bool,
    /// Why it could not be taken back, as it was said last.
    pub(super) blocked: Option<String>,
    /// A step that was refused is not tried again before this.
    pub(super) not_before: Instant,
    /// When the cool-down is over.
    pub(super) cools_at: Option<Instant>,
}

impl Watching {
    pub(super) fn new(now: Instant, decision: &Decision) -> Watching {
        Watching {
            at: place(decision),
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

    /// Where it stands may have changed: then all that was said is said of something else.
    pub(super) fn follow(&mut self, now: Instant, decision: &Decision) {
        if self.at != place(decision) {
            *self = Watching { cools_at: self.cools_at, ..Watching::new(now, decision) };
        }
    }

    /// The step, or the bake, goes on from here.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.since = now;
        self.blocked = None;
    }

    pub(super) fn refused(&mut self, now: Instant) {
        self.not_before = now + TRY_AGAIN;
    }
}

fn place(decision: &Decision) -> Option<(DeploymentId, Stage, Weight)> {
    decision.deployment.as_ref().map(|deployment| (deployment.id, deployment.stage, deployment.weight))
}

impl Rollout {
    /// What the judge said last.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.watching.judgement.as_ref().map(|judgement| judgement.verdict)
    }

    /// The judge says something. What follows from it is seen to when everything is looked after.
    pub(super) fn judged(&mut self, now: Now, of: DeploymentId, judgement: Judgement) {
        let Some(deployment) = self.decision.deployment.as_ref() else { return };
        if deployment.id != of || deployment.mode == Mode::Off {
            return;
        }
        let suspect = judgement.verdict == Verdict::Suspect && !self.watching.said_suspect;
        let baseline = judgement.baseline_unhealthy && !self.watching.said_baseline;
        self.watching.said_suspect |= suspect;
        self.watching.said_baseline |= baseline;
        for (_, kind) in
            [(suspect, Kind::Suspect), (baseline, Kind::BaselineUnhealthy)].into_iter().filter(|(so, _)| *so)
        {
            let line = Transition::new(kind, now.wall, by_itself(None), self.decision.clone());
            self.record(Transition { judgement: Some(judgement.clone()), ..line });
        }
        self.watching.judgement = Some(judgement);
    }

    /// What the judge had seen is lost.
    pub(super) fn evidence_lost(&mut self, of: DeploymentId) {
        if let Some(deployment) = self.decision.deployment.as_mut().filter(|deployment| deployment.id == of) {
            deployment.lost = deployment.lost.saturating_add(1);
            self.watching.judgement = None;
        }
    }

    /// It stays where it is, and nobody asked for that.
    pub(super) fn hold_by_itself(&mut self, now: Now, why: &str) {
        let Some(deployment) = &mut self.decision.deployment else { return };
        let held = HeldBack { by: "automatic".to_owned(), reason: why.to_owned(), since: now.wall };
        deployment.held.get_or_insert(held);
        let line = Transition::new(Kind::CanaryHold, now.wall, by_itself(Some(why)), self.decision.clone());
        self.record(Transition { judgement: self.watching.judgement.clone(), ..line });
    }
}
