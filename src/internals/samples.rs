//! Decisions for tests and benches.

use std::time::{Duration, SystemTime};

use crate::domain::color::Color;
use crate::domain::deployment::{Deployment, DeploymentId, OnInsufficient, Plan, Stage};
use crate::domain::release::Release;
use crate::domain::split::Weight;

/// Release 2 on green as the canary beside release 1, at the first step of an empty plan.
#[must_use]
pub fn canary(id: u64, weight: Weight) -> Deployment {
    let plan = Plan {
        steps: Vec::new(),
        dwell: Duration::ZERO,
        max_step: Duration::ZERO,
        on_insufficient: OnInsufficient::Hold,
        holdback: Weight::NONE,
        bake: Duration::ZERO,
    };
    let (candidate, stable) = ((Color::Green, Release::new("2")), Release::new("1"));
    Deployment::new(DeploymentId(id), candidate, stable, (Stage::Step(0), weight), plan, SystemTime::UNIX_EPOCH)
}
