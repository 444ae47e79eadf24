//! Edits of the file under a move: of its target, and of what a rollback has left.

use super::*;

/// The configuration with other endpoints for green.
fn edited(active: Color) -> Configured {
    Configured { targets: PerColor { blue: 0, green: 1 }, ..configured(active) }
}

/// The configuration with another release for green.
fn relabelled(active: Color) -> Configured {
    let deployed = PerColor { blue: release(Color::Blue), green: Release::new("2.1") };
    let order = FileOrder { active, release: deployed[active].clone() };
    Configured { order, deployed, ..configured(active) }
}

#[test]
fn a_gate_begins_anew_when_the_endpoints_are_edited() {
    let mut script = Script::steady();
    script.rollout.configured.gate.passes = 1;
    script.command(1, switch());
    let old = script.round_id();
    let gate = GatePolicy { passes: 1, ..edited(Color::Blue).gate };
    let next = Configured { gate, ..edited(Color::Blue) };
    assert_eq!(script.at(4.0, Event::Configured(next.clone())).words(), ["probe green"]);
    let new = script.round_id();
    assert_eq!(script.at(4.1, Event::Probed(old, round(true))).words(), [""; 0], "the old endpoints were asked");
    // Its timeout begins anew as well.
    assert_eq!(script.at(5.5, Event::Tick).words(), [""; 0]);
    assert_eq!(script.at(5.6, Event::Configured(next)).words(), [""; 0], "nothing was edited");
    assert_eq!(script.at(5.7, Event::Probed(new, round(true))).words(), ["commit switch green"]);
}

#[test]
fn a_move_past_its_gate_is_refused_when_its_endpoints_are_edited() {
    let mut script = Script::steady();
    script.rollout.configured.gate.passes = 1;
    script.command(1, switch());
    let round_id = script.round_id();
    script.at(0.1, Event::Probed(round_id, round(true)));
    let commit = script.commit_id();
    let words = script.at(0.2, Event::Configured(edited(Color::Blue))).words();
    assert_eq!(words, ["publish blue 3", "commit rollback blue", "refuse 1 target_changed"]);
    assert_eq!(script.at(0.3, Event::Committed(commit)).words(), [""; 0]);
    assert_eq!(script.rollout.view().decision.active, Color::Blue);

    // A forced move skips the gate.
    let mut script = Script::steady();
    script.command(1, forced());
    let commit = script.commit_id();
    assert_eq!(script.at(0.2, Event::Configured(edited(Color::Blue))).words(), [""; 0]);
    assert_eq!(script.at(0.3, Event::Committed(commit)).words()[0], "publish green 2");
}

#[test]
fn a_move_is_refused_when_its_target_has_another_release() {
    for force in [false, true] {
        let mut script = Script::steady();
        script.command(1, if force { forced() } else { switch() });
        let words = script.at(0.2, Event::Configured(relabelled(Color::Blue))).words();
        assert_eq!(words.last().map(String::as_str), Some("refuse 1 target_changed"));
        assert_eq!(script.rollout.view().decision.active, Color::Blue);
    }
}

#[test]
fn an_order_of_the_file_is_followed_when_its_target_has_another_release() {
    let mut script = Script::steady();
    assert_eq!(script.at(0.0, Event::Configured(configured(Color::Green))).words(), ["probe green"]);
    let words = script.at(0.1, Event::Configured(relabelled(Color::Green))).words();
    assert_eq!(words, ["commit seen blue", "probe green"]);
    assert_eq!(script.rollout.view().order, OrderState::Pending);
}

#[test]
fn a_command_that_says_what_the_file_orders_is_answered_with_that_move() {
    let mut script = Script::steady();
    script.rollout.configured.gate.passes = 1;
    let gate = GatePolicy { passes: 1, ..configured(Color::Green).gate };
    script.at(0.0, Event::Configured(Configured { gate, ..configured(Color::Green) }));
    let round_id = script.round_id();
    assert_eq!(script.command(1, switch()).words(), [""; 0]);
    script.at(0.1, Event::Probed(round_id, round(true)));
    let commit = script.commit_id();
    let words = script.at(0.2, Event::Committed(commit)).words();
    assert_eq!(words, ["publish green 2", "drain blue", "reply 1 changed=true durable=true"]);
    assert_eq!(script.rollout.view().order, OrderState::Done);
}

#[test]
fn another_release_for_the_color_that_serves_does_not_stop_a_rollback() {
    let mut script = Script::steady();
    script.switched();
    script.at(1.0, Event::Configured(relabelled(Color::Green)));
    assert_eq!(script.rollout.view().phase, Phase::Gating { to: Color::Green });
    let words = script.command(1, rollback()).words();
    assert_eq!(words, ["commit seen green", "probe blue"]);
}

#[test]
fn the_file_does_not_order_back_what_a_rollback_has_left_before_the_window_is_over() {
    let mut script = Script::steady();
    script.switched();
    script.at(10.0, Event::Tick);
    script.command(1, rollback());
    let round_id = script.round_id();
    script.at(10.0, Event::Probed(round_id, round(true)));
    let commit = script.commit_id();
    script.at(10.0, Event::WroteBack(Ok(Color::Blue)));
    script.at(10.0, Event::Committed(commit));
    let apply = |script: &mut Script, seconds: f64| {
        script.at(seconds, Event::Configured(configured(Color::Green)));
        let words = script.words();
        script.at(seconds, Event::WroteBack(Ok(Color::Blue)));
        words
    };
    assert_eq!(apply(&mut script, 100.0)[..2], ["commit seen blue", "write back blue"]);
    let OrderState::Refused(Refusal::Overruled { left, .. }) = script.rollout.view().order else { panic!("obeyed") };
    assert_eq!((left.color, left.release.as_str(), left.by.as_str()), (Color::Green, "2", "ann"));
    assert_eq!(apply(&mut script, 3_609.0)[..2], ["commit seen blue", "write back blue"]);
    // A restart remembers it.
    let decision = script.rollout.view().decision;
    let now = Now { mono: script.start, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(200) };
    let rollout = Rollout::new(now, decision, true, configured(Color::Green), &mut Vec::new());
    assert!(matches!(rollout.view().order, OrderState::Refused(Refusal::Overruled { .. })));
    assert_eq!(script.at(3_611.0, Event::Configured(configured(Color::Green))).words()[0], "probe green");
}

#[test]
fn a_command_goes_where_the_file_may_not_and_ends_that() {
    let mut script = Script::steady();
    script.switched();
    let forced_back = Command::Rollback {
        to: None,
        if_generation: None,
        force: Force::ALL,
        dry_run: false,
        quarantine: false,
        overlap: Overlap::Allow,
        origin: origin(),
    };
    script.command(1, forced_back);
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    assert!(script.rollout.view().decision.lineage.rolled_back.len() == 1);
    script.at(0.0, Event::WroteBack(Ok(Color::Blue)));
    script.command(2, forced());
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    assert_eq!(script.rollout.view().decision.lineage.rolled_back, []);
}

#[test]
fn a_command_that_can_not_begin_is_written_down_and_answered() {
    let mut script = Script::steady();
    let busy = Refusal::FileBusy("it is being written".to_owned());
    assert_eq!(script.at(0.0, Event::Obstructed(CommandId(1), switch(), busy)).words(), ["refuse 1 file_busy"],);
    assert!(
        script.effects.iter().any(|effect| matches!(effect, Effect::Commit(_, line) if line.kind == Kind::Refused))
    );
}
