//! Dry runs: they change nothing, and stand in nobody's way.

use super::*;

fn ask_switch() -> Command {
    Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: Force::NONE,
        dry_run: true,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin: origin(),
    }
}

fn ask_back(to: Option<Color>) -> Command {
    Command::Rollback {
        to,
        if_generation: None,
        force: Force::NONE,
        dry_run: true,
        quarantine: false,
        overlap: Overlap::Allow,
        origin: origin(),
    }
}

/// The outcome in the last effects.
fn would(script: &Script) -> Outcome {
    let mut replies = script.effects.iter().filter_map(|effect| match effect {
        Effect::Reply(_, Ok(outcome)) => Some(outcome.clone()),
        _ => None,
    });
    replies.next_back().unwrap_or_else(|| panic!("no answer: {:?}", script.effects))
}

#[test]
fn asking_for_a_rollback_probes_its_target_and_changes_nothing() {
    let mut script = Script::steady();
    script.switched();
    let before = script.rollout.view().decision;
    assert_eq!(script.command(1, ask_back(None)).words(), ["probe blue"]);
    let round_id = script.round_id();
    script.at(0.1, Event::Probed(round_id, round(true)));
    let outcome = would(&script);
    assert!(outcome.changed && outcome.dry_run);
    assert_eq!((outcome.previous, outcome.active), (Color::Green, Color::Blue));
    assert_eq!(script.rollout.view().decision, before);

    script.command(2, ask_back(None));
    let round_id = script.round_id();
    assert_eq!(script.at(0.2, Event::Probed(round_id, round(false))).words(), ["refuse 2 unhealthy"]);
    assert!(script.lines().is_empty(), "a question is no attempt");
    assert_eq!(script.rollout.view().decision, before);
}

#[test]
fn asking_for_a_rollback_without_a_target_says_so_and_writes_nothing() {
    let mut script = Script::steady();
    assert_eq!(script.command(1, ask_back(None)).words(), ["refuse 1 no_known_good"]);
    assert!(script.lines().is_empty());
    assert_eq!(script.command(2, ask_back(Some(Color::Blue))).words(), ["reply 2 changed=false durable=true"]);
}

#[test]
fn a_rollback_rolls_back_although_somebody_is_asking_what_a_switch_would_do() {
    let mut script = Script::steady();
    script.switched();
    assert_eq!(script.command(1, ask_switch()).words(), ["probe blue"]);
    assert_eq!(script.command(2, rollback()).words(), ["refuse 1 withdrawn", "probe blue"]);
    let round_id = script.round_id();
    let words = script.at(0.1, Event::Probed(round_id, round(true))).words();
    assert!(words.contains(&"publish blue 3".to_owned()), "{words:?}");
}

#[test]
fn a_switch_begins_although_somebody_is_asking_what_a_rollback_would_do() {
    let mut script = Script::steady();
    script.switched();
    assert_eq!(script.command(1, ask_back(None)).words(), ["probe blue"]);
    assert_eq!(script.command(2, switch()).words(), ["refuse 1 withdrawn", "probe blue"]);
    assert!(script.rollout.view().moving.is_some());
}

#[test]
fn asking_for_a_rollback_during_a_switch_says_that_it_would_cancel_it_and_leaves_it() {
    let mut script = Script::steady();
    assert_eq!(script.command(1, switch()).words(), ["probe green"]);
    assert_eq!(script.command(2, ask_back(None)).words(), ["reply 2 changed=false durable=true"]);
    let outcome = would(&script);
    assert!(outcome.dry_run && outcome.cancelled.is_some_and(|cancelled| cancelled.to == Color::Green));
    assert!(script.rollout.view().moving.is_some(), "the switch still waits");
}
