//! The data stores' permission for moves, step by step.

use super::*;
use crate::domain::schema::{Barrier, Label, Labels, Obstacle, Reading, Safety, Version};

fn labels(needs: &str, migrates_to: u64, barrier: Barrier) -> Labels {
    let label = Label { needs: needs.parse().expect("a range"), migrates_to: Some(Version(migrates_to)), barrier };
    Labels::from([("orders".to_owned(), label)])
}

fn labelled(active: Color, green: &Labels) -> Configured {
    Configured {
        schema: PerColor { blue: labels("<=42", 42, Barrier::None), green: green.clone() },
        ..configured(active)
    }
}

/// Blue serves, and needs 42 at most.
fn script(green: &Labels) -> Script {
    let mut script = Script::steady();
    script.at(0.0, Event::Configured(labelled(Color::Blue, green)));
    script
}

fn probed(mut configured: Configured) -> Configured {
    configured.probed = PerColor::from_fn(|_| ["orders".to_owned()].into());
    configured
}

fn reading(answer: Result<u64, &str>) -> Event {
    let answer = answer.map(Version).map_err(str::to_owned);
    Event::SchemaRead(vec![Reading { color: Color::Blue, store: "orders".to_owned(), answer }])
}

fn forced_for(reason: Option<&str>) -> Command {
    let origin = Origin { reason: reason.map(str::to_owned), ..origin() };
    Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: Force::ALL,
        dry_run: false,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin,
    }
}

fn written(script: &mut Script, id: u64) -> &mut Script {
    script.at(
        0.0,
        Event::FirstWrite(release(Color::Green), FirstWrite { at: SystemTime::UNIX_EPOCH, request: id.to_string() }),
    )
}

#[test]
fn labels_alone_refuse_before_anybody_is_probed_and_name_both_steps() {
    let mut script = script(&labels(">=42", 43, Barrier::None));
    assert_eq!(script.command(1, switch()).words(), ["refuse 1 rollback_unsafe"]);
    let Some(Effect::Reply(_, Err(Refusal::RollbackUnsafe(why)))) = script.effects.first() else { panic!("refused") };
    assert!(matches!(&why.obstacles[..], [Obstacle::Unfit { brought: true, .. }]), "{why:?}");
    assert_eq!(
        why.to_string(),
        "2 brings orders from 42 to 43, and 1, which would be the way back, needs <=42; take two safe steps instead; \
         expand first: a release that only adds to orders, so that 1 (needs <=42) can run on it too; switch to that \
         one; contract after: once no rollback goes to 1, 2 may remove from orders what only 1 needs; if it \
         has to be, force it with a reason"
    );
}

#[test]
fn where_there_is_a_probe_a_switch_asks_it_and_a_rollback_takes_its_last_answer() {
    let mut script = script(&labels(">=42", 42, Barrier::None));
    script.at(0.0, Event::Configured(probed(labelled(Color::Blue, &labels(">=42", 42, Barrier::None)))));
    script.at(0.0, reading(Ok(41)));
    // The last answer was 41, and green needs 42: only a fresh answer counts.
    assert_eq!(script.command(1, switch()).words(), ["probe green and stores"]);
    let id = script.round_id();
    script.at(0.1, reading(Ok(42)));
    script.at(0.1, Event::Probed(id, round(true)));
    assert_eq!(script.at(0.4, Event::Tick).words(), ["probe green and stores"]);
    let id = script.round_id();
    script.at(0.5, reading(Ok(43)));
    let id_of_commit = {
        assert_eq!(script.at(0.5, Event::Probed(id, round(true))).words(), ["commit switch green"]);
        script.commit_id()
    };
    script.at(0.6, Event::Committed(id_of_commit));
    script.at(0.6, Event::WroteBack(Ok(Color::Green)));
    assert_eq!(script.command(2, rollback()).words(), ["refuse 2 rollback_unsafe"], "blue needs 42 at most");
    script.at(0.7, reading(Ok(42)));
    assert_eq!(script.command(3, rollback()).words(), ["probe blue"], "no store is asked on the way back");
}

#[test]
fn what_the_stores_forbid_is_said_at_once_also_of_a_target_that_is_not_healthy() {
    let mut script = script(&Labels::new());
    script.at(0.0, Event::Configured(probed(labelled(Color::Blue, &labels(">=43", 43, Barrier::None)))));
    script.command(1, switch());
    let id = script.round_id();
    script.at(0.1, reading(Ok(41)));
    assert_eq!(script.at(0.1, Event::Probed(id, round(false))).words(), ["refuse 1 rollback_unsafe"]);
}

#[test]
fn a_probe_that_fails_refuses_nothing() {
    let mut script = script(&Labels::new());
    script.at(0.0, Event::Configured(probed(labelled(Color::Blue, &labels("<=42", 42, Barrier::None)))));
    script.command(1, switch());
    let id = script.round_id();
    script.at(0.1, reading(Err("refused")));
    assert_eq!(script.at(0.1, Event::Probed(id, round(true))).words(), [""; 0], "the next round");
    assert!(matches!(script.rollout.view().safety, Safety::Unknown(_)));
}

#[test]
fn force_takes_a_reason_is_kept_on_the_record_and_ends_with_the_next_switch() {
    let mut script = script(&labels(">=42", 43, Barrier::None));
    assert_eq!(script.command(1, forced_for(None)).words(), ["refuse 1 rollback_unsafe"]);
    assert_eq!(script.command(2, forced_for(Some("it has to be"))).words(), ["commit switch green"]);
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    script.at(0.0, Event::WroteBack(Ok(Color::Green)));
    // A label counts even if the probe says that nothing was migrated.
    script.at(0.0, Event::Configured(labelled(Color::Green, &labels("<=42", 42, Barrier::None))));
    let Safety::No(obstacles) = script.rollout.view().safety else { panic!("{:?}", script.rollout.view().safety) };
    assert!(matches!(&obstacles[..], [Obstacle::Forced(forced)] if forced.reason == "it has to be"), "{obstacles:?}");
    assert_eq!(script.command(3, rollback()).words(), ["refuse 3 rollback_unsafe"]);
    script.command(4, forced_for(Some("back by hand")));
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    assert_eq!(script.rollout.view().decision.lineage.overridden, None);
}

#[test]
fn a_first_write_is_a_line_of_its_own_that_is_tried_until_it_is_on_disk() {
    let mut script = script(&labels("<=42", 42, Barrier::FirstWrite));
    script.switched();
    assert_eq!(script.rollout.view().safety, Safety::Yes);
    assert_eq!(written(&mut script, 1).words(), ["commit barrier green"]);
    let commit = script.commit_id();
    assert_eq!(written(&mut script, 2).words(), [""; 0], "there is one first write");
    assert_eq!(script.command(1, rollback()).words(), ["refuse 1 rollback_unsafe"], "durable or not");
    script.at(0.1, Event::CommitFailed(commit, "full".to_owned()));
    assert_eq!(script.at(1.1, Event::Tick).words(), ["commit barrier green"]);
    let again = script.commit_id();
    script.at(1.2, Event::Committed(again));
    assert!(script.rollout.view().durable);
}

#[test]
fn a_first_write_on_the_old_color_while_the_next_switch_is_being_written_is_not_lost() {
    let mut script = script(&labels("<=42", 42, Barrier::FirstWrite));
    script.switched();
    script.command(1, forced());
    let commit = script.commit_id();
    assert_eq!(written(&mut script, 1).words(), [""; 0], "the line of the switch has to be the last one");
    let words = script.at(0.1, Event::Committed(commit)).words();
    assert!(words.contains(&"commit barrier blue".to_owned()), "{words:?}");
    let steps = script.rollout.view().decision.lineage.steps;
    assert_eq!(steps.iter().filter(|step| step.written.is_some()).count(), 1, "{steps:?}");
}

#[test]
fn asking_what_a_switch_would_do_tells_of_the_way_back_after_it() {
    let ask = || Command::Switch {
        to: Target::Other,
        if_generation: None,
        force: Force::ALL,
        dry_run: true,
        overlap: Overlap::Allow,
        terms: Terms::default(),
        origin: origin(),
    };
    for (barrier, safe) in [(Barrier::None, "yes"), (Barrier::Applied, "no"), (Barrier::FirstWrite, "yes")] {
        let mut script = script(&labels("<=42", 42, barrier));
        script.command(1, ask());
        let Some(Effect::Reply(_, Ok(outcome))) = script.effects.first() else { panic!("{:?}", script.effects) };
        let (to, verdict) = outcome.way_back.clone().expect("there is one");
        assert_eq!((to, verdict.as_str()), (release(Color::Blue), safe), "{barrier:?}");
    }
}

#[test]
fn a_wrong_label_is_mended_in_the_file_also_when_its_release_does_not_serve_any_more() {
    let wrong = Labels::from([(
        "orders".to_owned(),
        Label { needs: "<=430".parse().expect("a range"), migrates_to: Some(Version(430)), barrier: Barrier::None },
    )]);
    let mut script = script(&wrong);
    script.command(1, forced_for(Some("it is only a label")));
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    script.at(0.0, Event::WroteBack(Ok(Color::Green)));
    script.command(2, forced_for(Some("back")));
    let commit = script.commit_id();
    script.at(0.0, Event::Committed(commit));
    script.at(0.0, Event::WroteBack(Ok(Color::Blue)));
    assert_eq!(script.command(3, switch()).words(), ["refuse 3 rollback_unsafe"], "430, and blue needs 42 at most");
    script.at(0.0, Event::Configured(labelled(Color::Blue, &labels("<=43", 42, Barrier::None))));
    assert_eq!(script.command(4, switch()).words(), ["probe green"]);
}
