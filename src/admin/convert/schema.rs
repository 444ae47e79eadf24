//! Data stores as answers of the admin API.

use crate::admin::api::{FirstWriteAnswer, ObstacleAnswer, RollbackAnswer, StepAnswer, StoreAnswer, UnsafeAnswer};
use crate::admin::convert::{rollback, time};
use crate::control::handle::Status;
use crate::domain::rollout::{Outcome, Unsafe, View};
use crate::domain::schema::{Barrier, Obstacle, Safety, Source};

/// The way back after a move; after a dry run, as it would be.
pub(super) fn after(outcome: &Outcome, status: Option<&Status>) -> Option<RollbackAnswer> {
    if !outcome.dry_run {
        return status.map(rollback);
    }
    outcome.way_back.as_ref().map(|(release, verdict)| RollbackAnswer {
        possible: !matches!(verdict, Safety::No(_)),
        safe: verdict.as_str().to_owned(),
        unsafe_why: verdict.why(),
        to: Some(outcome.previous.to_string()),
        release: Some(release.to_string()),
        why: verdict.why().filter(|_| matches!(verdict, Safety::No(_))),
        would_need: None,
        guards: Vec::new(),
        command: None,
    })
}

pub(super) fn stores(view: &View) -> Vec<StoreAnswer> {
    let serving = view.decision.lineage.steps.last();
    let answer = |(store, current): (&String, &crate::domain::schema::Current)| {
        let label = serving.and_then(|step| step.labels.get(store));
        let barrier = label.map(|label| label.barrier).filter(|barrier| *barrier != Barrier::None);
        let passed = serving.zip(label).is_some_and(|(step, label)| step.has_passed(label, Some(current)));
        let write = serving.and_then(|step| step.written.as_ref()).filter(|_| barrier == Some(Barrier::FirstWrite));
        StoreAnswer {
            store: store.clone(),
            version: current.version.map(|version| version.0),
            source: match current.source {
                Source::Probe => "probe",
                Source::Labels => "labels",
                Source::Nowhere => "nowhere",
            }
            .to_owned(),
            probe_error: current.failure.clone(),
            barrier: barrier.map(|barrier| barrier.as_str().to_owned()),
            barrier_passed: passed,
            first_write: write.map(|write| FirstWriteAnswer { at: time(write.at), request_id: write.request.clone() }),
        }
    };
    view.stores.iter().map(answer).collect()
}

impl UnsafeAnswer {
    pub(super) fn new(why: &Unsafe) -> UnsafeAnswer {
        let obstacles: Vec<_> = why.obstacles.iter().map(obstacle).collect();
        let steps = why.steps().filter(|_| !why.back).into_iter().flatten();
        UnsafeAnswer {
            first: obstacles.first().cloned().unwrap_or_default(),
            nearest_safe_release: why.nearest_safe.as_ref().map(ToString::to_string),
            hint: why.hint(),
            steps: steps.map(|(step, what)| StepAnswer { step: step.to_owned(), what }).collect(),
            obstacles,
        }
    }
}

fn obstacle(obstacle: &Obstacle) -> ObstacleAnswer {
    let why = obstacle.to_string();
    match obstacle {
        Obstacle::Unfit { store, version, brought, current, release, needs } => ObstacleAnswer {
            store: Some(store.clone()),
            current: current.map(|current| current.0),
            migrates_to: brought.then_some(version.0),
            target_needs: Some(needs.to_string()),
            needed_by: Some(release.to_string()),
            why,
            ..ObstacleAnswer::default()
        },
        Obstacle::Barrier { store, version, release, .. } => ObstacleAnswer {
            store: Some(store.clone()),
            current: version.map(|version| version.0),
            barrier_release: Some(release.to_string()),
            why,
            ..ObstacleAnswer::default()
        },
        Obstacle::Forced(_) => ObstacleAnswer { why, ..ObstacleAnswer::default() },
    }
}
