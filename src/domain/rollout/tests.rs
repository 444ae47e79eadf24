//! Scripts: what goes in, and exactly what comes out. The orders nobody thought of are the simulator's (`tests/sim`).

use std::time::{Instant, SystemTime};

use super::*;
use crate::domain::color::PerColor;
use crate::domain::gate::GatePolicy;
use crate::domain::transition::FileOrder;

mod safety;

/// A rollout, its clock, and what came out last.
struct Script {
    rollout: Rollout,
    start: Instant,
    seconds: f64,
    effects: Vec<Effect>,
}

fn release(color: Color) -> Release {
    Release::new(if color == Color::Blue { "1" } else { "2" })
}

fn order(color: Color) -> FileOrder {
    FileOrder { active: color, release: release(color) }
}

fn configured(active: Color) -> Configured {
    Configured {
        order: order(active),
        deployed: PerColor::from_fn(release),
        schema: PerColor::default(),
        probed: PerColor::default(),
        gate: GatePolicy { quorum_percent: 100, passes: 2, timeout: Duration::from_secs(5) },
        drain_timeout: Duration::from_secs(30),
        write_back: true,
        path: "cutover.toml".to_owned(),
    }
}

fn decision(seen: Color) -> Decision {
    Decision {
        generation: Generation(1),
        active: Color::Blue,
        release: release(Color::Blue),
        since: SystemTime::UNIX_EPOCH,
        previous: None,
        seen: order(seen),
        lineage: Lineage::default(),
    }
}

fn origin() -> Origin {
    Origin { trigger: Trigger::Api, actor: "ann".to_owned(), source: "unix".to_owned(), reason: None }
}

fn switch() -> Command {
    Command::Switch { to: None, if_generation: None, force: false, dry_run: false, origin: origin() }
}

fn forced() -> Command {
    Command::Switch { to: None, if_generation: None, force: true, dry_run: false, origin: origin() }
}

fn rollback() -> Command {
    Command::Rollback { if_generation: None, force: false, origin: origin() }
}

fn round(passed: bool) -> Vec<Probed> {
    let detail = if passed { "200" } else { "503" }.to_owned();
    vec![Probed {
        upstream: "default".to_owned(),
        endpoint: "127.0.0.1:1".to_owned(),
        passed,
        detail,
        at: SystemTime::UNIX_EPOCH,
        took: Duration::ZERO,
    }]
}

impl Script {
    fn new(file: Color, seen: Color) -> Script {
        let start = Instant::now();
        let mut effects = Vec::new();
        let now = Now { mono: start, wall: SystemTime::UNIX_EPOCH };
        let rollout = Rollout::new(now, decision(seen), true, configured(file), &mut effects);
        Script { rollout, start, seconds: 0.0, effects }
    }

    /// Blue serves, the file says so, and nothing is under way.
    fn steady() -> Script {
        Script::new(Color::Blue, Color::Blue)
    }

    fn at(&mut self, seconds: f64, event: Event) -> &mut Script {
        self.seconds = seconds;
        let passed = Duration::from_secs_f64(seconds);
        let now = Now { mono: self.start + passed, wall: SystemTime::UNIX_EPOCH + passed };
        self.effects.clear();
        self.rollout.handle(now, event, &mut self.effects);
        self
    }

    fn command(&mut self, id: u64, command: Command) -> &mut Script {
        self.at(self.seconds, Event::Command(CommandId(id), command))
    }

    /// What came out, in a word each.
    fn words(&self) -> Vec<String> {
        self.effects
            .iter()
            .map(|effect| match effect {
                Effect::Probe { color, schema: false, .. } => format!("probe {color}"),
                Effect::Probe { color, schema: true, .. } => format!("probe {color} and stores"),
                Effect::Commit(_, line) => format!("commit {:?} {}", line.kind, line.decision.active).to_lowercase(),
                Effect::Publish(decision) => format!("publish {} {}", decision.active, decision.generation),
                Effect::Drain(color, _) => format!("drain {color}"),
                Effect::WriteBack(color) => format!("write back {color}"),
                Effect::Reply(id, Ok(outcome)) => {
                    format!("reply {} changed={} durable={}", id.0, outcome.changed, outcome.durable)
                }
                Effect::Reply(id, Err(refusal)) => format!("refuse {} {}", id.0, refusal.code()),
            })
            .collect()
    }

    fn round_id(&self) -> RoundId {
        let probe = self
            .effects
            .iter()
            .find_map(|effect| if let Effect::Probe { round, .. } = effect { Some(*round) } else { None });
        probe.expect("the gate is asked")
    }

    fn commit_id(&self) -> CommitId {
        let commit =
            self.effects.iter().find_map(|effect| if let Effect::Commit(id, _) = effect { Some(*id) } else { None });
        commit.expect("the ledger is written")
    }

    /// Green serves; blue did before.
    fn switched(&mut self) -> &mut Script {
        self.command(90, forced());
        let commit = self.commit_id();
        self.at(self.seconds, Event::Committed(commit));
        self.at(self.seconds, Event::WroteBack(Ok(Color::Green)))
    }
}

#[test]
fn a_switch_asks_the_gate_until_it_passed_often_enough_then_writes_then_shows_then_answers() {
    let mut script = Script::steady();
    assert_eq!(script.command(1, switch()).words(), ["probe green"]);
    let first = script.round_id();
    assert_eq!(script.at(0.1, Event::Probed(first, round(true))).words(), [""; 0]);
    assert_eq!(script.at(0.35, Event::Tick).words(), ["probe green"]);
    let second = script.round_id();
    assert_eq!(script.at(0.4, Event::Probed(second, round(true))).words(), ["commit switch green"]);
    let commit = script.commit_id();
    let words = script.at(0.5, Event::Committed(commit)).words();
    assert_eq!(words, ["publish green 2", "drain blue", "reply 1 changed=true durable=true", "write back green"]);
    assert_eq!(script.at(0.6, Event::WroteBack(Ok(Color::Green))).words(), ["commit noted green"]);
}

#[test]
fn a_gate_that_stays_shut_refuses_with_what_it_saw_when_its_time_is_up() {
    let mut script = Script::steady();
    script.command(1, switch());
    let first = script.round_id();
    script.at(4.9, Event::Probed(first, round(false)));
    assert_eq!(script.at(5.0, Event::Tick).words(), ["refuse 1 unhealthy"]);
    let Some(Effect::Reply(_, Err(Refusal::Unhealthy(report)))) = script.effects.first() else { panic!("refused") };
    assert_eq!(report.endpoints[0].detail, "503");
    assert_eq!(script.rollout.view().decision.active, Color::Blue);
}

#[test]
fn a_gate_that_is_never_answered_refuses_all_the_same() {
    let mut script = Script::steady();
    script.command(1, switch());
    assert_eq!(script.at(5.0, Event::Tick).words(), ["refuse 1 unhealthy"]);
}

#[test]
fn a_pass_after_a_failure_counts_from_one() {
    let mut script = Script::steady();
    script.command(1, switch());
    for (second, passed) in [(0.0, true), (0.3, false), (0.6, true)] {
        let id = script.round_id();
        assert_eq!(script.at(second, Event::Probed(id, round(passed))).words(), [""; 0]);
        script.at(second + 0.25, Event::Tick);
    }
    let id = script.round_id();
    assert_eq!(script.at(0.9, Event::Probed(id, round(true))).words(), ["commit switch green"]);
}

#[test]
fn a_line_that_cannot_be_written_refuses_the_switch_and_nothing_moved() {
    let mut script = Script::steady();
    script.command(1, forced());
    let commit = script.commit_id();
    assert_eq!(script.at(0.1, Event::CommitFailed(commit, "full".to_owned())).words(), ["refuse 1 not_durable"]);
    assert_eq!(script.at(0.2, Event::Committed(commit)).words(), [""; 0], "a late acknowledgement belongs to nobody");
    assert_eq!(script.rollout.view().decision.generation, Generation(1));
}

#[test]
fn a_rollback_is_visible_before_it_is_written_and_answered_when_it_is() {
    let mut script = Script::steady();
    script.switched();
    assert_eq!(script.command(1, rollback()).words(), ["probe blue"]);
    let id = script.round_id();
    let words = script.at(0.1, Event::Probed(id, round(true))).words();
    assert_eq!(words, ["publish blue 3", "drain green", "commit rollback blue", "write back blue"]);
    assert!(!script.rollout.view().durable);
    let commit = script.commit_id();
    assert_eq!(script.at(0.2, Event::Committed(commit)).words(), ["reply 1 changed=true durable=true"]);
    assert!(script.rollout.view().durable);
}

#[test]
fn a_rollback_does_not_wait_for_a_disk_and_is_written_again_until_it_is() {
    let mut script = Script::steady();
    script.switched();
    script.command(1, Command::Rollback { if_generation: None, force: true, origin: origin() });
    let commit = script.commit_id();
    script.at(0.0, Event::WroteBack(Ok(Color::Blue)));
    assert_eq!(script.at(0.25, Event::Tick).words(), ["reply 1 changed=true durable=false"]);
    assert_eq!(script.at(1.0, Event::CommitFailed(commit, "full".to_owned())).words(), [""; 0]);
    assert_eq!(script.rollout.deadline(), Some(script.start + Duration::from_secs(2)));
    assert_eq!(script.at(2.0, Event::Tick).words(), ["commit rollback blue"]);
    let again = script.commit_id();
    assert_eq!(script.at(2.1, Event::Committed(commit)).words(), [""; 0], "the first try's word comes too late");
    assert!(!script.rollout.view().durable);
    script.at(2.2, Event::Committed(again));
    assert!(script.rollout.view().durable);
}

#[test]
fn an_unhealthy_way_back_is_refused_at_once() {
    let mut script = Script::steady();
    script.switched();
    script.command(1, rollback());
    let id = script.round_id();
    assert_eq!(script.at(0.1, Event::Probed(id, round(false))).words(), ["refuse 1 unhealthy"]);
}

#[test]
fn a_rollback_calls_a_switch_at_its_gate_off_and_one_that_is_being_written_is_overruled_on_disk() {
    let mut script = Script::steady();
    script.command(1, switch());
    assert_eq!(script.command(2, rollback()).words(), ["refuse 1 withdrawn", "reply 2 changed=false durable=true"]);

    script.command(3, forced());
    let switching = script.commit_id();
    let words = script.command(4, rollback()).words();
    let expected =
        ["publish blue 3", "commit rollback blue", "refuse 3 withdrawn", "reply 4 changed=false durable=false"];
    assert_eq!(words, expected);
    assert_eq!(script.at(0.1, Event::Committed(switching)).words(), [""; 0], "it must not come into force any more");
    assert_eq!(script.rollout.view().decision.active, Color::Blue);
}

#[test]
fn a_second_switch_is_in_progress_and_one_to_the_live_color_is_nothing_to_do() {
    let mut script = Script::steady();
    script.command(1, switch());
    assert_eq!(script.command(2, switch()).words(), ["refuse 2 in_progress"]);
    let stay =
        Command::Switch { to: Some(Color::Blue), if_generation: None, force: false, dry_run: false, origin: origin() };
    assert_eq!(script.command(3, stay).words(), ["reply 3 changed=false durable=true"]);
}

#[test]
fn an_edit_is_an_order_and_the_newest_words_win_over_those_at_the_gate() {
    let mut script = Script::steady();
    assert_eq!(script.at(0.0, Event::Configured(configured(Color::Green))).words(), ["probe green"]);
    assert_eq!(script.rollout.view().order, OrderState::Pending);
    let words = script.at(0.1, Event::Configured(configured(Color::Blue))).words();
    assert_eq!(words, ["commit seen blue", "commit seen blue"], "the withdrawn one, and that there is nothing to do");
    assert_eq!(script.rollout.view().order, OrderState::Done);
}

#[test]
fn a_refused_order_is_written_down_and_the_file_put_right() {
    let mut script = Script::steady();
    script.at(0.0, Event::Configured(configured(Color::Green)));
    let words = script.at(5.0, Event::Tick).words();
    assert_eq!(words, ["commit seen blue", "write back blue"]);
    assert!(matches!(script.rollout.view().order, OrderState::Refused(Refusal::Unhealthy(_))));
}

#[test]
fn words_that_were_overruled_are_no_order_after_a_restart_and_the_file_is_put_right() {
    let script = Script::new(Color::Green, Color::Green);
    assert_eq!(script.words(), ["write back blue"]);
    let script = Script::new(Color::Green, Color::Blue);
    assert_eq!(script.words(), ["probe green"], "an edit while it was down is one");
}

#[test]
fn a_file_that_was_put_right_is_noted_so_that_a_restart_can_tell_the_next_edit() {
    let mut script = Script::steady();
    script.switched();
    let Some(Effect::Commit(_, line)) = script.effects.first() else { panic!("it is noted: {:?}", script.effects) };
    assert_eq!((line.kind, &line.decision.seen), (Kind::Noted, &order(Color::Green)));
}

#[test]
fn another_release_under_the_live_color_is_a_generation_and_moves_nothing() {
    let mut script = Script::steady();
    let mut edited = configured(Color::Blue);
    edited.order.release = Release::new("1.1");
    edited.deployed[Color::Blue] = Release::new("1.1");
    assert_eq!(script.at(0.0, Event::Configured(edited)).words(), ["probe blue"]);
    let id = script.round_id();
    script.at(0.1, Event::Probed(id, round(true)));
    script.at(0.4, Event::Tick);
    let id = script.round_id();
    script.at(0.5, Event::Probed(id, round(true)));
    let commit = script.commit_id();
    assert_eq!(script.at(0.6, Event::Committed(commit)).words(), ["publish blue 2"]);
}
