//! Canaries: commands, and automatic steps by verdict and time.

use super::*;
use crate::domain::deployment::{Deployment, DeploymentId, Stage, Wishes};
use crate::domain::verdict::{Class, Finding, Judgement, Sample, Verdict};

pub(super) fn start() -> Command {
    Command::CanaryStart {
        wishes: Wishes::default(),
        if_generation: None,
        force: Force::NONE,
        terms: Terms::default(),
        origin: origin(),
    }
}

fn advance(full: bool) -> Command {
    Command::CanaryAdvance { full, if_generation: None, terms: Terms::default(), origin: origin() }
}

pub(super) fn abort() -> Command {
    Command::CanaryAbort { quarantine: false, origin: origin() }
}

pub(super) fn judged(verdict: Verdict) -> Event {
    judged_of(2, verdict)
}

pub(super) fn judged_of(deployment: u64, verdict: Verdict) -> Event {
    let sample = |bad| Sample::new(100, bad, None);
    let finding = Finding {
        class: Class::Error,
        route: None,
        event: None,
        candidate: sample(8),
        stable: sample(0),
        evidence: 18_400,
    };
    let judgement = Judgement {
        verdict,
        evidence: 18_400,
        limit: 1_000,
        findings: vec![finding],
        needs: None,
        hold: 1,
        withdraws: false,
        veto: None,
        baseline_unhealthy: false,
        without_control: false,
        exposed: 100,
        harmed: 8,
        misses_files: false,
    };
    Event::Judged(DeploymentId(deployment), Box::new(judgement))
}

impl Script {
    /// Both colors are healthy, and the forward move succeeds.
    pub(super) fn through(&mut self, event: Event) -> &mut Script {
        self.at(self.seconds, event);
        for _ in 0..2 {
            let probe = self.effects.iter().find_map(|effect| match effect {
                Effect::Probe { round, .. } => Some(*round),
                _ => None,
            });
            if let Some(round_id) = probe {
                self.at(self.seconds, Event::Probed(round_id, round(true)));
            }
            if matches!(self.rollout.state, State::Gating(..)) {
                self.at(self.seconds + 0.25, Event::Tick);
            }
        }
        let commit = self.commit_id();
        self.at(self.seconds, Event::Committed(commit))
    }

    /// Green has the weight of its first step.
    pub(super) fn canary() -> Script {
        let mut script = Script::steady();
        for color in Color::ALL {
            script.at(0.0, Event::Fitness(color, Fitness::Fit));
        }
        script.through(Event::Command(CommandId(1), start()));
        script
    }

    pub(super) fn deployment(&self) -> Option<Deployment> {
        self.rollout.view().decision.deployment
    }

    fn share(&self) -> u16 {
        self.deployment().expect("on its way").weight.basis_points()
    }

    pub(super) fn line(&self) -> &Transition {
        let line = self.effects.iter().find_map(|effect| match effect {
            Effect::Commit(_, line) => Some(line),
            _ => None,
        });
        line.expect("a line")
    }
}

#[test]
fn a_canary_is_a_share_and_leaves_the_color_that_serves() {
    let mut script = Script::steady();
    assert_eq!(script.command(1, start()).words(), ["probe green"]);
    let mut script = Script::canary();
    assert_eq!(script.words(), ["publish blue 2", "reply 1 changed=true durable=true"]);
    let deployment = script.deployment().expect("it began");
    assert_eq!((deployment.stage, deployment.id, script.share()), (Stage::Step(0), DeploymentId(2), 500));
    assert_eq!(script.rollout.view().phase, Phase::Canary { to: Color::Green });
    assert_eq!(script.command(2, start()).words(), ["refuse 2 in_progress"]);
    // A rollback is always possible, and goes to the color with most of the traffic.
    assert_eq!(script.rollout.view().rollback.map(|to| to.color), Ok(Color::Blue));
}

#[test]
fn with_evidence_and_its_dwell_behind_it_a_step_goes_on_by_itself_up_to_the_bake() {
    let mut script = Script::canary();
    let began = script.seconds;
    assert_eq!(script.at(began + 10.0, judged(Verdict::Pass)).words(), [""; 0], "it has not lasted for its dwell");
    script.seconds = began + 30.0;
    script.through(Event::Tick);
    assert_eq!((script.words()[0].as_str(), script.share()), ("publish blue 3", 2_500));
    // The proof of 5 % is none for 25 %.
    assert_eq!(script.at(script.seconds + 40.0, Event::Tick).words(), [""; 0]);
    script.through(judged(Verdict::Pass));
    assert_eq!(script.share(), 5_000);
    script.seconds += 31.0;
    script.through(judged(Verdict::Pass));
    assert_eq!(script.words()[..2], ["publish green 5", "drain blue"]);
    let deployment = script.deployment().expect("it bakes");
    assert_eq!((deployment.stage, deployment.weight, deployment.mode), (Stage::Bake, Weight::ALL, Mode::Enforce));
    script.at(script.seconds + 900.0, Event::Tick);
    assert_eq!((script.deployment(), script.rollout.view().phase), (None, Phase::Steady));
    assert!(script.rollout.view().decision.known_good.is_some());
}

#[test]
fn a_hold_and_a_suspicion_stop_it_and_nothing_else() {
    let mut script = Script::canary();
    script.command(2, Command::CanaryHold { origin: origin() });
    assert_eq!(script.line().kind, Kind::CanaryHold);
    script.at(40.0, judged(Verdict::Pass));
    assert_eq!(script.rollout.view().progress.and_then(|progress| progress.stopped), Some(Stopped::Held));
    assert!(!matches!(script.rollout.state, State::Gating(..)));
    script.command(3, Command::CanaryResume { origin: origin() });
    script.at(75.0, judged(Verdict::Suspect));
    assert_eq!(script.at(75.0, judged(Verdict::Suspect)).effects, [], "it is said once");
    assert!(!matches!(script.rollout.state, State::Gating(..)));
    script.through(judged(Verdict::Pass));
    assert_eq!(script.share(), 2_500);
}

#[test]
fn without_a_proof_it_stays_where_it_is_and_says_so_once() {
    let mut script = Script::canary();
    script.at(1_900.0, Event::Tick);
    assert_eq!(script.line().kind, Kind::CanaryHold);
    let held = script.deployment().and_then(|deployment| deployment.held).expect("held");
    assert_eq!((held.by.as_str(), script.share()), ("automatic", 500));
    assert_eq!(script.at(4_000.0, Event::Tick).effects, []);
}

#[test]
fn a_baseline_that_fails_as_well_stops_it_and_is_told_once() {
    let mut script = Script::canary();
    let Event::Judged(id, mut judgement) = judged(Verdict::Pass) else { unreachable!("it is one") };
    judgement.baseline_unhealthy = true;
    script.at(60.0, Event::Judged(id, judgement.clone()));
    assert_eq!(script.line().kind, Kind::BaselineUnhealthy);
    assert_eq!(script.at(61.0, Event::Judged(id, judgement)).effects, []);
}

#[test]
fn an_abort_waits_for_nothing_also_while_a_step_is_being_written() {
    let mut script = Script::canary();
    script.command(2, advance(false));
    for _ in 0..2 {
        let asked = script.round_id();
        script.at(script.seconds, Event::Probed(asked, round(true)));
        if script.effects.is_empty() {
            script.at(script.seconds + 0.25, Event::Tick);
        }
    }
    assert!(matches!(script.rollout.state, State::Committing(..)));
    let words = script.command(3, abort()).words();
    assert_eq!(words, ["publish blue 4", "drain green", "commit abort blue", "refuse 2 withdrawn"]);
    assert_eq!(script.deployment(), None);
    let commit = script.commit_id();
    assert_eq!(script.at(script.seconds, Event::Committed(commit)).words(), ["reply 3 changed=true durable=true"]);
    let words = script.command(4, abort()).words();
    assert_eq!(words, ["reply 4 changed=false durable=true"], "it has nothing already");
}

#[test]
fn a_rollback_and_a_switch_to_the_color_that_serves_take_it_back() {
    for command in [
        rollback(),
        Command::Switch {
            to: Target::Color(Color::Blue),
            if_generation: None,
            force: Force::NONE,
            dry_run: false,
            overlap: Overlap::Allow,
            terms: Terms::default(),
            origin: origin(),
        },
    ] {
        let mut script = Script::canary();
        let words = script.command(2, command).words();
        assert_eq!(words, ["publish blue 3", "drain green", "commit abort blue"]);
    }
}

#[test]
fn a_switch_to_it_gives_it_the_traffic_and_keeps_the_deployment() {
    let mut script = Script::canary();
    script.through(Event::Command(CommandId(2), switch()));
    assert_eq!(script.words()[..2], ["publish green 3", "drain blue"]);
    let deployment = script.deployment().expect("it bakes");
    assert_eq!((deployment.id, deployment.stage), (DeploymentId(2), Stage::Bake));
    assert_eq!(script.command(3, advance(true)).words(), ["refuse 3 baking"]);
}

#[test]
fn what_is_held_back_is_given_to_it_when_the_bake_is_over() {
    let mut script = Script::steady();
    let mut policy = policy();
    policy.switch_holdback = Weight::new(200).expect("a share");
    script.at(0.0, Event::Configured(Configured { policy, ..configured(Color::Blue) }));
    script.through(Event::Command(CommandId(1), switch()));
    assert_eq!(script.words()[0], "publish green 2");
    assert_eq!(script.share(), 9_800);
    script.at(1.0, Event::WroteBack(Ok(Color::Green)));
    script.at(901.0, Event::Tick);
    let commit = script.commit_id();
    assert_eq!(script.line().kind, Kind::Advance);
    script.at(901.0, Event::Committed(commit));
    assert_eq!(script.words()[..2], ["publish green 3", "drain blue"]);
    script.at(901.1, Event::Tick);
    assert_eq!((script.line().kind, script.deployment()), (Kind::KnownGood, None));
}

#[test]
fn a_canary_holds_back_by_its_plan_and_a_plain_switch_moves_everything() {
    let mut policy = policy();
    policy.plan.holdback = Weight::new(200).expect("a share");
    let configured = || Event::Configured(Configured { policy: policy.clone(), ..configured(Color::Blue) });
    let mut plain = Script::steady();
    plain.at(0.0, configured());
    plain.through(Event::Command(CommandId(1), switch()));
    assert_eq!(plain.share(), 10_000);
    let mut script = Script::steady();
    script.at(0.0, configured());
    for color in Color::ALL {
        script.at(0.0, Event::Fitness(color, Fitness::Fit));
    }
    script.through(Event::Command(CommandId(1), start()));
    script.through(Event::Command(CommandId(2), advance(true)));
    assert_eq!(script.share(), 9_800);
}

fn withdrawing() -> Event {
    let Event::Judged(id, mut judgement) = judged(Verdict::Suspect) else { unreachable!() };
    (judgement.withdraws, judgement.hold) = (true, 48_000);
    Event::Judged(id, judgement)
}

#[test]
fn a_canary_whose_routes_answer_4xx_leaves_nobody_in_it_and_may_come_again() {
    let mut script = Script::canary();
    script.at(20.0, withdrawing());
    assert_eq!(script.words()[0], "publish blue 3");
    assert_eq!((script.line().kind, script.deployment()), (Kind::Abort, None));
    assert!(script.line().decision.quarantine.is_empty(), "other than errors it may be meant so");
    let reason = script.line().origin.reason.clone().unwrap_or_default();
    assert!(reason.ends_with("it gets no more requests, and may be started again"), "{reason}");

    let mut held = Script::canary();
    let policy = Policy { on_client_errors: OnClientErrors::Hold, ..policy() };
    held.at(10.0, Event::Configured(Configured { policy, ..configured(Color::Blue) }));
    held.at(20.0, withdrawing());
    assert_eq!(held.share(), 500, "it stays, and so do its users");
    held.at(60.0, Event::Tick);
    assert_eq!(
        (held.share(), held.rollout.view().progress.and_then(|next| next.stopped)),
        (500, Some(Stopped::Suspect))
    );
}

#[test]
fn what_is_visibly_wrong_lets_no_step_follow_by_the_time_alone() {
    let mut script = Script::steady();
    let mut policy = policy();
    policy.plan.on_insufficient = OnInsufficient::Advance;
    script.at(0.0, Event::Configured(Configured { policy, ..configured(Color::Blue) }));
    for color in Color::ALL {
        script.at(0.0, Event::Fitness(color, Fitness::Fit));
    }
    script.through(Event::Command(CommandId(1), start()));
    let Event::Judged(id, mut judgement) = judged(Verdict::Insufficient) else { unreachable!() };
    judgement.veto = Some(crate::domain::verdict::Veto::Errors);
    script.at(10.0, Event::Judged(id, judgement));
    script.at(1_900.0, Event::Tick);
    assert_eq!(script.share(), 500);
    assert!(script.deployment().is_some_and(|deployment| deployment.held.is_some()), "people see to it");
}

#[test]
fn a_frozen_canary_goes_no_further_and_comes_back() {
    let mut script = Script::canary();
    script.command(2, Command::Freeze { until: None, replace: true, origin: origin() });
    assert_eq!(script.command(3, advance(false)).words(), ["refuse 3 frozen"]);
    script.at(60.0, judged(Verdict::Pass));
    assert!(!matches!(script.rollout.state, State::Gating(..)));
    assert!(script.command(4, abort()).words().contains(&"publish blue 3".to_owned()));
    assert_eq!(script.command(5, start()).words()[0], "refuse 5 frozen");
}

#[test]
fn another_label_ends_it() {
    let mut script = Script::canary();
    let mut edited = configured(Color::Blue);
    edited.deployed[Color::Green] = Release::new("3");
    script.at(5.0, Event::Configured(edited));
    assert_eq!(script.words()[..2], ["publish blue 3", "drain green"]);
    assert_eq!(script.line().origin.reason.as_deref(), Some("green was 2 when the canary began, and is 3 now"));
}

#[test]
fn a_restart_goes_on_with_the_same_share_of_the_same_users_and_a_step_begins_anew() {
    let script = Script::canary();
    let decision = script.rollout.view().decision;
    let mut effects = Vec::new();
    let now = Now { mono: script.start + Duration::from_secs(1_000), wall: SystemTime::UNIX_EPOCH };
    let mut after = Rollout::new(now, decision.clone(), true, configured(Color::Blue), &mut effects);
    assert_eq!((after.view().decision, effects), (decision, vec![]));
    let dwell = after.view().progress.map(|progress| progress.earliest);
    assert_eq!(dwell, Some(now.mono + Duration::from_secs(30)));
    after.handle(now, Event::EvidenceLost(DeploymentId(2)), &mut Vec::new());
    assert_eq!(after.view().decision.deployment.map(|deployment| deployment.lost), Some(1));
}

#[test]
fn only_time_that_was_watched_counts_as_bake() {
    let mut script = Script::steady();
    script.switched();
    script.at(300.0, Event::Tick);
    let decision = script.rollout.view().decision;
    assert_eq!(decision.deployment.as_ref().map(|it| it.watched), Some(Duration::from_secs(300)));
    // The process is down for an hour.
    let (wall, mut effects) = (SystemTime::UNIX_EPOCH, Vec::new());
    let now = Now { mono: script.start + Duration::from_secs(3_900), wall };
    let after = Rollout::new(now, decision, true, configured(Color::Green), &mut effects);
    assert_eq!(after.view().known_good_at, Some(now.mono + Duration::from_secs(600)));
}

#[test]
fn a_plan_that_is_none_is_refused_with_what_is_wrong() {
    let mut script = Script::steady();
    let wishes = Wishes { weight: Some(Weight::ALL), ..Wishes::default() };
    let command = Command::CanaryStart {
        wishes,
        if_generation: None,
        force: Force::NONE,
        terms: Terms::default(),
        origin: origin(),
    };
    assert_eq!(script.command(1, command).words(), ["refuse 1 bad_plan"]);
    let plan = Wishes { weight: Weight::new(1_000), ..Wishes::default() }.plan(&policy().plan).expect("a plan");
    assert_eq!(plan.steps.iter().map(|step| step.basis_points()).collect::<Vec<_>>(), [1_000, 2_500, 5_000]);
}
