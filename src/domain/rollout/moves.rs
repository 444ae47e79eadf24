//! The move under way, and its state.

use std::time::Instant;

use crate::domain::clock::Now;
use crate::domain::color::Color;
use crate::domain::force::Force;
use crate::domain::gate::GateReport;
use crate::domain::release::Release;
use crate::domain::rollout::checks;
use crate::domain::rollout::hold::HoldSpan;
use crate::domain::rollout::share::Share;
use crate::domain::rollout::{CommandId, CommitId, DrainId, Overlap, RoundId, Terms};
use crate::domain::transition::{Decision, InFlight, Kind, Origin};

#[derive(Debug)]
pub(super) enum State {
    Steady,
    Gating(Move, Gating),
    Holding(Move, DrainId, InFlight),
    Committing(Move, CommitId, Box<Decision>),
}

#[derive(Debug)]
pub(super) struct Move {
    pub(super) kind: Kind,
    pub(super) to: Color,
    pub(super) release: Release,
    pub(super) asker: Asker,
    pub(super) force: Force,
    pub(super) dry_run: bool,
    /// The release that serves is bad.
    pub(super) quarantine: bool,
    pub(super) overlap: Overlap,
    pub(super) terms: Terms,
    pub(super) origin: Origin,
    pub(super) began: Now,
    pub(super) report: Option<GateReport>,
    pub(super) held: Option<HoldSpan>,
    pub(super) share: Share,
}

impl Move {
    /// A rollback and a dry run are refused at once, without waiting for the gate.
    pub(super) fn is_patient(&self) -> bool {
        self.kind != Kind::Rollback && !self.dry_run
    }

    pub(super) fn new(now: Now, kind: Kind, (to, release): (Color, Release), asker: Asker, origin: Origin) -> Move {
        Move {
            kind,
            to,
            release,
            asker,
            force: Force::NONE,
            dry_run: false,
            quarantine: false,
            overlap: Overlap::Allow,
            terms: Terms::default(),
            origin,
            began: now,
            report: None,
            held: None,
            share: Share::All,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Command(CommandId),
    File,
    /// The evidence, or the time.
    Automatic,
}

#[derive(Debug)]
pub(super) struct Gating {
    pub(super) round: Option<RoundId>,
    pub(super) next_round: Option<Instant>,
    pub(super) deadline: Instant,
    pub(super) rounds: u32,
    pub(super) passes: u32,
    pub(super) checks: checks::CheckState,
}
