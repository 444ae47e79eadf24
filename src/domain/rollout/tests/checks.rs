//! Gate checks: their turn, and the consequences of their results.

use super::*;
use crate::domain::gate::{CheckFailure, CheckReport};

fn with_checks(back: bool) -> Script {
    let mut script = Script::steady();
    let mut configured = configured(Color::Blue);
    configured.gate.passes = 1;
    configured.checks = Checks { forward: true, back };
    script.at(0.0, Event::Configured(configured));
    script
}

fn found(passed: bool) -> Vec<CheckReport> {
    let failure = CheckFailure {
        endpoint: "127.0.0.1:1".to_owned(),
        found: "status 500".to_owned(),
        wanted: "status 200".to_owned(),
    };
    vec![CheckReport {
        check: "login".to_owned(),
        upstream: "default".to_owned(),
        endpoints: 1,
        passed: u32::from(passed),
        failures: if passed { Vec::new() } else { vec![failure] },
        at: SystemTime::UNIX_EPOCH,
        took: Duration::ZERO,
    }]
}

/// A switch at its checks.
fn at_checks(script: &mut Script, command: Command) -> RoundId {
    script.command(1, command);
    let round = script.round_id();
    script.at(0.1, Event::Probed(round, super::round(true)));
    script.round_id()
}

#[test]
fn checks_follow_the_health_rounds_and_what_they_found_is_written() {
    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    assert_eq!(script.words(), ["check green"]);
    let Some(Effect::Check { endpoints, .. }) = script.effects.first() else { panic!("checks") };
    assert_eq!(*endpoints, [("default".to_owned(), "127.0.0.1:1".to_owned())]);
    assert!(script.rollout.awaits(round));
    // Health rounds and late results are ignored.
    assert_eq!(script.at(0.2, Event::Probed(round, super::round(true))).words(), [""; 0]);
    assert_eq!(script.at(0.2, Event::Checked(RoundId(99), found(true))).words(), [""; 0]);
    assert_eq!(script.at(0.3, Event::Checked(round, found(true))).words(), ["commit switch green"]);
    let Some(Effect::Commit(_, line)) = script.effects.first() else { panic!("a line") };
    assert_eq!(line.gate.as_ref().expect("a gate").checks, found(true));
    let commit = script.commit_id();
    script.at(0.4, Event::Committed(commit));
    let reply = script.effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Ok(outcome)) => Some(outcome.checks.clone()),
        _ => None,
    });
    assert_eq!(reply, Some(found(true)));
}

#[test]
fn a_check_that_fails_begins_the_gate_anew_until_its_time_is_up() {
    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    assert_eq!(script.at(0.2, Event::Checked(round, found(false))).words(), [""; 0]);
    assert!(!script.rollout.awaits(round));
    assert_eq!(script.at(1.1, Event::Tick).words(), [""; 0]);
    assert_eq!(script.at(1.2, Event::Tick).words(), ["probe green"]);
    let round = script.round_id();
    assert_eq!(script.at(1.3, Event::Probed(round, super::round(true))).words(), ["check green"]);
    let round = script.round_id();
    assert_eq!(script.at(1.4, Event::Checked(round, found(true))).words(), ["commit switch green"]);
}

#[test]
fn a_check_that_keeps_failing_refuses_the_switch_and_names_what_came() {
    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    script.at(4.9, Event::Checked(round, found(false)));
    assert_eq!(script.at(5.0, Event::Tick).words(), ["refuse 1 check_failed"]);
    let Some(Effect::Reply(_, Err(refusal))) = script.effects.first() else { panic!("refused") };
    assert_eq!(
        refusal.to_string(),
        "1 of 1 checks of green failed, so nothing was moved: check \"login\" at default 127.0.0.1:1: status 500, \
         wanted status 200",
    );
    let seen = script.rollout.view().checks;
    assert_eq!(seen, Some((Color::Green, release(Color::Green), found(false))));
    // Another label discards the results.
    let mut relabelled = configured(Color::Blue);
    relabelled.deployed.green = Release::new("3");
    script.at(6.0, Event::Configured(relabelled));
    assert_eq!(script.rollout.view().checks, None);
}

#[test]
fn checks_that_do_not_end_and_health_that_goes_are_told_apart() {
    let mut script = with_checks(false);
    at_checks(&mut script, switch());
    assert_eq!(script.at(5.0, Event::Tick).words(), ["refuse 1 check_failed"]);
    let Some(Effect::Reply(_, Err(refusal))) = script.effects.first() else { panic!("refused") };
    assert!(refusal.to_string().contains("had not ended"), "{refusal}");

    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    script.at(0.2, Event::Checked(round, found(false)));
    script.at(1.2, Event::Tick);
    let round = script.round_id();
    script.at(1.3, Event::Probed(round, super::round(false)));
    assert_eq!(script.at(5.0, Event::Tick).words(), ["refuse 1 unhealthy"]);
}

#[test]
fn whoever_only_asks_gets_the_first_finding() {
    let mut script = with_checks(false);
    let Command::Switch { to, if_generation, force, overlap, terms, origin, .. } = switch() else { panic!("a switch") };
    let asked = Command::Switch { to, if_generation, force, dry_run: true, overlap, terms, origin };
    let round = at_checks(&mut script, asked.clone());
    assert_eq!(script.at(0.2, Event::Checked(round, found(false))).words(), ["refuse 1 check_failed"]);
    let round = at_checks(&mut script, asked);
    assert_eq!(script.at(0.3, Event::Checked(round, found(true))).words(), ["reply 1 changed=true durable=true"]);
    let Some(Effect::Reply(_, Ok(outcome))) = script.effects.first() else { panic!("answered") };
    assert_eq!(outcome.checks, found(true));
}

#[test]
fn a_forced_move_and_a_rollback_skip_them_unless_a_rollback_is_configured_to_ask() {
    let mut script = with_checks(false);
    assert_eq!(script.command(1, forced()).words(), ["commit switch green"]);
    let commit = script.commit_id();
    script.at(0.1, Event::Committed(commit));
    script.at(0.2, Event::WroteBack(Ok(Color::Green)));
    script.command(2, rollback());
    let round = script.round_id();
    assert_eq!(script.at(0.3, Event::Probed(round, super::round(true))).words()[0], "publish blue 3");

    let mut script = with_checks(true);
    script.switched();
    script.command(2, rollback());
    let round = script.round_id();
    assert_eq!(script.at(0.3, Event::Probed(round, super::round(true))).words(), ["check blue for a rollback"]);
    let round = script.round_id();
    // A rollback is refused at once.
    assert_eq!(script.at(0.4, Event::Checked(round, found(false))).words(), ["refuse 2 check_failed"]);
}

#[test]
fn an_edit_of_the_target_or_a_rollback_ends_the_checks() {
    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    let mut edited = configured(Color::Blue);
    edited.checks.forward = true;
    edited.targets.green = 7;
    assert_eq!(script.at(0.2, Event::Configured(edited)).words(), ["probe green"]);
    assert!(!script.rollout.awaits(round));
    assert_eq!(script.at(0.3, Event::Checked(round, found(true))).words(), [""; 0]);

    let mut script = with_checks(false);
    let round = at_checks(&mut script, switch());
    assert_eq!(script.command(2, rollback()).words()[0], "refuse 1 withdrawn");
    assert!(!script.rollout.awaits(round));
}
