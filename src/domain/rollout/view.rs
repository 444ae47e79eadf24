//! What status, metrics and the compiler of snapshots may see of the machine.

use std::time::Instant;

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::deployment::DeploymentId;
use crate::domain::gate::{CheckReport, GatePolicy};
use crate::domain::release::Release;
use crate::domain::rollout::{Moving, Refusal};
use crate::domain::schema::{Currents, Verdict};
use crate::domain::split::Weight;
use crate::domain::transition::{Decision, FileOrder, Origin, Previous};
use crate::domain::verdict::{Judgement, Needs};

/// What became of the last order in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// Carried out, or it was already so.
    Done,
    /// Under way.
    Pending,
    /// Refused, with the reason.
    Refused(Refusal),
}

/// What status, metrics and the compiler of snapshots may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The decision in force.
    pub decision: Decision,
    /// The decision in force is on disk.
    pub durable: bool,
    /// `steady`, `canary`, `baking`, `gating`, `holding` or `committing`.
    pub phase: Phase,
    /// The move that is under way.
    pub moving: Option<Moving>,
    /// Requests are held.
    pub hold: Option<Hold>,
    /// What the file says now.
    pub file: FileOrder,
    /// What became of the last order in the file.
    pub order: OrderState,
    /// When the release that serves will be known good, if it is not.
    pub known_good_at: Option<Instant>,
    /// How a gate would judge.
    pub gate: GatePolicy,
    /// Whether a rollback has a target.
    pub rollback: Result<Previous, Refusal>,
    /// Whether it is safe for the data stores.
    pub safety: Verdict,
    /// What the data stores are at.
    pub stores: Currents,
    /// The write-back of `active` failed, with the reason.
    pub write_back_error: Option<String>,
    /// What the judge said last of the deployment in force, at the stage where it stands.
    pub judgement: Option<Judgement>,
    /// What comes next for it.
    pub progress: Option<Progress>,
    /// An automatic rollback was made, and it is being looked at whether that helped: until when.
    pub verifying: Option<(DeploymentId, Instant)>,
    /// That did not help: the release that serves is no better than the one that was rolled back.
    pub both_unhealthy: bool,
    /// What the checks of a gate said last of a release that is still deployed there.
    pub checks: Option<(Color, Release, Vec<CheckReport>)>,
}

/// What comes next for a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its next weight.
    pub next: Weight,
    /// Not before this: the dwell of the step, or the end of the bake.
    pub earliest: Instant,
    /// At this moment the plan says what happens without a proof; `None`: it bakes.
    pub latest: Option<Instant>,
    /// What the proof still needs.
    pub needs: Option<Needs>,
    /// It does not go on by itself, whatever is proved.
    pub stopped: Option<Stopped>,
}

/// Why a deployment does not go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody holds it.
    Held,
    /// All forward moves are frozen.
    Frozen,
    /// An automatic rollback was made a short time ago.
    CoolingDown,
    /// There is evidence against it.
    Suspect,
    /// The release that it is compared with fails itself.
    BaselineUnhealthy,
    /// Its mode: what is proved is only said.
    ByHand,
}

/// What the machine is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is under way.
    Steady,
    /// A release gets a share of the requests.
    Canary {
        /// On which color.
        to: Color,
    },
    /// A release took the traffic, and is watched.
    Baking {
        /// On which color.
        to: Color,
    },
    /// The target is being probed.
    Gating {
        /// Where the move is going.
        to: Color,
    },
    /// New requests are held until those under way are over.
    Holding {
        /// Where the move is going.
        to: Color,
    },
    /// The ledger is being written.
    Committing {
        /// Where the move is going.
        to: Color,
    },
}

/// Requests are held: since when, until when at most, for whom, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: Now,
    /// When it ends by itself.
    pub until: Instant,
    /// For a move; else by hand.
    pub for_move: bool,
    /// Who asked for it, and why.
    pub origin: Origin,
}
