//! The automatic next step of a deployment. [`Rollout::due`] names it, and a move as by command takes it; `share` has
//! what a move makes of a deployment, and `automatic` its rollback.

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::deployment::{Deployment, Mode, OnClientErrors, OnInsufficient};
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{Asker, Effect, Move, Progress, Rollout, Share, State, Stopped};
use crate::domain::split::Weight;
use crate::domain::transition::{Kind, Origin, Trigger};
use crate::domain::verdict::{Verdict, Veto};
use crate::domain::written;

/// Watched time of a bake between two records of it.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// The step that is due.
enum Due {
    /// A canary whose routes answer 4xx ends.
    Withdrawal,
    /// The release is proved to be no worse.
    NextStep,
    /// The step has taken its longest time without a proof.
    EndOfStep,
    /// The bake is over, or nothing can be held back.
    EndOfHoldback,
}

impl Rollout {
    pub(super) fn is_canary(&self) -> bool {
        self.decision.deployment.as_ref().is_some_and(Deployment::is_canary)
    }

    /// Rolls the deployment back, or takes its next step. Only the step waits for moves under way and for the file.
    pub(super) fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let cools_at =
            self.decision.cooldown.map(|until| now.mono + until.duration_since(now.wall).unwrap_or_default());
        self.watching.set_cool_down(cools_at.filter(|until| *until > now.mono));
        self.verify(now);
        self.roll_back_if_needed(now, effects);
        self.note_watched(now);
        if !matches!(self.state, State::Steady) || self.file.is_waiting() || self.watching.not_before() > now.mono {
            return;
        }
        let Some(deployment) = self.decision.deployment.clone() else { return };
        match self.due(now, &deployment) {
            Some(Due::Withdrawal) => self.withdraw_canary(now, effects),
            Some(Due::NextStep) => self.take_next_step(now, &deployment, "it is shown to be no worse", effects),
            Some(Due::EndOfStep) => self.end_step(now, &deployment, effects),
            Some(Due::EndOfHoldback) => self.end_holdback(now, effects),
            None => {}
        }
    }

    fn due(&self, now: Now, deployment: &Deployment) -> Option<Due> {
        if self.withdraws(deployment) {
            return Some(Due::Withdrawal);
        }
        if self.stopped().is_some() {
            return None;
        }
        if !deployment.is_canary() {
            let baked = self.watching.observed(now.mono, deployment) >= deployment.plan.bake;
            let ends = deployment.splits() && (baked || self.holdback_is_useless(deployment));
            return ends.then_some(Due::EndOfHoldback);
        }
        let lasted = self.watching.lasted(now.mono);
        if lasted >= deployment.plan.dwell && self.watching.verdict() == Some(Verdict::Pass) {
            return Some(Due::NextStep);
        }
        (lasted >= deployment.plan.max_step).then_some(Due::EndOfStep)
    }

    /// A canary whose routes answer 4xx instead of successes ends. Unlike errors that may be intended, so there is no
    /// quarantine.
    fn withdraws(&self, deployment: &Deployment) -> bool {
        let sure = self.watching.judgement().is_some_and(|judgement| judgement.withdraws);
        let wanted = self.configured.policy.on_client_errors == OnClientErrors::Back;
        sure && wanted && deployment.is_canary() && deployment.mode == Mode::Enforce
    }

    fn withdraw_canary(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let said = self.watching.judgement().map(ToString::to_string).unwrap_or_default();
        let why = format!("{said}; it gets no more requests, and may be started again");
        let target = (self.decision.active, self.decision.release.clone());
        self.abort(now, Move::new(now, Kind::Abort, target, Asker::Automatic, automatic(Some(&why))), effects);
    }

    fn end_step(&mut self, now: Now, deployment: &Deployment, effects: &mut Vec<Effect>) {
        let so_long = written::duration(deployment.plan.max_step);
        let why = format!("after {so_long} at {} nothing is proved", deployment.weight);
        match deployment.plan.on_insufficient {
            OnInsufficient::Hold => self.pause_automatically(now, &why),
            OnInsufficient::Advance if self.is_vetoed() => self.pause_automatically(now, &why),
            OnInsufficient::Advance => self.take_next_step(now, deployment, &why, effects),
            OnInsufficient::Abort => {
                let target = (self.decision.active, self.decision.release.clone());
                self.abort(now, Move::new(now, Kind::Abort, target, Asker::Automatic, automatic(Some(&why))), effects);
            }
        }
    }

    fn is_vetoed(&self) -> bool {
        let judgement = self.watching.judgement();
        judgement.and_then(|judgement| judgement.veto).is_some_and(Veto::is_alarming)
    }

    fn take_next_step(&mut self, now: Now, deployment: &Deployment, why: &str, effects: &mut Vec<Effect>) {
        let underway = next_move(now, deployment, Asker::Automatic, automatic(Some(why)));
        match self.check_forward(&underway) {
            Ok(()) => self.begin(now, underway, effects),
            Err(refusal) => self.refuse(now, underway, refusal, effects),
        }
    }

    fn end_holdback(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(deployment) = &self.decision.deployment else { return };
        let target = (deployment.candidate, deployment.release.clone());
        let why = automatic(Some("the hold-back is over"));
        let underway = Move { share: Share::Rest, ..Move::new(now, Kind::Advance, target, Asker::Automatic, why) };
        self.begin(now, underway, effects);
    }

    /// The old color is down, or has another release.
    fn holdback_is_useless(&self, deployment: &Deployment) -> bool {
        let color = deployment.stable_color();
        self.configured.deployed[color] != deployment.stable || self.reports.down(color).is_some()
    }

    /// A relabelled release is not the one that was watched.
    pub(super) fn end_mislabelled(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(canary) = self.decision.deployment.as_ref().filter(|deployment| deployment.is_canary()) else {
            return;
        };
        let colors = [(canary.candidate, &canary.release), (canary.stable_color(), &canary.stable)];
        let changed = colors.into_iter().find(|(color, release)| self.configured.deployed[*color] != **release);
        let Some((color, release)) = changed else { return };
        let why =
            format!("{color} was {release} when the canary began, and is {} now", self.configured.deployed[color]);
        let origin = self.configured.origin(Trigger::File);
        let origin = Origin { reason: Some(why), ..origin };
        let target = (self.decision.active, self.decision.release.clone());
        self.abort(now, Move::new(now, Kind::Abort, target, Asker::Automatic, origin), effects);
    }

    /// Records the watched time now and then: a crash loses no more than that.
    fn note_watched(&mut self, now: Now) {
        let ripe = now.mono.saturating_duration_since(self.watching.counted_from()) >= NOTED_EVERY;
        // The line that is being written carries the whole state.
        if !ripe || self.is_committing() || self.journal.is_behind() {
            return;
        }
        if let Some(mut deployment) = self.decision.deployment.take_if(|deployment| !deployment.is_canary()) {
            deployment.watched = self.watching.observed(now.mono, &deployment);
            self.watching.count_from(now.mono);
            self.decision.deployment = Some(deployment);
        }
    }

    pub(super) fn stopped(&self) -> Option<Stopped> {
        let deployment = self.decision.deployment.as_ref()?;
        let judged = deployment.mode == Mode::Enforce;
        let canary = deployment.is_canary();
        if deployment.held.is_some() {
            Some(Stopped::Held)
        } else if self.decision.freeze.is_some() && (canary || deployment.splits()) {
            Some(Stopped::Frozen)
        } else if canary && !judged {
            Some(Stopped::ByHand)
        } else if canary && self.watching.cools_at().is_some() {
            Some(Stopped::CoolingDown)
        } else if judged && self.watching.verdict() >= Some(Verdict::Suspect) {
            Some(Stopped::Suspect)
        } else if judged && self.watching.judgement().is_some_and(|judgement| judgement.baseline_unhealthy) {
            Some(Stopped::BaselineUnhealthy)
        } else {
            None
        }
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        let deployment = self.decision.deployment.as_ref()?;
        let since = self.watching.since();
        let (next, earliest, latest) = if deployment.is_canary() {
            let next = deployment.next_step().map_or(deployment.plan.holdback.rest(), |(_, weight)| weight);
            (next, since + deployment.plan.dwell, Some(since + deployment.plan.max_step))
        } else {
            (Weight::ALL, self.watching.bakes_until(deployment), None)
        };
        let needs = self.watching.judgement().and_then(|judgement| judgement.needs);
        Some(Progress { next, earliest, latest, needs, stopped: self.stopped() })
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn advances_at(&self) -> Option<Instant> {
        let verifying = self.aftermath.verifying().map(|(_, until)| until);
        let Some(deployment) = &self.decision.deployment else {
            return [verifying, self.becomes_known_good_at()].into_iter().flatten().min();
        };
        let noted = !self.journal.is_behind() && !deployment.is_canary();
        let noted = noted.then(|| self.watching.counted_from() + NOTED_EVERY);
        let steady = matches!(self.state, State::Steady);
        let by_itself = match self.stopped() {
            Some(Stopped::CoolingDown) => self.watching.cools_at(),
            Some(_) => None,
            None if !steady => None,
            None if deployment.is_canary() => {
                let passed = self.watching.verdict() == Some(Verdict::Pass);
                let lasts = if passed { deployment.plan.dwell } else { deployment.plan.max_step };
                Some((self.watching.since() + lasts).max(self.watching.not_before()))
            }
            None => Some(self.watching.bakes_until(deployment).max(self.watching.not_before())),
        };
        // The stable release of a canary may have a bake of its own to end.
        let proven = deployment.is_canary().then(|| self.becomes_known_good_at()).flatten();
        [verifying, noted, by_itself, proven].into_iter().flatten().min()
    }
}

/// The next step; after the last one, the switch.
pub(super) fn next_move(now: Now, deployment: &Deployment, asker: Asker, origin: Origin) -> Move {
    let target = (deployment.candidate, deployment.release.clone());
    match deployment.next_step() {
        Some((step, _)) => Move { share: Share::Step(step), ..Move::new(now, Kind::Advance, target, asker, origin) },
        None => Move::new(now, Kind::Switch, target, asker, origin),
    }
}
