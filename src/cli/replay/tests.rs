use std::time::Duration;

use super::*;
use crate::domain::analysis::{Arms, Batch, Counts, RouteTick};
use crate::domain::split::Weight;

/// A release with a tenth of its requests broken, beside one with none.
fn recorded() -> Recorded {
    let weight = Weight::new(1_000).expect("a share");
    let tick = |number: u64| {
        let assigned = Arms { stable: 90, candidate: 10 };
        let of = |completed, errors| Counts { completed, failed: errors, errors, ..Counts::default() };
        let done = Arms { stable: of(90, 0), candidate: of(10, 1) };
        let batches = vec![Batch { tick: number, weight, assigned, done }];
        let route = RouteTick { name: "/checkout".to_owned(), batches, ..RouteTick::default() };
        let at = Duration::from_secs(number);
        Entry::Tick(Box::new(Tick { number, at, weight, assigned, routes: vec![route], ..Tick::default() }))
    };
    let entries = std::iter::once(Entry::Step(1)).chain((1..=30).map(tick)).collect();
    Recorded {
        id: DeploymentId(7),
        release: "2.0".to_owned(),
        stable: "1.0".to_owned(),
        policy: Policy::default(),
        entries,
    }
}

fn options(change: impl FnOnce(&mut Replay)) -> Replay {
    let which = Which { id: None, file: None };
    let mut options = Replay { which, alpha: None, margin: None, floor: None, ratio: None };
    change(&mut options);
    options
}

#[test]
fn by_the_rules_that_were_in_force_there_is_one_answer_with_the_moment_and_the_reason() {
    let answer = judged_again(Some("dep-7".to_owned()), &recorded(), &options(|_| ()));
    assert!(answer.replayed.is_none(), "nothing else was asked for");
    assert_eq!((answer.ticks, answer.requests, answer.stable_requests), (30, 300, 2_700));
    assert_eq!(answer.recorded.verdict, "fail");
    let fail = answer.recorded.fail.expect("it failed");
    assert!(fail.tick < 30 && fail.requests == fail.tick * 10, "{fail:?}");
    let judgement = answer.recorded.judgement.expect("a judgement");
    assert!(judgement.findings.iter().any(|finding| finding.words.contains("errors")), "{judgement:?}");
}

#[test]
fn rules_that_are_surer_or_more_tolerant_come_to_it_later_or_not_at_all() {
    let seen = recorded();
    let when = |options: &Replay| {
        let answer = judged_again(None, &seen, options);
        answer.replayed.expect("other rules").fail.map(|moment| moment.tick)
    };
    let before = judged_again(None, &seen, &options(|_| ())).recorded.fail.map(|moment| moment.tick);
    let surer = when(&options(|options| options.alpha = Some(1e-6)));
    assert!(surer > before, "{surer:?} is later than {before:?}");
    assert_eq!(when(&options(|options| options.floor = Weight::new(5_000))), None, "half may fail");
}

#[tokio::test]
async fn a_record_is_taken_from_a_file_and_what_is_none_is_told_with_its_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere = Connection { admin: Some("127.0.0.1:1".to_owned()), ..Connection::default() };
    let missing = Which { id: None, file: Some(dir.path().join("dep-7.jsonl")) };
    let failure = find(&nowhere, &missing).await.expect_err("there is no such file");
    assert!(failure.text().contains("dep-7.jsonl can't be read"), "{}", failure.text());
    std::fs::write(dir.path().join("dep-7.jsonl"), "{}\n").expect("a file");
    let failure = find(&nowhere, &missing).await.expect_err("it is no record");
    assert!(matches!(failure, Failure::Failed(_)) && failure.text().contains("dep-7"), "{}", failure.text());
}
