//! A release on its way: from its first few requests to the end of its bake. Part of the decision that is on disk, so a
//! restart goes on with the same weight, the same users and the same plan.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::split::{Split, Weight};

/// Names a deployment: the generation that it began with, so it is unique in a ledger. Shown as `dep-42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dep-{}", self.0)
    }
}

/// Words that name no deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDeployment(String);

impl fmt::Display for NoDeployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no deployment; a name is such as \"dep-42\"", self.0)
    }
}

impl std::error::Error for NoDeployment {}

/// `dep-42`, or `42`.
impl FromStr for DeploymentId {
    type Err = NoDeployment;

    fn from_str(text: &str) -> Result<DeploymentId, NoDeployment> {
        let number = text.strip_prefix("dep-").unwrap_or(text);
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| digits).map(DeploymentId).ok_or_else(|| NoDeployment(text.to_owned()))
    }
}

/// What follows from a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The program acts: it goes on with evidence, and goes back with evidence.
    #[default]
    Enforce,
    /// It says what it would have done.
    Observe,
    /// Nothing is judged.
    Off,
}

/// What follows when a step has lasted as long as it may and neither verdict is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInsufficient {
    /// Stay, and tell people.
    #[default]
    Hold,
    /// Go on.
    Advance,
    /// Go back.
    Abort,
}

/// What follows when the evidence asks for a way back that the data stores forbid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnsafe {
    /// Stay, and page somebody.
    #[default]
    Hold,
    /// Go back all the same.
    Force,
}

/// What follows when many more answers are 4xx, so that it is as sure as what a rollback needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnClientErrors {
    /// A canary gets no more requests, and no quarantine: nobody is left in it.
    #[default]
    Back,
    /// It stays where it is, and people are told.
    Hold,
}

/// What is configured for deployments that begin from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How a canary grows, and how long what took the traffic is watched.
    pub plan: Plan,
    /// What follows from a verdict on a canary.
    pub canary: Mode,
    /// What follows from a verdict on a plain switch.
    pub bake: Mode,
    /// So long after an automatic rollback nothing advances by itself, and no canary begins unless forced.
    pub cooldown: Duration,
    /// What follows where the data stores forbid an automatic way back.
    pub on_unsafe: OnUnsafe,
    /// See [`Deployment::sticky`].
    pub sticky: String,
    /// What follows for a canary with many more 4xx.
    pub on_client_errors: OnClientErrors,
    /// The share that stays on the old color after a plain switch.
    pub switch_holdback: Weight,
}

/// What one canary is to do otherwise than configured; what is not said is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The first step. Of the steps those follow that are larger.
    pub weight: Option<Weight>,
    /// See [`Plan::steps`].
    pub steps: Option<Vec<Weight>>,
    /// See [`Plan::dwell`].
    pub dwell: Option<Duration>,
    /// See [`Plan::max_step`].
    pub max_step: Option<Duration>,
    /// See [`Plan::on_insufficient`].
    pub on_insufficient: Option<OnInsufficient>,
    /// See [`Plan::holdback`].
    pub holdback: Option<Weight>,
    /// See [`Plan::bake`].
    pub bake: Option<Duration>,
    /// See [`Deployment::mode`].
    pub mode: Option<Mode>,
}

impl Wishes {
    /// The plan that follows, or what is wrong with it.
    pub fn plan(&self, configured: &Plan) -> Result<Plan, String> {
        let mut steps = self.steps.clone().unwrap_or_else(|| configured.steps.clone());
        if let Some(first) = self.weight {
            steps.retain(|step| *step > first);
            steps.insert(0, first);
        }
        let plan = Plan {
            steps,
            dwell: self.dwell.unwrap_or(configured.dwell),
            max_step: self.max_step.unwrap_or(configured.max_step),
            on_insufficient: self.on_insufficient.unwrap_or(configured.on_insufficient),
            holdback: self.holdback.unwrap_or(configured.holdback),
            bake: self.bake.unwrap_or(configured.bake),
        };
        plan.check().map(|()| plan)
    }
}

/// How the weight grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Growing, none of them [`Weight::NONE`] or [`Weight::ALL`]. Empty: a plain switch, which is only baked.
    pub steps: Vec<Weight>,
    /// A step lasts at least so long.
    pub dwell: Duration,
    /// A step waits for evidence no longer than this.
    pub max_step: Duration,
    /// And then?
    pub on_insufficient: OnInsufficient,
    /// The share that stays on the old color while the release bakes, to compare it with.
    pub holdback: Weight,
    /// How long the release is watched after it took the traffic.
    pub bake: Duration,
}

impl Plan {
    /// The largest hold-back.
    pub const MOST_HELD_BACK: Weight = Weight::HALF;

    /// What is wrong with it as the plan of a canary.
    pub fn check(&self) -> Result<(), String> {
        let Some(first) = self.steps.first() else { return Err("there is no step".to_owned()) };
        if *first == Weight::NONE {
            return Err("a step of 0 % gives the release nothing to be judged by".to_owned());
        }
        if self.steps.contains(&Weight::ALL) {
            return Err("100 % is no step: it is what comes after the last one".to_owned());
        }
        if let Some(pair) = self.steps.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("the steps do not grow: {} comes after {}", pair[1], pair[0]));
        }
        if self.holdback > Plan::MOST_HELD_BACK {
            return Err(format!("{} is held back; it goes up to {}", self.holdback, Plan::MOST_HELD_BACK));
        }
        if self.max_step < self.dwell {
            return Err("a step has to last at least for its dwell, and longer than that it may not last".to_owned());
        }
        Ok(())
    }
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// At this step of its plan.
    Step(usize),
    /// It has the traffic, and is watched.
    Bake,
}

/// Somebody has stopped a deployment where it is. A rollback stays armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Who, or `automatic`.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: SystemTime,
}

/// A release on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Which.
    pub id: DeploymentId,
    /// The color whose release is watched.
    pub candidate: Color,
    /// That release.
    pub release: Release,
    /// The release of the other color.
    pub stable: Release,
    /// Where it stands.
    pub stage: Stage,
    /// What the candidate gets of the requests.
    pub weight: Weight,
    /// See [`Split::salt`].
    pub salt: u64,
    /// What kept users on a color when it began, in words that the configuration understands; empty: nobody has said
    /// it.
    pub sticky: String,
    /// How the weight grows.
    pub plan: Plan,
    /// What follows from a verdict.
    pub mode: Mode,
    /// Since when it is at this stage.
    pub since: SystemTime,
    /// While it bakes: how long it has been watched, as of the last time that this was written down. A process that
    /// comes up goes on from there, so that the time in which nobody watched does not count.
    pub watched: Duration,
    /// Somebody has stopped it where it is.
    pub held: Option<HeldBack>,
    /// With [`Mode::Observe`]: it was said that it would have been rolled back, which is said once.
    pub told: bool,
    /// How often its evidence was lost; each time halves what is left of the error budget.
    pub lost: u32,
}

impl Deployment {
    /// Which color a request gets.
    #[must_use]
    pub fn split(&self) -> Split {
        Split { candidate: self.candidate, weight: self.weight, salt: self.salt }
    }

    /// Where the release is that it is compared with.
    #[must_use]
    pub fn stable_color(&self) -> Color {
        self.candidate.other()
    }

    /// It has not taken the traffic yet.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        matches!(self.stage, Stage::Step(_))
    }

    /// Both colors get requests.
    #[must_use]
    pub fn splits(&self) -> bool {
        self.weight != Weight::NONE && self.weight != Weight::ALL
    }

    /// The weight after the step where it stands; `None`: it takes the traffic next, or has it.
    #[must_use]
    pub fn next_step(&self) -> Option<(usize, Weight)> {
        let Stage::Step(step) = self.stage else { return None };
        self.plan.steps.get(step + 1).map(|weight| (step + 1, *weight))
    }
}

impl Mode {
    /// Each, and its name in files and answers; the first is the default for canaries.
    pub const NAMES: [(&'static str, Mode); 3] =
        [("enforce", Mode::Enforce), ("observe", Mode::Observe), ("off", Mode::Off)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Mode::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    /// The mode of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Mode> {
        Mode::NAMES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }
}

impl OnClientErrors {
    /// Each, and its name in files; the first is the default.
    pub const NAMES: [(&'static str, OnClientErrors); 2] =
        [("back", OnClientErrors::Back), ("hold", OnClientErrors::Hold)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        OnClientErrors::NAMES.iter().find(|(_, what)| *what == self).map_or("", |(name, _)| name)
    }
}

impl OnInsufficient {
    /// Each, and its name in files and answers; the first is the default.
    pub const NAMES: [(&'static str, OnInsufficient); 3] =
        [("hold", OnInsufficient::Hold), ("advance", OnInsufficient::Advance), ("abort", OnInsufficient::Abort)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        OnInsufficient::NAMES.iter().find(|(_, what)| *what == self).map_or("", |(name, _)| name)
    }

    /// What has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<OnInsufficient> {
        OnInsufficient::NAMES.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
    }
}
