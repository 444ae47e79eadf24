//! The state that status, metrics and the snapshot compiler see.

use std::time::Instant;

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::deployment::DeploymentId;
use crate::domain::gate::{CheckReport, GatePolicy};
use crate::domain::release::Release;
use crate::domain::rollout::{Moving, Refusal};
use crate::domain::schema::{Currents, Safety};
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, FileOrder, Origin, Previous};
use crate::domain::verdict::{Judgement, Needs};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Carried out, or in force already.
    Done,
    Pending,
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub decision: Decision,
    pub durable: bool,
    pub phase: Phase,
    pub moving: Option<Moving>,
    pub hold: Option<Hold>,
    pub file: FileOrder,
    pub order: OrderState,
    /// `None`: it is known good already.
    pub known_good_at: Option<Instant>,
    pub gate: GatePolicy,
    pub rollback: Result<Previous, Refusal>,
    pub safety: Safety,
    pub stores: Currents,
    pub write_back_error: Option<String>,
    /// The last judgement of the deployment in force at its present stage.
    pub judgement: Option<Judgement>,
    pub progress: Option<Progress>,
    pub verifying: Option<(DeploymentId, Instant)>,
    pub both_unhealthy: bool,
    /// The last gate checks of a release that is still deployed.
    pub checks: Option<(Color, Release, Vec<CheckReport>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub next: Weight,
    /// The dwell of the step, or the end of the bake.
    pub earliest: Instant,
    /// The end of the step without a verdict; `None`: it bakes.
    pub latest: Option<Instant>,
    pub needs: Option<Needs>,
    pub stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    Held,
    Frozen,
    CoolingDown,
    Suspect,
    BaselineUnhealthy,
    /// Its mode only reports verdicts.
    ByHand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Steady,
    Canary { to: Color },
    Baking { to: Color },
    Gating { to: Color },
    Holding { to: Color },
    Committing { to: Color },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub since: Now,
    pub until: Instant,
    pub for_move: bool,
    pub origin: Origin,
}
