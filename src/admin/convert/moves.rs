//! Switches, rollbacks and freezes as answers of the admin API.

use std::time::Instant;

use crate::admin::api::{
    CheckProgressAnswer, DrainedAnswer, Draining, EndedCanary, FreezeAnswer, FrozenAnswer, MovingAnswer,
    RollbackAnswer, SwitchAnswer,
};
use crate::admin::convert::checks::checks;
use crate::admin::convert::closed::not_served;
use crate::admin::convert::{drained, micros, percent, schema, time};
use crate::control::handle::Status;
use crate::domain::gate::CheckProgress;
use crate::domain::health::Health;
use crate::domain::rollout::{Moving, Outcome, Waits};
use crate::domain::transition::{Decision, Freeze};

impl SwitchAnswer {
    pub(in crate::admin) fn new(outcome: &Outcome, status: Option<&Status>) -> SwitchAnswer {
        let ended = |(release, weight): &(crate::domain::release::Release, crate::domain::split::Weight)| EndedCanary {
            release: release.to_string(),
            weight: percent(*weight),
        };
        SwitchAnswer {
            changed: outcome.changed,
            dry_run: outcome.dry_run,
            active: outcome.active.to_string(),
            previous: outcome.previous.to_string(),
            release: outcome.release.to_string(),
            generation: outcome.generation.0,
            at: time(outcome.at),
            took_us: micros(outcome.took),
            durable: outcome.durable,
            held_us: outcome.held.map(micros),
            draining: status.and_then(draining),
            drained: None,
            rollback: schema::after(outcome, status),
            file_problem: outcome.file_problem.clone(),
            checks: checks(&outcome.checks),
            overrode: outcome.overrode.iter().map(ToString::to_string).collect(),
            warnings: status.map(|status| warnings(outcome, status)).unwrap_or_default(),
            quarantined: outcome.quarantined.as_ref().map(ToString::to_string),
            cancelled: outcome.cancelled.as_ref().map(MovingAnswer::new),
            pending: outcome.pending.as_ref().map(MovingAnswer::new),
            ended_canary: outcome.ended_canary.as_ref().map(ended),
        }
    }
}

fn warnings(outcome: &Outcome, status: &Status) -> Vec<String> {
    let closed = if outcome.dry_run { Vec::new() } else { not_served(status) };
    nobody_up(outcome, status).into_iter().chain(closed).collect()
}

fn nobody_up(outcome: &Outcome, status: &Status) -> Option<String> {
    if !outcome.changed || outcome.dry_run || outcome.active != status.view.decision.active {
        return None;
    }
    let (to, from) = (outcome.active, outcome.previous);
    let endpoints = &status.colors[to].endpoints;
    // A forced move runs no checks, so the last known health counts.
    if endpoints.iter().any(|endpoint| endpoint.health != Health::Down) {
        return None;
    }
    let decision = &status.view.decision;
    let left = status.colors[from].release.clone();
    let bad = decision.quarantine.iter().any(|bad| bad.release == left);
    let force = if bad { " --force=quarantine" } else { "" };
    let all = endpoints.len();
    let undo = if from == to { String::new() } else { format!(" To undo: `cutover switch {from}{force}`") };
    Some(format!("0 of {all} endpoints of {to} are up; clients get 502 or 503.{undo}"))
}

impl MovingAnswer {
    pub(super) fn new(moving: &Moving) -> MovingAnswer {
        let left = moving.until.map(|until| until.saturating_duration_since(Instant::now()));
        MovingAnswer {
            kind: moving.kind.name().to_owned(),
            to: moving.to.to_string(),
            release: moving.release.to_string(),
            whose: moving.whose(),
            actor: moving.origin.actor.clone(),
            reason: moving.origin.reason.clone(),
            since: time(moving.since),
            ends_in_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            phase: moving.waits.as_str().to_owned(),
            waits_for: moving.waits_for.clone(),
            checks: match &moving.waits {
                Waits::Checks(progress) => progress.as_ref().map(CheckProgressAnswer::new),
                _ => None,
            },
        }
    }
}

impl CheckProgressAnswer {
    fn new(progress: &CheckProgress) -> CheckProgressAnswer {
        let CheckProgress { endpoint, passed, checks, check, responses, times, finished, endpoints } = progress.clone();
        let (of, endpoints_finished) = (checks, finished);
        CheckProgressAnswer { endpoint, passed, of, check, responses, times, endpoints_finished, endpoints }
    }
}

pub(super) fn draining(status: &Status) -> Option<Draining> {
    status.draining.map(|draining| Draining {
        color: draining.color.to_string(),
        requests: draining.left.requests,
        streams: draining.left.streams,
        tunnels: draining.left.tunnels,
        ends_in_ms: u64::try_from(draining.ends_in.as_millis()).unwrap_or(u64::MAX),
    })
}

pub(in crate::admin) fn last_drain(status: &Status) -> Option<DrainedAnswer> {
    status.last_drain.as_ref().map(drained)
}

pub(super) fn rollback(status: &Status) -> RollbackAnswer {
    let back = &status.way_back;
    let target = status.view.rollback.as_ref().ok();
    let safety = &status.view.safety;
    RollbackAnswer {
        possible: back.possible,
        safe: safety.as_str().to_owned(),
        unsafe_why: target.and_then(|_| safety.why()),
        to: target.map(|previous| previous.color.to_string()),
        release: target.map(|previous| previous.release.to_string()),
        why: back.why.clone(),
        would_need: (!back.guards.is_empty()).then(|| "force".to_owned()),
        guards: back.guards.iter().map(ToString::to_string).collect(),
        command: back.command.clone(),
    }
}

impl FreezeAnswer {
    pub(in crate::admin) fn new(freeze: &Freeze) -> FreezeAnswer {
        FreezeAnswer {
            by: freeze.by.clone(),
            reason: freeze.reason.clone(),
            since: time(freeze.since),
            until: freeze.until.map(time),
        }
    }
}

impl FrozenAnswer {
    pub(in crate::admin) fn new(outcome: &Outcome, decision: &Decision) -> FrozenAnswer {
        FrozenAnswer {
            changed: outcome.changed,
            durable: outcome.durable,
            freeze: decision.freeze.as_ref().map(FreezeAnswer::new),
            replaced: outcome.replaced.as_ref().map(FreezeAnswer::new),
            cancelled: outcome.cancelled.as_ref().map(MovingAnswer::new),
        }
    }
}
