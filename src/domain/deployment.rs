//! A release on its way: from its first few requests to the end of its bake. Part of the decision that is on disk, so a restart
//! goes on with the same weight, the same users and the same plan.

use std::fmt;
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
    /// How the weight grows.
    pub plan: Plan,
    /// What follows from a verdict.
    pub mode: Mode,
    /// Since when it is at this stage.
    pub since: SystemTime,
    /// How long it was watched at this stage before the process that is running now started.
    pub watched: Duration,
    /// Somebody has stopped it where it is.
    pub held: Option<HeldBack>,
    /// How often its evidence was lost; each time halves what is left of the error budget.
    pub lost: u32,
}

impl Deployment {
    /// Which color a request gets.
    #[must_use]
    pub fn split(&self) -> Split {
        Split { candidate: self.candidate, weight: self.weight, salt: self.salt }
    }
}
