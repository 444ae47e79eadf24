//! The part of the world that has to do with releases on their way: operators and a judge who ask for anything at any time, and
//! what must hold whatever they ask.

use std::time::Duration;

use cutover::internals::domain::color::{Color, PerColor};
use cutover::internals::domain::deployment::{
    Deployment, DeploymentId, Mode, OnClientErrors, OnInsufficient, OnUnsafe, Plan, Policy, Stage, Wishes,
};
use cutover::internals::domain::force::Force;
use cutover::internals::domain::rollout::{Command, Effect, Event, Fitness};
use cutover::internals::domain::split::Weight;
use cutover::internals::domain::transition::{Decision, Generation, Kind, Origin, Transition, Trigger};
use cutover::internals::domain::verdict::{Class, Finding, Judgement, Sample, Verdict, Veto};

use super::World;

/// What the world remembers of releases on their way.
#[derive(Default)]
pub(super) struct Canaries {
    fitness: PerColor<Fitness>,
    /// Which automatic rollback ended which deployment.
    taken_back: Vec<(DeploymentId, Generation)>,
    /// What the last publish ended.
    left: Option<Deployment>,
    /// For how long processes have watched the one that bakes.
    observed: Option<(DeploymentId, Duration)>,
    pub(super) policy: Option<Policy>,
}

impl Canaries {
    pub(super) fn new(policy: Policy) -> Canaries {
        Canaries { policy: Some(policy), ..Canaries::default() }
    }
}

pub(super) fn policy(random: &mut fastrand::Rng, apart: bool) -> Policy {
    let share = |percent: u16| Weight::new(percent * 100).expect("a share");
    let mode =
        |random: &mut fastrand::Rng| [Mode::Enforce, Mode::Enforce, Mode::Observe, Mode::Off][random.usize(0..4)];
    Policy {
        plan: Plan {
            steps: [5, 25, 50][..random.usize(1..4)].iter().copied().map(share).collect(),
            dwell: Duration::from_secs(1),
            max_step: Duration::from_secs(20),
            on_insufficient: [OnInsufficient::Hold, OnInsufficient::Advance, OnInsufficient::Abort][random.usize(0..3)],
            holdback: if apart || random.bool() { Weight::NONE } else { share(10) },
            bake: Duration::from_secs(5),
        },
        canary: mode(random),
        bake: mode(random),
        cooldown: Duration::from_secs(random.u64(0..30)),
        on_unsafe: if random.u8(0..4) == 0 { OnUnsafe::Force } else { OnUnsafe::Hold },
        sticky: String::new(),
        on_client_errors: if random.bool() { OnClientErrors::Back } else { OnClientErrors::Hold },
        switch_holdback: if apart || random.bool() { Weight::NONE } else { share(10) },
    }
}

impl World {
    pub(super) fn canary_command(
        &mut self,
        if_generation: Option<Generation>,
        force: Force,
        origin: Origin,
    ) -> Command {
        match self.random.u8(0..8) {
            0..=2 => {
                let weight = (self.random.u8(0..4) == 0).then(|| Weight::new(self.random.u16(0..=10_000))).flatten();
                let wishes = Wishes { weight, ..Wishes::default() };
                Command::CanaryStart { wishes, if_generation, force, terms: self.terms(), origin }
            }
            3..=4 => {
                Command::CanaryAdvance { full: self.random.u8(0..3) == 0, if_generation, terms: self.terms(), origin }
            }
            5 => Command::CanaryHold { origin },
            6 => Command::CanaryResume { origin },
            _ => Command::CanaryAbort { quarantine: self.random.bool(), origin },
        }
    }

    /// A judge who says anything of anything, mostly of what is on its way.
    pub(super) fn judge(&mut self) {
        let current = self.live.deployment.clone();
        let id = match &current {
            Some(deployment) if self.random.u8(0..8) != 0 => deployment.id,
            _ => DeploymentId(self.random.u64(0..40)),
        };
        let sample = |bad| Sample::new(100, bad, None);
        match self.random.u8(0..12) {
            0 => return self.handle(Event::EvidenceLost(id)),
            1 => {
                let bad = self.random.u64(0..100);
                return self.handle(Event::Aftermath(id, sample(bad)));
            }
            _ => {}
        }
        let verdicts = [Verdict::Pass, Verdict::Pass, Verdict::Insufficient, Verdict::Suspect, Verdict::Fail];
        let verdict = verdicts[self.random.usize(0..verdicts.len())];
        let finding = Finding {
            class: Class::Error,
            route: None,
            event: None,
            candidate: sample(8),
            stable: sample(1),
            evidence: 2_000,
        };
        let judgement = Judgement {
            verdict,
            evidence: 2_000,
            limit: 1_000,
            findings: vec![finding],
            needs: None,
            hold: 20_000,
            withdraws: self.random.u8(0..8) == 0,
            veto: (self.random.u8(0..4) == 0).then_some(Veto::Errors),
            baseline_unhealthy: self.random.u8(0..5) == 0,
            without_control: false,
            exposed: 100,
            harmed: 8,
            misses_files: false,
        };
        self.handle(Event::Judged(id, Box::new(judgement)));
        let Some(before) = current.filter(|before| before.id == id && verdict == Verdict::Fail) else { return };
        if before.is_canary()
            && before.mode == Mode::Enforce
            && self.canaries.fitness[before.stable_color()] == Fitness::Fit
        {
            assert_eq!(self.live.deployment, None, "a way back waits for something");
        }
    }

    pub(super) fn examine(&mut self, color: Color) {
        let fitness = match self.random.u8(0..6) {
            0 => Fitness::Unknown,
            _ if self.healthy[color] => Fitness::Fit,
            _ => Fitness::Down("no endpoint".to_owned()),
        };
        self.canaries.fitness[color] = fitness.clone();
        self.handle(Event::Fitness(color, fitness));
    }

    /// Whoever asks for the end of a canary has it with the answer at the latest, whatever else is under way.
    pub(super) fn check_abort(&self, before: &Decision, command: &Command) {
        let Some(canary) = before.deployment.as_ref().filter(|deployment| deployment.is_canary()) else { return };
        let back = match command {
            Command::CanaryAbort { .. } => true,
            Command::Rollback { to, if_generation, dry_run: false, .. } => {
                // The way to the candidate is a switch.
                *to != Some(before.active.other()) && if_generation.is_none_or(|it| it == before.generation)
            }
            _ => false,
        };
        if back {
            assert_eq!(self.live.deployment, None, "{} still gets requests after {command:?}", canary.release);
            assert_eq!((self.live.active, &self.live.release), (before.active, &before.release));
        }
    }

    /// What may become of a release on its way, from one decision to the next.
    pub(super) fn check_stages(&mut self, next: &Decision) {
        let before = self.live.deployment.as_ref();
        let line = || {
            let disk = self.disk.iter().find(|line| line.decision.generation == next.generation);
            disk.unwrap_or_else(|| panic!("more for a release before it was on disk: {next:?}"))
        };
        if let Some(deployment) = &next.deployment {
            let weight = match deployment.stage {
                Stage::Step(step) => vec![deployment.plan.steps[step]],
                Stage::Bake => {
                    let rest = deployment.plan.holdback.rest();
                    let most = deployment.plan.steps.iter().copied().filter(|step| *step > rest);
                    most.chain([rest, Weight::ALL]).collect()
                }
            };
            assert!(weight.contains(&deployment.weight), "a weight that is in no plan: {deployment:?}");
            assert_eq!(deployment.is_canary(), next.active != deployment.candidate);
            match before.filter(|before| before.id == deployment.id) {
                Some(before) => {
                    // A switch may say how long its release has to serve to be known good.
                    let plan = Plan { bake: deployment.plan.bake, ..before.plan.clone() };
                    assert_eq!((before.salt, &plan), (deployment.salt, &deployment.plan));
                    assert!(deployment.weight >= before.weight, "a weight that went back");
                    if deployment.weight > before.weight {
                        let kind = line().kind;
                        assert!(matches!(kind, Kind::Advance | Kind::Switch), "a {kind:?} gave it more");
                        assert_eq!(next.freeze, None, "it was given more while moves are frozen");
                    }
                }
                None => {
                    assert_eq!(deployment.id, DeploymentId(next.generation.0), "an id that was there before");
                    let line = line();
                    assert!(matches!(line.kind, Kind::Canary | Kind::Switch), "a {:?} began a deployment", line.kind);
                    let bad = self.live.quarantine.iter().any(|bad| bad.release == deployment.release);
                    assert!(!bad || line.forced, "a release in quarantine began");
                    assert_eq!(next.freeze, None, "it began while moves are frozen");
                }
            }
        }
        let ended = before.filter(|before| next.deployment.as_ref().is_none_or(|next| next.id != before.id));
        self.canaries.left = ended.cloned();
        let bakes =
            next.deployment.as_ref().filter(|deployment| !deployment.is_canary()).map(|deployment| deployment.id);
        if self.canaries.observed.map(|(id, _)| id) != bakes {
            self.canaries.observed = bakes.map(|id| (id, Duration::ZERO));
        }
    }

    /// At most one automatic way back for a deployment, and only where somebody wants that.
    pub(super) fn check_automatic(&mut self, transition: &Transition) {
        if transition.kind != Kind::Rollback || transition.origin.trigger != Trigger::Automatic {
            return;
        }
        let generation = transition.decision.generation;
        if self.canaries.taken_back.iter().any(|(_, known)| *known == generation) {
            return;
        }
        let left = self.canaries.left.as_ref().expect("an automatic rollback of something");
        assert!(self.canaries.taken_back.iter().all(|(id, _)| *id != left.id), "taken back twice: {left:?}");
        assert_eq!(left.mode, Mode::Enforce);
        let decision = &transition.decision;
        assert!(decision.quarantine.iter().any(|bad| bad.release == left.release), "not in quarantine: {left:?}");
        assert!(decision.cooldown.is_some() && decision.deployment.is_none());
        self.canaries.taken_back.push((left.id, generation));
    }

    pub(super) fn watch_for(&mut self, time: Duration) {
        if let Some((_, observed)) = &mut self.canaries.observed {
            *observed += time;
        }
    }

    /// What is in force without having been published: the end of a bake, and what does not concern requests.
    pub(super) fn check_deployment(&mut self, decision: &Decision) {
        assert_eq!(decision.split(), self.live.split(), "the core and the live snapshot disagree on the split");
        let baked = self.live.deployment.as_ref().filter(|_| decision.deployment.is_none());
        if let Some(baked) = baked {
            assert!(!baked.is_canary() && decision.known_good.is_some(), "it ended by itself: {baked:?}");
            let (id, observed) = self.canaries.observed.expect("it bakes");
            assert_eq!(id, baked.id);
            assert!(observed >= baked.plan.bake, "known good after {observed:?}");
        }
        self.live.deployment.clone_from(&decision.deployment);
    }

    /// A restart goes on with what is on disk: the same share for the same users.
    pub(super) fn check_restart(&mut self, decision: &Decision, effects: &[Effect]) {
        self.canaries.taken_back.clear();
        self.canaries.fitness = PerColor::default();
        let bakes = decision.deployment.as_ref().filter(|deployment| !deployment.is_canary());
        // What is on disk may have been counted by an earlier process.
        self.canaries.observed = bakes.map(|deployment| (deployment.id, deployment.watched));
        let Some(before) = &decision.deployment else { return };
        let labels = [(before.candidate, &before.release), (before.stable_color(), &before.stable)];
        let same = labels.into_iter().all(|(color, release)| self.deployed[color] == *release);
        let ended = effects.iter().any(|effect| matches!(effect, Effect::Publish(_)));
        assert!(!(ended && same), "a restart ended a canary");
        let view = self.rollout.view().decision;
        assert!(ended || view.deployment.as_ref() == Some(before), "a restart changed {before:?}");
    }
}
