//! Judgements of the release on its way, and automatic pauses.

use crate::domain::clock::Now;
use crate::domain::deployment::{DeploymentId, HeldBack, Mode};
use crate::domain::rollout::Rollout;
use crate::domain::rollout::record::automatic;
use crate::domain::transition::{Kind, Transition};
use crate::domain::verdict::Judgement;

impl Rollout {
    /// Stores a judgement; [`Rollout::advance`] acts on it.
    pub(super) fn judged(&mut self, now: Now, of: DeploymentId, judgement: Judgement) {
        let Some(deployment) = self.decision.deployment.as_ref() else { return };
        if deployment.id != of || deployment.mode == Mode::Off {
            return;
        }
        for kind in self.watching.judge(judgement) {
            let line = Transition::new(kind, now.wall, automatic(None), self.decision.clone());
            self.journal.record(Transition { judgement: self.watching.judgement().cloned(), ..line });
        }
    }

    pub(super) fn evidence_lost(&mut self, of: DeploymentId) {
        if let Some(deployment) = self.decision.deployment.as_mut().filter(|deployment| deployment.id == of) {
            deployment.lost = deployment.lost.saturating_add(1);
            self.watching.forget_judgement();
        }
    }

    pub(super) fn pause_automatically(&mut self, now: Now, why: &str) {
        let Some(deployment) = &mut self.decision.deployment else { return };
        let held = HeldBack { by: "automatic".to_owned(), reason: why.to_owned(), since: now.wall };
        deployment.held.get_or_insert(held);
        let line = Transition::new(Kind::CanaryHold, now.wall, automatic(Some(why)), self.decision.clone());
        self.journal.record(Transition { judgement: self.watching.judgement().cloned(), ..line });
    }
}
