//! Automatic rollbacks.

use super::canary::{judged, judged_of, start};
use super::*;
use crate::domain::deployment::{DeploymentId, Stage};
use crate::domain::verdict::{Sample, Verdict};

/// A policy that rolls plain switches back.
fn enforcing() -> Configured {
    Configured { policy: Policy { bake: Mode::Enforce, ..policy() }, ..configured(Color::Green) }
}

/// Green has the traffic after a plain switch, and blue is healthy.
fn baking(configured: Configured) -> Script {
    let mut script = Script::steady();
    script.at(0.0, Event::Configured(Configured { order: order(Color::Blue), ..configured.clone() }));
    for color in Color::ALL {
        script.at(0.0, Event::Fitness(color, Fitness::Fit));
    }
    script.switched();
    script.at(1.0, Event::Configured(configured));
    assert_eq!(script.deployment().map(|deployment| deployment.stage), Some(Stage::Bake));
    script
}

#[test]
fn what_is_shown_to_be_worse_goes_back_at_once_and_is_not_let_in_again() {
    let mut script = Script::canary();
    let words = script.at(5.0, judged(Verdict::Fail)).words();
    assert_eq!(words, ["publish blue 3", "drain green", "commit rollback blue"]);
    let line = script.line();
    assert_eq!((line.origin.trigger, &line.from), (Trigger::Automatic, &Some((Color::Green, release(Color::Green)))));
    assert!(line.judgement.is_some() && line.decision.quarantine.len() == 1);
    let reason = line.origin.reason.clone().unwrap_or_default();
    assert!(reason.contains("8.0 % against 0 %") && reason.contains("18,400:1"), "{reason}");
    let commit = script.commit_id();
    script.at(5.1, Event::Committed(commit));
    assert_eq!(script.at(6.0, judged(Verdict::Fail)).words(), [""; 0], "it is over");
    assert_eq!(script.command(2, start()).words()[0], "refuse 2 quarantined");
    let mut edited = configured(Color::Blue);
    edited.deployed[Color::Green] = Release::new("3");
    script.at(7.0, Event::Configured(edited));
    assert_eq!(script.command(3, start()).words()[0], "refuse 3 cooling_down");
    script.at(606.0, Event::Tick);
    assert_eq!(script.command(4, start()).words()[0], "probe green");
}

#[test]
fn it_goes_back_while_it_is_held_and_while_moves_are_frozen() {
    for command in
        [Command::CanaryHold { origin: origin() }, Command::Freeze { until: None, replace: true, origin: origin() }]
    {
        let mut script = Script::canary();
        script.command(2, command);
        assert!(script.at(5.0, judged(Verdict::Fail)).words().contains(&"publish blue 3".to_owned()));
    }
}

#[test]
fn where_it_is_only_observed_it_is_said_once_what_would_have_been_done() {
    let mut script = baking(configured(Color::Green));
    script.at(2.0, judged(Verdict::Fail));
    assert_eq!((script.effects.len(), script.line().kind), (1, Kind::WouldRollBack));
    assert!(script.line().judgement.is_some());
    assert_eq!(script.at(3.0, judged(Verdict::Fail)).effects, []);
    assert_eq!(script.rollout.view().decision.active, Color::Green);
}

#[test]
fn a_release_that_bakes_goes_back_to_what_served_before() {
    let mut script = baking(enforcing());
    assert_eq!(script.at(2.0, judged(Verdict::Fail)).words()[..2], ["publish blue 3", "drain green"]);
    // No target for another rollback, automatic or not.
    assert_eq!(script.rollout.view().decision.previous, None);
}

#[test]
fn a_way_back_that_is_not_there_is_held_and_paged_and_gone_when_it_is() {
    let mut script = baking(enforcing());
    script.at(2.0, Event::Fitness(Color::Blue, Fitness::Down("no endpoint".to_owned())));
    script.at(3.0, judged(Verdict::Fail));
    assert_eq!(script.line().kind, Kind::RollbackBlocked);
    assert!(script.deployment().is_some_and(|deployment| deployment.held.is_some()));
    assert_eq!(script.at(4.0, judged(Verdict::Fail)).effects, [], "once");
    assert!(script.at(5.0, Event::Fitness(Color::Blue, Fitness::Fit)).words().contains(&"publish blue 3".to_owned()));
}

#[test]
fn what_can_not_serve_at_all_goes_back_without_a_verdict_if_the_other_one_can() {
    let mut script = Script::canary();
    let words = script.at(5.0, Event::Fitness(Color::Green, Fitness::Down("refused".to_owned()))).words();
    assert_eq!(words[..2], ["publish blue 3", "drain green"]);
    assert!(script.line().judgement.is_none());
    let mut script = Script::canary();
    script.at(5.0, Event::Fitness(Color::Blue, Fitness::Down("refused".to_owned())));
    script.at(5.0, Event::Fitness(Color::Green, Fitness::Down("refused".to_owned())));
    assert!(script.deployment().is_some(), "both are down: nothing is gained");
}

#[test]
fn whether_a_rollback_helped_is_told_and_nothing_more_moves() {
    let after = |bad| {
        let mut script = Script::canary();
        script.at(5.0, judged(Verdict::Fail));
        let commit = script.commit_id();
        script.at(5.1, Event::Committed(commit));
        assert!(script.rollout.view().verifying.is_some());
        let sample = Sample::new(200, bad, None);
        script.at(60.0, Event::Aftermath(DeploymentId(2), sample));
        script.at(66.0, Event::Tick);
        assert_eq!(script.rollout.view().verifying, None);
        script
    };
    let helped = after(2);
    assert_eq!((helped.line().kind, helped.rollout.view().both_unhealthy), (Kind::Recovered, false));
    let mut worse = after(30);
    assert_eq!((worse.line().kind, worse.rollout.view().both_unhealthy), (Kind::BothUnhealthy, true));
    assert_eq!(worse.at(70.0, judged(Verdict::Fail)).words(), [""; 0]);
}

#[test]
fn a_verdict_on_something_else_changes_nothing() {
    let mut script = Script::canary();
    assert_eq!(script.at(5.0, judged_of(7, Verdict::Fail)).effects, []);
    assert!(script.deployment().is_some());
}
