//! A release on its way, from its first requests to the end of its bake. It is part of the decision on disk, so a
//! restart keeps the weight, the users and the plan.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::release::Release;
use crate::domain::split::{Split, Weight};

/// The generation that the deployment began with, so it is unique in a ledger. Shown as `dep-42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(pub u64);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dep-{}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoDeployment(String);

impl fmt::Display for NoDeployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no deployment; a name is such as \"dep-42\"", self.0)
    }
}

impl std::error::Error for NoDeployment {}

impl FromStr for DeploymentId {
    type Err = NoDeployment;

    fn from_str(text: &str) -> Result<DeploymentId, NoDeployment> {
        let number = text.strip_prefix("dep-").unwrap_or(text);
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| digits).map(DeploymentId).ok_or_else(|| NoDeployment(text.to_owned()))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Enforce,
    /// Verdicts are only reported.
    Observe,
    Off,
}

/// The consequence when a step has lasted as long as it may and neither verdict is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInsufficient {
    #[default]
    Hold,
    Advance,
    Abort,
}

/// The consequence when the evidence asks for a rollback that the data stores forbid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnsafe {
    #[default]
    Hold,
    Force,
}

/// The consequence when many more responses are 4xx, with the certainty of a rollback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnClientErrors {
    /// The canary ends, without a quarantine: no user is left in it.
    #[default]
    Back,
    Hold,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub plan: Plan,
    pub canary: Mode,
    pub bake: Mode,
    /// After an automatic rollback nothing advances by itself, and no canary begins unless forced, for this long.
    pub cooldown: Duration,
    pub on_unsafe: OnUnsafe,
    pub sticky: String,
    pub on_client_errors: OnClientErrors,
    /// Weight that stays on the old color after a plain switch.
    pub switch_holdback: Weight,
}

/// Settings of one canary that differ from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The first step; smaller steps of the plan are skipped.
    pub weight: Option<Weight>,
    pub steps: Option<Vec<Weight>>,
    pub dwell: Option<Duration>,
    pub max_step: Option<Duration>,
    pub on_insufficient: Option<OnInsufficient>,
    pub holdback: Option<Weight>,
    pub bake: Option<Duration>,
    pub mode: Option<Mode>,
}

impl Wishes {
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Growing; neither [`Weight::NONE`] nor [`Weight::ALL`]. Empty: a plain switch, which is only baked.
    pub steps: Vec<Weight>,
    /// Least duration of a step.
    pub dwell: Duration,
    /// Longest wait of a step for evidence.
    pub max_step: Duration,
    pub on_insufficient: OnInsufficient,
    /// Weight that stays on the old color during the bake, for comparison.
    pub holdback: Weight,
    /// Time the release is watched after it took the traffic.
    pub bake: Duration,
}

impl Plan {
    pub const MOST_HELD_BACK: Weight = Weight::HALF;

    pub fn check(&self) -> Result<(), String> {
        let Some(first) = self.steps.first() else { return Err("there is no step".to_owned()) };
        if *first == Weight::NONE {
            return Err("a step of 0 % gives the release nothing to be judged by".to_owned());
        }
        if self.steps.contains(&Weight::ALL) {
            return Err("100 % is not a step: the switch follows the last one".to_owned());
        }
        if let Some(pair) = self.steps.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("the steps do not grow: {} comes after {}", pair[1], pair[0]));
        }
        if self.holdback > Plan::MOST_HELD_BACK {
            return Err(format!("the hold-back is {}; its maximum is {}", self.holdback, Plan::MOST_HELD_BACK));
        }
        if self.max_step < self.dwell {
            return Err("the longest time of a step (max_step) is shorter than its shortest (dwell)".to_owned());
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Step(usize),
    Bake,
}

/// A pause of a deployment. A rollback stays armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The actor, or `automatic`.
    pub by: String,
    pub reason: String,
    pub since: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub candidate: Color,
    pub release: Release,
    pub stable: Release,
    pub stage: Stage,
    pub weight: Weight,
    pub salt: u64,
    /// The kind of stickiness when the deployment began, in words of the configuration; empty: none.
    pub sticky: String,
    pub plan: Plan,
    pub mode: Mode,
    pub since: SystemTime,
    /// Time watched of its bake, as of the last record. A restart continues from here, so that unwatched time does not
    /// count.
    pub watched: Duration,
    pub held: Option<HeldBack>,
    /// With [`Mode::Observe`]: the rollback that would have been made was reported, which happens once.
    pub told: bool,
    /// Losses of its evidence; each halves the rest of the error budget.
    pub lost: u32,
}

impl Deployment {
    /// A deployment that begins: judged, not sticky, and not watched yet.
    #[must_use]
    pub fn new(
        id: DeploymentId,
        (candidate, release): (Color, Release),
        stable: Release,
        (stage, weight): (Stage, Weight),
        plan: Plan,
        since: SystemTime,
    ) -> Deployment {
        Deployment {
            id,
            candidate,
            release,
            stable,
            stage,
            weight,
            salt: 0,
            sticky: String::new(),
            plan,
            mode: Mode::Enforce,
            since,
            watched: Duration::ZERO,
            held: None,
            told: false,
            lost: 0,
        }
    }

    #[must_use]
    pub fn split(&self) -> Split {
        Split { candidate: self.candidate, weight: self.weight, salt: self.salt }
    }

    /// The color of the release it is compared with.
    #[must_use]
    pub fn stable_color(&self) -> Color {
        self.candidate.other()
    }

    #[must_use]
    pub fn is_canary(&self) -> bool {
        matches!(self.stage, Stage::Step(_))
    }

    #[must_use]
    pub fn splits(&self) -> bool {
        self.weight != Weight::NONE && self.weight != Weight::ALL
    }

    /// `None`: it takes the traffic next, or has it.
    #[must_use]
    pub fn next_step(&self) -> Option<(usize, Weight)> {
        let Stage::Step(step) = self.stage else { return None };
        self.plan.steps.get(step + 1).map(|weight| (step + 1, *weight))
    }
}

impl Mode {
    pub const NAMES: [(&'static str, Mode); 3] =
        [("enforce", Mode::Enforce), ("observe", Mode::Observe), ("off", Mode::Off)];

    #[must_use]
    pub fn name(self) -> &'static str {
        Mode::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Mode> {
        Mode::NAMES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }
}

impl OnClientErrors {
    pub const NAMES: [(&'static str, OnClientErrors); 2] =
        [("back", OnClientErrors::Back), ("hold", OnClientErrors::Hold)];

    #[must_use]
    pub fn name(self) -> &'static str {
        OnClientErrors::NAMES.iter().find(|(_, what)| *what == self).map_or("", |(name, _)| name)
    }
}

impl OnInsufficient {
    pub const NAMES: [(&'static str, OnInsufficient); 3] =
        [("hold", OnInsufficient::Hold), ("advance", OnInsufficient::Advance), ("abort", OnInsufficient::Abort)];

    #[must_use]
    pub fn name(self) -> &'static str {
        OnInsufficient::NAMES.iter().find(|(_, what)| *what == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<OnInsufficient> {
        OnInsufficient::NAMES.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
    }
}
