use super::*;
use crate::domain::analysis::{
    Arms, Bad, Batch, Before, Counts, CpuUse, EventRule, EventTick, Minute, Quantiles, RouteTick, Seen, Thresholds,
};
use crate::domain::split::Weight;
use std::time::Duration;

const ID: DeploymentId = DeploymentId(7);

fn head() -> Recorded {
    let order = EventRule { name: "order".to_owned(), bad: Bad::Fewer, tolerated: 0.1, share: 0.05, per_request: 2 };
    let before = Some(Before { requests: 9, errors: 1 });
    let policy = Policy { alpha: 0.1 + 0.2, events: vec![order], before, ..Policy::default() };
    Recorded { id: ID, release: "2".to_owned(), stable: "1".to_owned(), policy, entries: Vec::new() }
}

fn tick(number: u64, bad: u64) -> Entry {
    let weight = Weight::new(500).expect("a share");
    let assigned = Arms { stable: 95, candidate: 5 };
    let counts = Counts {
        completed: 5,
        failed: bad,
        errors: bad,
        slow: [bad + 1, bad, 0],
        good: 7,
        refused: 3,
        ..Counts::default()
    };
    let batch = Batch { tick: number, weight, assigned, done: Arms { stable: Counts::default(), candidate: counts } };
    Entry::Tick(Box::new(Tick {
        number,
        at: Duration::from_secs(number),
        weight,
        keyed: number.is_multiple_of(2),
        assigned,
        quantiles: Arms { stable: None, candidate: Some(Quantiles([1, 2, 3])) },
        routes: vec![RouteTick {
            slot: 0,
            name: "/checkout".to_owned(),
            thresholds: Some(Thresholds { stable: [1, 2, 3], candidate: [4, 5, 6] }),
            quantiles: Arms { stable: Some(Quantiles([7, 8, 9])), candidate: None },
            batches: vec![batch],
            overall: number.is_multiple_of(2).then(|| vec![batch]),
            seen: number
                .is_multiple_of(2)
                .then(|| Arms { candidate: Seen { completed: 9, failed: 8 }, ..Arms::default() }),
        }],
        broken: bad,
        cpu: (number == 2)
            .then_some(Arms { stable: CpuUse { busy: Duration::from_millis(3), requests: 4 }, ..Arms::default() }),
        minute: number.is_multiple_of(2).then(|| Minute {
            weight,
            active: Arms { stable: 90, candidate: 10 },
            bad: [1, 2, 3].map(|bad| Arms { stable: bad, candidate: 2 * bad }),
            moments: 4,
        }),
        events: vec![EventTick { event: 0, tick: number, weight, told: Arms { stable: 9, candidate: bad } }],
    }))
}

fn written(dir: &Path, entries: &[Entry]) -> Recorded {
    let log = TickLog::start(dir).expect("a thread");
    log.begin(head());
    for entry in entries {
        log.append(ID, entry.clone());
    }
    drop(log);
    Recorded { entries: entries.to_vec(), ..head() }
}

#[test]
fn what_is_written_is_read_again_to_the_last_bit_and_judged_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let wanted = written(dir.path(), &[Entry::Step(0), tick(0, 0), tick(1, 3), Entry::Step(2), tick(2, 4)]);
    let found = Recorded::load(dir.path(), ID).expect("it is there");
    assert_eq!(found, wanted);
    assert_eq!(found.judge(), wanted.judge());
    assert_eq!(found.last_tick().map(|tick| tick.number), Some(2));
}

#[test]
fn the_users_of_the_last_deployment_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = TickLog::start(dir.path()).expect("a thread");
    log.begin(head());
    for (id, text) in [(ID, "first"), (ID, "second"), (DeploymentId(8), "next")] {
        log.users(id, text.into());
    }
    drop(log);
    assert_eq!((users(dir.path(), ID), users(dir.path(), DeploymentId(8))), (Vec::new(), b"next".to_vec()));
}

#[test]
fn a_process_that_was_killed_in_the_middle_of_a_line_costs_that_line_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path(), &[Entry::Step(0), tick(0, 0), tick(1, 1)]);
    let path = file_of(dir.path(), ID);
    let bytes = fs::read(&path).expect("it is there");
    fs::write(&path, &bytes[..bytes.len() - 9]).expect("it is ours");
    assert_eq!(Recorded::load(dir.path(), ID).expect("it can be read").entries, [Entry::Step(0), tick(0, 0)]);
    let log = TickLog::start(dir.path()).expect("a thread");
    log.append(ID, tick(5, 2));
    drop(log);
    let entries = Recorded::load(dir.path(), ID).expect("it can be read").entries;
    assert_eq!(entries, [Entry::Step(0), tick(0, 0), tick(5, 2)]);
}

#[test]
fn a_record_that_is_damaged_or_missing_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = Recorded::load(dir.path(), ID).expect_err("there is none");
    assert_eq!(error.to_string(), "no deployment dep-7 is recorded; the last 20 are kept");
    written(dir.path(), &[tick(0, 0), tick(1, 1)]);
    let path = file_of(dir.path(), ID);
    let text = fs::read_to_string(&path).expect("it is there").replacen("\"n\":0", "\"n\":x", 1);
    fs::write(&path, text).expect("it is ours");
    let error = Recorded::load(dir.path(), ID).expect_err("it is damaged").to_string();
    assert!(error.starts_with("line 2 of the record of dep-7 can't be read: "), "{error}");
    fs::write(&path, "").expect("it is ours");
    let error = Recorded::load(dir.path(), ID).expect_err("it is empty").to_string();
    assert!(error.ends_with("the file is empty"), "{error}");
}

#[test]
fn the_last_twenty_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = TickLog::start(dir.path()).expect("a thread");
    for number in 1..=25 {
        log.begin(Recorded { id: DeploymentId(number), ..head() });
    }
    drop(log);
    let numbers: Vec<u64> = known(dir.path()).into_iter().map(|id| id.0).collect();
    assert_eq!(numbers, (6..=25).rev().collect::<Vec<_>>());
}
