//! Stages of a deployment: the effect of a move on it, and its automatic next step.
//!
//! The weight grows in two ways, both durable before they are visible: step by step ([`Kind::Advance`], which keeps
//! `active`), and by the switch that gives the release the traffic. The hold-back of a bake is given to it by an
//! [`Kind::Advance`].

use std::time::{Duration, Instant};

use crate::domain::clock::Now;
use crate::domain::deployment::{Deployment, DeploymentId, Mode, OnClientErrors, OnInsufficient, Plan, Stage};
use crate::domain::rollout::record::automatic;
use crate::domain::rollout::{Asker, Effect, Move, Overlap, Progress, Rollout, State, Stopped};
use crate::domain::split::{Weight, draw};
use crate::domain::transition::{Generation, Kind};
use crate::domain::verdict::{Verdict, Veto};
use crate::domain::written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// All but the hold-back.
    All,
    First(Plan, Mode),
    Step(usize),
    Rest,
}

/// Watched time of a bake between two records of it.
const NOTED_EVERY: Duration = Duration::from_secs(60);

impl Rollout {
    /// The target's weight after the move under way.
    #[must_use]
    pub fn coming_share(&self) -> Weight {
        let step = match self.under_way().map(|underway| &underway.share) {
            Some(Share::First(plan, _)) => plan.steps.first().copied(),
            Some(Share::Step(step)) => {
                self.decision.deployment.as_ref().and_then(|deployment| deployment.plan.steps.get(*step).copied())
            }
            Some(Share::All | Share::Rest) | None => None,
        };
        step.unwrap_or(Weight::ALL)
    }

    pub(super) fn is_canary(&self) -> bool {
        self.decision.deployment.as_ref().is_some_and(Deployment::is_canary)
    }

    pub(super) fn continues(&self, underway: &Move) -> bool {
        let deployment = self.decision.deployment.as_ref();
        deployment.is_some_and(|it| (it.candidate, &it.release) == (underway.to, &underway.release))
    }

    /// A known-good release is not watched again.
    pub(super) fn deployment_after(
        &self,
        now: Now,
        underway: &Move,
        generation: Generation,
        known_good: bool,
    ) -> Option<Deployment> {
        let policy = &self.configured.policy;
        let held_back = |plan: &Plan| {
            let useful = underway.overlap == Overlap::Allow && self.could_hold_back();
            if useful { plan.holdback.rest() } else { Weight::ALL }
        };
        let fresh = |plan: Plan, mode, stage, weight| Deployment {
            id: DeploymentId(generation.0),
            candidate: underway.to,
            release: underway.release.clone(),
            stable: self.decision.release.clone(),
            stage,
            weight,
            // The time makes it differ even after a lost ledger.
            salt: draw(underway.release.as_str().as_bytes(), self.configured.secret ^ generation.0 ^ nanoseconds(now)),
            sticky: policy.sticky.clone(),
            plan,
            mode,
            since: now.wall,
            watched: Duration::ZERO,
            held: None,
            told: false,
            lost: 0,
        };
        let further = |stage, weight| {
            let before = self.decision.deployment.clone()?;
            Some(Deployment { stage, weight, since: now.wall, watched: Duration::ZERO, held: None, ..before })
        };
        match (&underway.share, underway.kind) {
            (Share::First(plan, mode), _) => Some(fresh(plan.clone(), *mode, Stage::Step(0), *plan.steps.first()?)),
            (Share::Step(step), _) => {
                let weight = *self.decision.deployment.as_ref()?.plan.steps.get(*step)?;
                further(Stage::Step(*step), weight)
            }
            (Share::Rest, _) => {
                let before = self.decision.deployment.clone()?;
                Some(Deployment { weight: Weight::ALL, watched: self.watching.observed(now.mono, &before), ..before })
            }
            (Share::All, Kind::Switch) if known_good => None,
            (Share::All, Kind::Switch) if self.continues(underway) => {
                let before = self.decision.deployment.as_ref()?;
                // A canary keeps a weight above the one that the hold-back leaves.
                let weight = held_back(&before.plan).max(before.weight);
                let mut next = further(Stage::Bake, weight)?;
                next.plan.bake = underway.terms.bake.unwrap_or(next.plan.bake);
                Some(next)
            }
            (Share::All, Kind::Switch) => {
                let bake = underway.terms.bake.unwrap_or(policy.plan.bake);
                let holdback = policy.switch_holdback;
                let plan = Plan { steps: Vec::new(), bake, holdback, ..policy.plan.clone() };
                let weight = held_back(&plan);
                // An instant rollback would run both releases at once, which this move forbids.
                let alone = underway.overlap == Overlap::None && policy.bake == Mode::Enforce;
                let mode = if alone { Mode::Observe } else { policy.bake };
                Some(fresh(plan, mode, Stage::Bake, weight))
            }
            (Share::All, _) => None,
        }
    }

    fn could_hold_back(&self) -> bool {
        self.reports.down(self.decision.active).is_none()
    }

    /// Acts on the evidence: rolls the deployment back, or takes its next step.
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
        if self.withdraws(&deployment) {
            return self.withdraw_canary(now, effects);
        }
        if self.stopped().is_some() {
            return;
        }
        let rest = !deployment.is_canary() && deployment.splits();
        if rest
            && (self.holdback_is_useless(&deployment)
                || self.watching.observed(now.mono, &deployment) >= deployment.plan.bake)
        {
            return self.end_holdback(now, effects);
        }
        if !deployment.is_canary() {
            return;
        }
        let lasted = self.watching.lasted(now.mono);
        if lasted >= deployment.plan.dwell && self.watching.verdict() == Some(Verdict::Pass) {
            return self.take_next_step(now, &deployment, "it is shown to be no worse", effects);
        }
        if lasted >= deployment.plan.max_step {
            self.end_step(now, &deployment, effects);
        }
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
        let why = automatic(Some("nothing is held back any more"));
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
        let origin = self.configured.origin(crate::domain::transition::Trigger::File);
        let origin = crate::domain::transition::Origin { reason: Some(why), ..origin };
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
pub(super) fn next_move(
    now: Now,
    deployment: &Deployment,
    asker: Asker,
    origin: crate::domain::transition::Origin,
) -> Move {
    let target = (deployment.candidate, deployment.release.clone());
    match deployment.next_step() {
        Some((step, _)) => Move { share: Share::Step(step), ..Move::new(now, Kind::Advance, target, asker, origin) },
        None => Move::new(now, Kind::Switch, target, asker, origin),
    }
}

fn nanoseconds(now: Now) -> u64 {
    let since = now.wall.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().wrapping_mul(1_000_000_000).wrapping_add(since.subsec_nanos().into())
}
