//! Moves without overlap, pauses, and maintenance.

use super::*;

fn apart(force: bool) -> Command {
    Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: force.into(),
        dry_run: false,
        overlap: Overlap::None,
        terms: Terms::default(),
        origin: origin(),
    }
}

impl Script {
    fn drain_id(&self) -> DrainId {
        let empty =
            self.effects.iter().find_map(|effect| if let Effect::Empty(id, _) = effect { Some(*id) } else { None });
        empty.expect("the end of all requests is waited for")
    }
}

#[test]
fn without_overlap_requests_are_held_only_after_the_gate_and_until_the_decision_is_visible() {
    let mut script = Script::steady();
    script.rollout.configured.gate.passes = 1;
    assert_eq!(script.command(1, apart(false)).words(), ["probe green"]);
    let round_id = script.round_id();
    let words = script.at(0.1, Event::Probed(round_id, round(true))).words();
    assert_eq!(words, ["hold 10.1s", "empty None"], "nothing is ended for a hold that would fail before");
    let drain = script.drain_id();
    assert_eq!(script.rollout.view().phase, Phase::Holding { to: Color::Green });
    assert_eq!(script.at(0.2, Event::Emptied(drain)).words(), ["commit switch green"]);
    let commit = script.commit_id();
    let words = script.at(0.3, Event::Committed(commit)).words();
    let expected =
        ["publish green 2", "drain blue", "release", "reply 1 changed=true durable=true", "write back green"];
    assert_eq!(words, expected);
    assert_eq!(script.rollout.view().hold, None);
}

#[test]
fn a_target_that_is_not_healthy_holds_nobody() {
    let mut script = Script::steady();
    script.command(1, apart(false));
    let words = script.at(5.0, Event::Tick).words();
    assert_eq!(words, ["refuse 1 unhealthy"]);
}

#[test]
fn a_color_that_does_not_drain_goes_on_to_serve_and_the_refusal_says_what_was_left() {
    let mut script = Script::steady();
    script.command(1, apart(true));
    let drain = script.drain_id();
    script.at(0.1, Event::StillInFlight(drain, InFlight { requests: 2, streams: 0, tunnels: 1 }));
    assert_eq!(script.rollout.deadline(), Some(script.start + Duration::from_secs(10)));
    assert_eq!(script.at(10.0, Event::Tick).words(), ["release", "refuse 1 not_drained"]);
    let refusal = script.effects.iter().find_map(|effect| match effect {
        Effect::Reply(_, Err(refusal)) => Some(refusal),
        _ => None,
    });
    let refusal = refusal.expect("refused");
    assert!(refusal.to_string().starts_with("2 requests and 1 tunnel of blue did not end in 10.0 s"), "{refusal}");
    assert_eq!(script.at(10.1, Event::Emptied(drain)).words(), [""; 0], "a late word belongs to nobody");
}

#[test]
fn a_drain_that_is_shorter_than_the_hold_ends_what_is_left() {
    let mut script = Script::steady();
    script.rollout.configured.drain_timeout = Duration::from_secs(3);
    assert_eq!(script.command(1, apart(true)).words(), ["hold 10s", "empty Some(3s)"]);
}

#[test]
fn a_disk_that_refuses_or_hangs_lets_the_held_requests_go_on_to_the_old_color() {
    let mut script = Script::steady();
    script.command(1, apart(true));
    let drain = script.drain_id();
    script.at(0.1, Event::Emptied(drain));
    let commit = script.commit_id();
    let words = script.at(0.2, Event::CommitFailed(commit, "full".to_owned())).words();
    assert_eq!(words, ["release", "refuse 1 not_durable"]);

    script.command(2, apart(true));
    let drain = script.drain_id();
    script.at(0.3, Event::Emptied(drain));
    let words = script.at(10.2, Event::Tick).words();
    assert_eq!(words, ["publish blue 4", "commit rollback blue", "release", "refuse 2 not_durable"]);
}

#[test]
fn a_rollback_or_a_release_calls_a_held_switch_off_at_once() {
    let mut script = Script::steady();
    script.command(1, apart(true));
    let words = script.command(2, rollback()).words();
    assert_eq!(words, ["release", "refuse 1 withdrawn", "reply 2 changed=false durable=true"]);
    script.command(3, apart(true));
    let words = script.command(4, Command::Release { origin: origin() }).words();
    assert_eq!(words, ["release", "refuse 3 withdrawn", "reply 4 changed=true durable=true"]);
    assert_eq!(script.command(5, apart(true)).words()[0], "hold 10s");
    assert_eq!(script.command(6, apart(true)).words(), ["refuse 6 in_progress"]);
    let hold = Command::Hold { timeout: Duration::from_secs(1), replace: false, origin: origin() };
    assert_eq!(script.command(7, hold).words(), ["refuse 7 in_progress"]);
}

#[test]
fn a_rollback_without_overlap_holds_too_and_waits_for_no_disk() {
    let mut script = Script::steady();
    script.switched();
    let back = Command::Rollback {
        to: None,
        if_generation: None,
        force: Force::ALL,
        dry_run: false,
        quarantine: false,
        overlap: Overlap::None,
        origin: origin(),
    };
    assert_eq!(script.command(1, back).words(), ["hold 10s", "empty None"]);
    let drain = script.drain_id();
    let words = script.at(0.1, Event::Emptied(drain)).words();
    assert_eq!(words, ["publish blue 3", "drain green", "release", "commit rollback blue", "write back blue"]);
}

#[test]
fn a_hold_by_hand_ends_by_itself_and_outlives_a_move_that_is_made_under_it() {
    let mut script = Script::steady();
    let hold = || Command::Hold { timeout: Duration::from_secs(60), replace: false, origin: origin() };
    let words = script.command(1, hold()).words();
    assert_eq!(words, ["hold 60s", "reply 1 changed=true durable=true", "commit hold blue"]);
    assert_eq!(script.command(2, apart(true)).words(), ["hold 60s", "empty None"]);
    let drain = script.drain_id();
    script.at(1.0, Event::Emptied(drain));
    let commit = script.commit_id();
    let words = script.at(1.1, Event::Committed(commit)).words();
    let expected =
        ["publish green 2", "drain blue", "hold 60s", "reply 2 changed=true durable=true", "write back green"];
    assert_eq!(words, expected);
    script.at(1.2, Event::WroteBack(Ok(Color::Green)));
    assert_eq!(script.at(60.0, Event::Tick).words(), ["release", "commit holdend green"]);
    assert_eq!(
        script.command(3, Command::Release { origin: origin() }).words(),
        ["reply 3 changed=false durable=true"]
    );
}

#[test]
fn maintenance_is_visible_at_once_and_part_of_every_later_decision() {
    let mut script = Script::steady();
    let words = script.command(1, Command::Maintain { on: true, origin: origin() }).words();
    assert_eq!(words, ["publish blue 2", "commit maintenance blue"]);
    let commit = script.commit_id();
    assert_eq!(script.at(0.1, Event::Committed(commit)).words(), ["reply 1 changed=true durable=true"]);
    let words = script.command(2, Command::Maintain { on: true, origin: origin() }).words();
    assert_eq!(words, ["reply 2 changed=false durable=true"]);
    script.switched();
    assert!(script.rollout.view().decision.maintenance, "a switch does not end it");
}
