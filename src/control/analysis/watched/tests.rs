use std::time::SystemTime;

use super::*;
use crate::domain::deployment::{OnInsufficient, Plan};
use crate::domain::release::Release;
use crate::domain::split::Weight;

mod users;

fn weight(basis_points: u16) -> Weight {
    Weight::new(basis_points).expect("a share")
}

fn at_step(step: usize) -> Deployment {
    let plan = Plan {
        steps: vec![weight(500), weight(2_500)],
        dwell: Duration::from_secs(30),
        max_step: Duration::from_secs(1_800),
        on_insufficient: OnInsufficient::Hold,
        holdback: Weight::NONE,
        bake: Duration::ZERO,
    };
    let (candidate, stable, stage) =
        ((Color::Green, Release::new("2")), Release::new("1"), (Stage::Step(step), plan.steps[step]));
    Deployment::new(DeploymentId(2), candidate, stable, stage, plan, SystemTime::UNIX_EPOCH)
}

#[test]
fn what_a_step_has_shown_counts_after_a_restart_and_not_for_the_next_one() {
    let tick = Tick { number: 7, weight: weight(500), at: Duration::from_secs(7), ..Tick::default() };
    let recorded = Recorded {
        id: DeploymentId(2),
        release: "2".to_owned(),
        stable: "1".to_owned(),
        policy: Policy::default(),
        entries: vec![Entry::Step(0), Entry::Tick(Box::new(tick))],
    };
    let resumed = |step| Watched::resume(&at_step(step), false, 0, &recorded, Instant::now());
    assert_eq!(resumed(0).stage(), Some(Stage::Step(0)));
    assert_eq!((resumed(0).number(0), resumed(0).before), (Some(8), Duration::from_secs(7)));
    // The step was on disk, and the process was killed before its first tick.
    assert_eq!(resumed(1).stage(), None, "it begins with the next tick");
}
