//! Scripts: events in, and exactly the effects that come out. Orders that nobody thought of are the simulator's
//! (`tests/sim`).

use std::time::{Instant, SystemTime};

use super::*;
use crate::domain::color::PerColor;
use crate::domain::deployment::{Mode, OnClientErrors, OnInsufficient, OnUnsafe, Plan, Policy};
use crate::domain::force::Force;
use crate::domain::gate::{GatePolicy, Probed};
use crate::domain::schema::FirstWrite;
use crate::domain::split::Weight;
use crate::domain::transition::{FileOrder, InFlight};

mod automatic;
mod canary;
mod checks;
mod hold;
mod questions;
mod safety;
mod target;

/// A rollout, its clock, and its last effects.
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
        checks: Checks::default(),
        drain_timeout: Duration::from_secs(30),
        policy: policy(),
        secret: 0,
        hold_timeout: Duration::from_secs(10),
        targets: PerColor::default(),
        file_orders: true,
        order_window: Duration::from_secs(3_600),
        write_back: true,
        path: "cutover.toml".to_owned(),
    }
}

fn policy() -> Policy {
    let share = |percent: u16| Weight::new(percent * 100).expect("a share");
    Policy {
        plan: Plan {
            steps: [5, 25, 50].map(share).to_vec(),
            dwell: Duration::from_secs(30),
            max_step: Duration::from_secs(1_800),
            on_insufficient: OnInsufficient::Hold,
            holdback: Weight::NONE,
            bake: Duration::from_secs(900),
        },
        canary: Mode::Enforce,
        bake: Mode::Observe,
        cooldown: Duration::from_secs(600),
        on_unsafe: OnUnsafe::Hold,
        sticky: String::new(),
        on_client_errors: OnClientErrors::Back,
        switch_holdback: Weight::NONE,
    }
}

fn decision(seen: Color) -> Decision {
    Decision {
        known_good: Some(SystemTime::UNIX_EPOCH),
        seen: order(seen),
        ..Decision::first(Color::Blue, release(Color::Blue), SystemTime::UNIX_EPOCH)
    }
}

fn origin() -> Origin {
    Origin { trigger: Trigger::Api, actor: "ann".to_owned(), source: "unix".to_owned(), reason: None, key: None }
}

fn switch() -> Command {
    Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: Force::NONE,
        dry_run: false,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin: origin(),
    }
}

fn forced() -> Command {
    Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: Force::ALL,
        dry_run: false,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin: origin(),
    }
}

fn rollback() -> Command {
    Command::Rollback {
        to: None,
        if_generation: None,
        force: Force::NONE,
        dry_run: false,
        quarantine: false,
        overlap: Overlap::Allow,
        origin: origin(),
    }
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

    /// Blue serves by order of the file, and no move is under way.
    fn steady() -> Script {
        Script::new(Color::Blue, Color::Blue)
    }

    fn at(&mut self, seconds: f64, event: Event) -> &mut Script {
        self.seconds = seconds;
        self.effects.clear();
        self.rollout.handle(self.now(), event, &mut self.effects);
        self
    }

    fn now(&self) -> Now {
        let passed = Duration::from_secs_f64(self.seconds);
        Now { mono: self.start + passed, wall: SystemTime::UNIX_EPOCH + passed }
    }

    fn command(&mut self, id: u64, command: Command) -> &mut Script {
        self.at(self.seconds, Event::Command(CommandId(id), command))
    }

    /// The effects, in a word each.
    fn words(&self) -> Vec<String> {
        // Lines that move nothing have tests of their own.
        let told = |effect: &&Effect| !matches!(effect, Effect::Commit(_, line) if line.kind == Kind::Refused);
        self.effects
            .iter()
            .filter(told)
            .map(|effect| match effect {
                Effect::Probe { color, schema: false, .. } => format!("probe {color}"),
                Effect::Probe { color, schema: true, .. } => format!("probe {color} and stores"),
                Effect::Check { color, back: false, .. } => format!("check {color}"),
                Effect::Check { color, back: true, .. } => format!("check {color} for a rollback"),
                Effect::Commit(_, line) => format!("commit {:?} {}", line.kind, line.decision.active).to_lowercase(),
                Effect::Publish(decision) => format!("publish {} {}", decision.active, decision.generation),
                Effect::Drain(color, _) => format!("drain {color}"),
                Effect::Hold(until) => format!("hold {:?}", *until - self.start),
                Effect::Empty(_, end) => format!("empty {:?}", end.map(|end| end - self.start)),
                Effect::Release => "release".to_owned(),
                Effect::WriteBack(color) => format!("write back {color}"),
                Effect::Reply(id, Ok(outcome)) => {
                    format!("reply {} changed={} durable={}", id.0, outcome.changed, outcome.durable)
                }
                Effect::Reply(id, Err(refusal)) => format!("refuse {} {}", id.0, refusal.code()),
            })
            .collect()
    }

    fn round_id(&self) -> RoundId {
        let probe = self.effects.iter().find_map(|effect| {
            if let Effect::Probe { round, .. } | Effect::Check { round, .. } = effect { Some(*round) } else { None }
        });
        probe.expect("the gate is asked")
    }

    fn commit_id(&self) -> CommitId {
        let commit =
            self.effects.iter().find_map(|effect| if let Effect::Commit(id, _) = effect { Some(*id) } else { None });
        commit.expect("the ledger is written")
    }

    /// Green serves; blue served before.
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
    script.command(
        1,
        Command::Rollback {
            to: None,
            if_generation: None,
            force: Force::ALL,
            dry_run: false,
            quarantine: false,
            overlap: Overlap::Allow,
            origin: origin(),
        },
    );
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
    let stay = Command::Switch {
        to: Target::Color(Color::Blue),
        if_generation: None,
        force: Force::NONE,
        dry_run: false,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin: origin(),
    };
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
    assert_eq!(words, ["commit seen blue", "write back blue", "commit noted blue"]);
    assert!(matches!(script.rollout.view().order, OrderState::Refused(Refusal::Unhealthy(_))));
}

#[test]
fn words_that_were_overruled_are_no_order_after_a_restart_and_the_file_is_put_right() {
    let script = Script::new(Color::Green, Color::Green);
    assert_eq!(script.words(), ["write back blue", "commit noted blue"]);
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

impl Effect {
    fn line(&self) -> Option<&Transition> {
        if let Effect::Commit(_, line) = self { Some(line) } else { None }
    }
}

impl Script {
    /// Lines handed to the disk.
    fn lines(&self) -> Vec<&Transition> {
        self.effects.iter().filter_map(Effect::line).collect()
    }

    /// Acknowledges the lines.
    fn written(&mut self) -> &mut Script {
        let commit = |effect: &Effect| match effect {
            Effect::Commit(id, _) => Some(*id),
            _ => None,
        };
        for commit in self.effects.iter().filter_map(commit).collect::<Vec<_>>() {
            self.at(self.seconds, Event::Committed(commit));
        }
        self
    }

    fn probed(&mut self, passed: bool) -> &mut Script {
        let asked = |effect: &Effect| if let Effect::Probe { round, .. } = effect { Some(*round) } else { None };
        let id = self.effects.iter().find_map(asked).expect("something is probed");
        self.at(self.seconds, Event::Probed(id, round(passed)))
    }
}

fn freeze(until: Option<u64>) -> Command {
    let reason = Some("the fair".to_owned());
    let until = until.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    Command::Freeze { until, replace: true, origin: Origin { reason, ..origin() } }
}

fn unfreeze() -> Command {
    Command::Unfreeze { origin: origin() }
}

fn quarantining() -> Command {
    let origin = Origin { reason: Some("slow".to_owned()), ..origin() };
    Command::Rollback {
        to: None,
        if_generation: None,
        force: Force::ALL,
        dry_run: false,
        quarantine: true,
        overlap: Overlap::Allow,
        origin,
    }
}

#[test]
fn a_refused_attempt_is_written_down_once_a_minute_with_who_what_and_why() {
    let mut script = Script::steady();
    script.command(1, rollback());
    let [line] = script.lines()[..] else { panic!("one line: {:?}", script.lines()) };
    assert_eq!((line.kind, line.origin.actor.as_str()), (Kind::Refused, "ann"));
    assert_eq!(line.refusal.as_ref().expect("why").0, "no_known_good");
    let asked = line.asked.as_ref().expect("what");
    assert_eq!((asked.kind, asked.to.clone()), (Kind::Rollback, Some((Color::Green, release(Color::Green)))));
    assert_eq!(line.decision.generation, Generation(1), "nothing has changed");
    assert!(script.command(2, rollback()).lines().is_empty(), "the same attempt again");
    script.seconds = 61.0;
    assert_eq!(script.command(3, rollback()).lines().len(), 1);
}

#[test]
fn a_job_that_asks_each_second_for_what_is_refused_writes_a_line_an_hour() {
    let mut script = Script::steady();
    let mut lines = Vec::new();
    for second in 0..24 * 3_600_u32 {
        script.seconds = f64::from(second);
        // Each attempt comes from another port, with another reason.
        let source = format!("127.0.0.1:{}", 1_024 + second % 60_000);
        let origin = Origin { source, reason: Some(format!("try {second}")), ..origin() };
        let asked = Command::Rollback {
            to: None,
            if_generation: None,
            force: Force::NONE,
            dry_run: false,
            quarantine: false,
            overlap: Overlap::Allow,
            origin,
        };
        lines.extend(script.command(u64::from(second), asked).lines().iter().map(|line| (*line).clone()));
    }
    assert!((24..35).contains(&lines.len()), "{} lines in a day", lines.len());
    let told = lines.last().and_then(|line| line.refusal.clone()).expect("a refusal").1;
    assert!(told.contains("(and 3599 more times since the last line about it)"), "{told}");
}

#[test]
fn a_refused_attempt_that_the_disk_did_not_take_is_written_when_it_does() {
    let mut script = Script::steady();
    script.command(1, forced());
    let switch = script.commit_id();
    script.at(1.0, Event::CommitFailed(switch, "full".to_owned()));
    let refused = script.commit_id();
    script.at(1.1, Event::CommitFailed(refused, "full".to_owned()));
    assert!(script.lines().is_empty(), "not at once, and again and again");
    // A successful write shows that the disk has recovered.
    script.command(2, maintenance());
    let maintained = script.commit_id();
    script.at(2.0, Event::Committed(maintained));
    let [line] = script.lines()[..] else { panic!("one line: {:?}", script.lines()) };
    assert_eq!((line.kind, line.refusal.as_ref().expect("why").0.as_str()), (Kind::Refused, "not_durable"));
    assert!(line.decision.maintenance, "with what is in force now");
}

#[test]
fn while_a_disk_hangs_nobody_is_woken_for_what_has_to_wait_for_it() {
    let mut script = Script::steady();
    script.command(1, forced());
    let switch = script.commit_id();
    script.at(1.0, Event::CommitFailed(switch, "full".to_owned()));
    let refused = script.commit_id();
    script.at(1.1, Event::CommitFailed(refused, "full".to_owned()));
    // Its line is never acknowledged.
    script.command(2, maintenance());
    script.at(100.0, Event::Tick);
    let next = script.rollout.deadline();
    assert!(next.is_none_or(|at| at > script.start + Duration::from_secs(100)), "{next:?}");
}

#[test]
fn a_disk_that_is_well_again_is_known_within_a_second_also_where_nothing_has_to_be_written() {
    let mut script = Script::steady();
    // The refusal is on disk, and is not repeated for a minute.
    script.command(1, forced());
    let switch = script.commit_id();
    script.at(0.1, Event::CommitFailed(switch, "full".to_owned())).written();
    script.command(2, forced());
    let switch = script.commit_id();
    script.at(0.2, Event::CommitFailed(switch, "full".to_owned()));
    assert!(script.lines().is_empty(), "{:?}", script.lines());
    for second in 1..=20 {
        let due = script.rollout.deadline().expect("it is tried again");
        let at = (due - script.start).as_secs_f64();
        assert!(at <= script.seconds + 1.0, "{at} after {} ({second})", script.seconds);
        script.at(at, Event::Tick);
        let again = script.commit_id();
        script.at(at, Event::CommitFailed(again, "full".to_owned()));
    }
    let at = (script.rollout.deadline().expect("it is tried again") - script.start).as_secs_f64();
    script.at(at, Event::Tick).written();
    assert!(script.rollout.deadline().is_none_or(|next| next > script.start + Duration::from_secs(60)));
}

fn maintenance() -> Command {
    Command::Maintain { on: true, origin: origin() }
}

#[test]
fn a_rollback_that_is_forced_does_not_wait_for_one_whose_gate_hangs() {
    let mut script = Script::steady();
    script.switched();
    assert_eq!(script.command(1, rollback()).words(), ["probe blue"]);
    assert_eq!(script.command(2, rollback()).words(), ["refuse 2 in_progress"]);
    let Some(Effect::Reply(_, Err(refusal))) = script.effects.first() else { panic!("{:?}", script.effects) };
    assert_eq!(
        refusal.to_string(),
        "ann's rollback to blue (1) runs since 1970-01-01T00:00:00Z; to see when it is done: `cutover status`"
    );
    let words = script.command(3, quarantining()).words();
    assert_eq!(words[..2], ["refuse 1 withdrawn".to_owned(), "publish blue 3".to_owned()], "{words:?}");
}

#[test]
fn while_a_move_is_written_other_lines_wait_behind_it() {
    let mut script = Script::steady();
    script.command(1, forced());
    assert_eq!(script.lines().len(), 1);
    let Some(Effect::Commit(commit, _)) = script.effects.iter().find(|effect| matches!(effect, Effect::Commit(..)))
    else {
        panic!("{:?}", script.effects)
    };
    let commit = *commit;
    script.command(2, rollback_to(9));
    assert!(script.lines().is_empty(), "its decision may not stand behind that of the move");
    script.at(1.0, Event::Committed(commit));
    assert_eq!(
        script.lines().iter().map(|line| (line.kind, line.decision.active)).collect::<Vec<_>>(),
        [(Kind::Refused, Color::Green)]
    );
}

fn rollback_to(generation: u64) -> Command {
    let if_generation = Some(Generation(generation));
    Command::Rollback {
        to: None,
        if_generation,
        force: Force::NONE,
        dry_run: false,
        quarantine: false,
        overlap: Overlap::Allow,
        origin: origin(),
    }
}

#[test]
fn a_release_is_known_good_after_its_bake_and_only_then_is_it_a_way_back() {
    let mut script = Script::steady();
    script.command(1, forced()).written();
    assert_eq!(script.rollout.view().decision.known_good, None);
    // Forward to the known-good release again: the release that is left now is not known good.
    script.command(2, forced()).written();
    assert!(script.rollout.view().decision.known_good.is_some(), "blue was good before");
    assert_eq!(script.command(3, rollback()).words(), ["refuse 3 no_known_good"]);
    // The same, after the bake.
    script.command(4, forced()).written();
    script.at(899.0, Event::Tick);
    assert_eq!(script.rollout.view().decision.known_good, None);
    script.at(900.1, Event::Tick);
    assert_eq!(script.lines().iter().map(|line| line.kind).collect::<Vec<_>>(), [Kind::KnownGood]);
    script.command(5, forced()).written();
    assert_eq!(script.command(6, rollback()).words(), ["probe green"]);
}

#[test]
fn a_bake_begins_anew_with_the_process() {
    let mut effects = Vec::new();
    let now = Now { mono: Instant::now(), wall: SystemTime::UNIX_EPOCH };
    let decision = Decision { known_good: None, ..decision(Color::Blue) };
    let mut rollout = Rollout::new(now, decision, true, configured(Color::Blue), &mut effects);
    assert_eq!(rollout.deadline(), Some(now.mono + Duration::from_secs(900)));
    let later = Now { mono: now.mono + Duration::from_secs(900), wall: now.wall };
    rollout.handle(later, Event::Tick, &mut effects);
    assert!(rollout.view().decision.known_good.is_some());
}

#[test]
fn frozen_means_that_nothing_but_a_rollback_moves() {
    let mut script = Script::steady();
    script.command(1, forced()).written();
    assert_eq!(script.command(2, freeze(None)).words(), ["commit freeze green"]);
    assert_eq!(script.written().words(), ["reply 2 changed=true durable=true"]);
    assert_eq!(script.command(3, switch()).words(), ["refuse 3 frozen"]);
    assert_eq!(script.command(4, forced()).words(), ["refuse 4 frozen"], "force is no way around it");
    let mut edited = configured(Color::Blue);
    edited.write_back = false;
    script.at(1.0, Event::Configured(configured(Color::Green)));
    assert_eq!(script.at(2.0, Event::Configured(edited)).words(), ["commit seen green"]);
    assert!(matches!(script.rollout.view().order, OrderState::Refused(Refusal::Frozen(_))));
    assert_eq!(script.command(5, rollback()).words(), ["probe blue"]);
    script.probed(true);
    assert_eq!(script.rollout.view().decision.active, Color::Blue);
    assert!(script.rollout.view().decision.freeze.is_some(), "it stays frozen");
    script.written();
    script.command(6, unfreeze()).written();
    assert_eq!(script.command(7, switch()).words(), ["probe green"]);
    assert_eq!(script.command(8, unfreeze()).words(), ["reply 8 changed=false durable=true"]);
}

#[test]
fn a_freeze_stops_what_is_at_its_gate_and_ends_at_its_time() {
    let mut script = Script::steady();
    script.command(1, switch());
    let words = script.command(2, freeze(Some(60))).words();
    assert_eq!(words, ["refuse 1 frozen", "commit freeze blue"]);
    script.written();
    script.at(59.0, Event::Tick);
    assert!(script.rollout.view().decision.freeze.is_some());
    script.at(60.0, Event::Tick);
    assert_eq!(script.rollout.view().decision.freeze, None);
    assert_eq!(script.lines().last().map(|line| line.kind), Some(Kind::Unfreeze));
}

#[test]
fn a_freeze_is_in_force_also_where_the_disk_does_not_write() {
    let mut script = Script::steady();
    script.command(1, freeze(None));
    assert_eq!(script.command(2, switch()).words(), ["refuse 2 frozen"]);
    assert_eq!(script.at(1.0, Event::Tick).words(), ["reply 1 changed=true durable=false"]);
}

#[test]
fn a_release_that_was_taken_back_as_bad_is_refused_until_it_is_forced_or_replaced() {
    let mut script = Script::steady();
    script.command(1, forced()).written();
    script.command(2, quarantining()).written();
    let quarantine = script.rollout.view().decision.quarantine;
    assert_eq!(
        quarantine.iter().map(|bad| (bad.release.as_str(), bad.reason.as_str())).collect::<Vec<_>>(),
        [("2", "slow")]
    );
    assert_eq!(script.command(3, switch()).words(), ["refuse 3 quarantined"]);
    // Another quarantined release may come.
    let mut replaced = configured(Color::Blue);
    replaced.deployed[Color::Green] = Release::new("2.1");
    script.at(1.0, Event::Configured(replaced));
    assert_eq!(script.command(4, switch()).words(), ["probe green"]);
    script.command(5, rollback());
    script.at(2.0, Event::Configured(configured(Color::Blue)));
    script.command(6, forced()).written();
    assert_eq!(script.rollout.view().decision.active, Color::Green);
    assert!(script.rollout.view().decision.quarantine.is_empty(), "who forces it takes it out");
}

#[test]
fn the_end_of_a_drain_is_written_down() {
    let mut script = Script::steady();
    script.command(1, forced()).written();
    let drained = crate::domain::transition::Drained {
        color: Color::Blue,
        took: Duration::from_secs(3),
        ended: InFlight { requests: 2, ..InFlight::default() },
        timed_out: true,
    };
    script.at(3.0, Event::Drained(drained.clone()));
    let [line] = script.lines()[..] else { panic!("one line: {:?}", script.lines()) };
    assert_eq!((line.kind, line.drained.as_ref()), (Kind::Drained, Some(&drained)));
}

fn blue_drained() -> Event {
    let (took, ended) = (Duration::from_millis(1), InFlight::default());
    Event::Drained(crate::domain::transition::Drained { color: Color::Blue, took, ended, timed_out: false })
}

#[test]
fn a_drain_that_ends_during_the_write_back_shares_its_line() {
    let mut script = Script::steady();
    script.command(1, forced());
    let commit = script.commit_id();
    assert!(script.at(0.1, Event::Committed(commit)).words().contains(&"write back green".to_owned()));
    assert_eq!(script.at(0.2, blue_drained()).words(), [""; 0]);
    assert_eq!(script.at(0.3, Event::WroteBack(Ok(Color::Green))).words(), ["commit drained green"]);
    assert_eq!(script.lines()[0].decision.seen.active, Color::Green);
    let commit = script.commit_id();
    assert_eq!(script.at(0.4, Event::Committed(commit)).words(), [""; 0], "nothing else is to be noted");
}

#[test]
fn so_it_does_after_a_rollback_whose_line_is_written_first() {
    let mut script = Script::steady();
    script.switched();
    script.command(2, rollback());
    let id = script.round_id();
    script.at(0.1, Event::Probed(id, round(true)));
    let commit = script.commit_id();
    assert_eq!(script.at(0.2, Event::Committed(commit)).words(), ["reply 2 changed=true durable=true"]);
    assert_eq!(script.at(0.2, blue_drained()).words(), [""; 0]);
    assert_eq!(script.at(0.3, Event::WroteBack(Ok(Color::Blue))).words(), ["commit drained blue"]);
}

#[test]
fn a_drain_waits_a_second_for_a_write_back_that_hangs_and_not_beyond_the_end() {
    let drained = || {
        let mut script = Script::steady();
        script.command(1, forced());
        let commit = script.commit_id();
        script.at(0.1, Event::Committed(commit));
        assert_eq!(script.at(0.2, blue_drained()).words(), [""; 0]);
        script
    };
    let mut script = drained();
    let due = (script.rollout.deadline().expect("it is written some time") - script.start).as_secs_f64();
    assert!((due - 1.1).abs() < 0.001, "{due}");
    assert_eq!(script.at(due, Event::Tick).words(), ["commit drained green"]);
    let mut script = drained();
    let (now, mut last) = (script.now(), Vec::new());
    script.rollout.write_waiting_records(now, &mut last);
    assert!(matches!(&last[..], [Effect::Commit(_, line)] if line.kind == Kind::Drained), "{last:?}");
}

#[test]
fn other_lines_do_not_wait_for_a_write_back() {
    let mut script = Script::steady();
    script.command(1, forced());
    let commit = script.commit_id();
    script.at(0.1, Event::Committed(commit));
    script.at(0.2, blue_drained());
    script.command(2, rollback_to(9));
    let kinds: Vec<Kind> = script.lines().iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [Kind::Drained, Kind::Refused]);
}
