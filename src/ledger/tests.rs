use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::domain::color::Color;
use crate::domain::deployment::{Deployment, DeploymentId, HeldBack, Mode, OnInsufficient, Plan, Stage};
use crate::domain::force::Guard;
use crate::domain::gate::{CheckFailure, CheckReport, GateReport, Probed};
use crate::domain::release::Release;
use crate::domain::schema::{Barrier, FirstWrite, Label, Lineage, Overridden, RolledBack, Step, Version};
use crate::domain::split::Weight;
use crate::domain::transition::InFlight;
use crate::domain::transition::{
    Asked, Decision, Drained, FileOrder, Freeze, Generation, Kind, Origin, Previous, Quarantined, Trigger,
};
use crate::domain::verdict::{Class, Finding, Judgement, Needs, Sample};

fn transition(generation: u64) -> Transition {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let order = FileOrder { active: Color::Green, release: Release::new("2 \"quoted\" ü") };
    Transition {
        kind: Kind::Switch,
        at,
        origin: Origin {
            trigger: Trigger::Api,
            actor: "deploy".to_owned(),
            source: "127.0.0.1:5".to_owned(),
            reason: Some("line\nbreak".to_owned()),
            key: generation.is_multiple_of(3).then(|| "job 7".to_owned()),
        },
        from: Some((Color::Blue, Release::new("1"))),
        forced: generation.is_multiple_of(2),
        overrode: if generation.is_multiple_of(2) { vec![Guard::Health, Guard::File] } else { Vec::new() },
        gate: Some(GateReport {
            color: Color::Green,
            rounds: 2,
            endpoints: vec![Probed {
                upstream: "default".to_owned(),
                endpoint: "127.0.0.1:1".to_owned(),
                passed: true,
                detail: "200".to_owned(),
                at,
                took: Duration::from_micros(77),
            }],
            checks: vec![CheckReport {
                check: "log\nin".to_owned(),
                upstream: "default".to_owned(),
                endpoints: 2,
                passed: 1,
                failures: vec![CheckFailure {
                    endpoint: "127.0.0.1:1".to_owned(),
                    found: "status 500".to_owned(),
                    wanted: "status 200 to 299".to_owned(),
                }],
                at,
                took: Duration::from_micros(88),
            }],
        }),
        refusal: None,
        asked: Some(Asked { kind: Kind::Switch, to: Some((Color::Green, Release::new("2"))) }),
        drained: Some(Drained {
            color: Color::Blue,
            took: Duration::from_micros(5),
            ended: InFlight { requests: 1, streams: 0, tunnels: 2 },
            timed_out: true,
        }),
        judgement: Some(judgement()),
        took: Duration::from_micros(1234),
        held: None,
        decision: Decision {
            generation: Generation(generation),
            active: Color::Green,
            release: order.release.clone(),
            since: at,
            known_good: generation.is_multiple_of(3).then_some(at),
            previous: Some(Previous {
                color: Color::Blue,
                release: Release::new("1"),
                until: at,
                known_good: Some(at),
            }),
            freeze: Some(Freeze { by: "ann".to_owned(), reason: "fair".to_owned(), since: at, until: Some(at) }),
            quarantine: vec![Quarantined {
                release: Release::new("0"),
                since: at,
                by: "cutover".to_owned(),
                reason: "slow".to_owned(),
            }],
            by_force: false,
            maintenance: false,
            seen: order,
            written_back: vec![Color::Green],
            lineage: lineage(at),
            deployment: Some(deployment(at)),
            cooldown: Some(at),
        },
    }
}

/// With every field.
fn lineage(at: SystemTime) -> Lineage {
    let label =
        |barrier| Label { needs: ">=41, <=43".parse().expect("a range"), migrates_to: Some(Version(43)), barrier };
    let labels = [("orders".to_owned(), label(Barrier::FirstWrite)), ("users".to_owned(), label(Barrier::Applied))];
    let written = Some(FirstWrite { at, request: "4a".to_owned() });
    Lineage {
        applied: [("carts".to_owned(), Version(7))].into(),
        steps: vec![
            Step {
                release: Release::new("1"),
                labels: [("orders".to_owned(), label(Barrier::None))].into(),
                written: None,
            },
            Step { release: Release::new("2"), labels: labels.into(), written },
        ],
        overridden: Some(Overridden { by: "ann".to_owned(), reason: "it has to be".to_owned() }),
        rolled_back: ["3", "4"]
            .map(|release| RolledBack {
                color: Color::Green,
                release: Release::new(release),
                at,
                by: "ann".to_owned(),
                reordered: release == "3",
            })
            .to_vec(),
    }
}

/// With every field.
fn deployment(at: SystemTime) -> Deployment {
    let share = |basis_points| Weight::new(basis_points).expect("a share");
    Deployment {
        id: DeploymentId(42),
        candidate: Color::Green,
        release: Release::new("2"),
        stable: Release::new("1"),
        stage: Stage::Step(1),
        weight: share(2_525),
        salt: u64::MAX - 5,
        sticky: "cookie:session".to_owned(),
        plan: Plan {
            steps: [500, 2_525].map(share).to_vec(),
            dwell: Duration::from_secs(30),
            max_step: Duration::from_secs(1_800),
            on_insufficient: OnInsufficient::Abort,
            holdback: share(250),
            bake: Duration::from_secs(900),
        },
        mode: Mode::Observe,
        since: at,
        watched: Duration::from_micros(61_000_001),
        held: Some(HeldBack { by: "ann".to_owned(), reason: "lunch".to_owned(), since: at }),
        told: true,
        lost: 2,
    }
}

fn judgement() -> Judgement {
    let sample = |requests, bad, millis| Sample::new(requests, bad, Some(Duration::from_millis(millis)));
    let finding = |class, route: Option<&str>| Finding {
        class,
        route: route.map(str::to_owned),
        event: route.map(|_| "order".to_owned()),
        candidate: sample(61, 40, 912),
        stable: Sample::new(1_180, 118, None),
        evidence: u64::MAX,
    };
    Judgement {
        verdict: crate::domain::verdict::Verdict::Fail,
        evidence: 18_400,
        limit: 1_000,
        hold: 24_000,
        withdraws: true,
        veto: Some(crate::domain::verdict::Veto::Slow),
        findings: vec![finding(Class::SlowP90, Some("/checkout")), finding(Class::Error, None)],
        needs: Some(Needs { requests: 120, time: Some(Duration::from_secs(40)) }),
        baseline_unhealthy: true,
        without_control: true,
        exposed: 1_910,
        harmed: 2,
        misses_files: true,
    }
}

fn commit(ledger: &Ledger, transition: Transition) -> Result<u64, String> {
    let (answer, answered) = std::sync::mpsc::channel();
    ledger.commit(transition, || {}, move |result| answer.send(result).expect("the test waits"));
    answered.recv().expect("every commit is answered")
}

/// A directory with a ledger of `count` transitions.
fn with_lines(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let (ledger, _) = Ledger::open(dir.path()).expect("opens");
    for generation in 1..=count {
        assert_eq!(commit(&ledger, transition(generation)), Ok(generation));
    }
    dir
}

fn generations(dir: &Path) -> (Vec<u64>, usize) {
    let (_, recovered) = Ledger::open(dir).expect("opens");
    let generations = recovered.transitions.iter().map(|(_, transition)| transition.decision.generation.0).collect();
    (generations, recovered.warnings.len())
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = with_lines(3);
    let (_, recovered) = Ledger::open(dir.path()).expect("opens");
    let expected: Vec<_> = (1..=3).map(|generation| (generation, transition(generation))).collect();
    assert_eq!(recovered.transitions, expected);
    assert!(recovered.warnings.is_empty());
}

#[test]
fn a_last_line_cut_at_any_byte_costs_that_line_only_and_is_kept_aside() {
    let dir = with_lines(2);
    let path = dir.path().join("ledger.jsonl");
    let whole = fs::read(&path).expect("reads");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for cut in first + 1..whole.len() {
        fs::write(&path, &whole[..cut]).expect("writes");
        assert_eq!(generations(dir.path()), (vec![1], 1), "cut at byte {cut}");
        assert_eq!(fs::read(&path).expect("reads"), &whole[..first], "cut at byte {cut}");
    }
    // Numbers continue.
    let (ledger, _) = Ledger::open(dir.path()).expect("opens");
    commit(&ledger, transition(9)).expect("commits");
    drop(ledger);
    assert_eq!(generations(dir.path()), (vec![1, 9], 0));
}

#[test]
fn a_flipped_byte_anywhere_costs_its_line_only() {
    let dir = with_lines(3);
    let path = dir.path().join("ledger.jsonl");
    let whole = fs::read(&path).expect("reads");
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x04;
        fs::write(&path, &damaged).expect("writes");
        let (left, warnings) = generations(dir.path());
        // A damaged line end costs both lines that it separated.
        assert!(!left.is_empty() && warnings == 1, "byte {at}: {left:?}");
    }
}

#[test]
fn a_second_process_is_refused_with_the_number_of_the_first() {
    let dir = with_lines(1);
    let (_ledger, _) = Ledger::open(dir.path()).expect("opens");
    let refused = Ledger::open(dir.path()).expect_err("is locked").to_string();
    assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
}

#[test]
fn whatever_stands_in_the_place_of_the_ledger_is_set_aside_and_every_line_is_written_anew() {
    let dir = with_lines(3);
    let path = dir.path().join("ledger.jsonl");
    let older = fs::read(&path).expect("reads");
    let mut next = 4;
    let losses: [(&str, &dyn Fn()); 7] = [
        ("removed", &|| fs::remove_file(&path).expect("removes")),
        ("moved away", &|| fs::rename(&path, dir.path().join("elsewhere")).expect("renames")),
        ("an older copy by rename", &|| {
            fs::write(dir.path().join("copy"), &older).expect("writes");
            fs::rename(dir.path().join("copy"), &path).expect("renames");
        }),
        ("an older copy in place", &|| fs::write(&path, &older).expect("writes")),
        ("emptied", &|| fs::write(&path, "").expect("writes")),
        ("a last line that was changed", &|| {
            let mut text = fs::read(&path).expect("reads");
            let at = text.len() - 9;
            text[at] ^= 1;
            fs::write(&path, text).expect("writes");
        }),
        ("a device", &|| {
            fs::remove_file(&path).expect("removes");
            std::os::unix::fs::symlink("/dev/full", &path).expect("links");
        }),
    ];
    for (what, lose) in losses {
        let (mut file, _) = LedgerFile::open(dir.path()).expect("opens");
        file.append(&transition(next), || {}).expect("appends");
        lose();
        file.append(&transition(next + 1), || {}).unwrap_or_else(|error| panic!("{what}: {error}"));
        file.append(&transition(next + 2), || {}).unwrap_or_else(|error| panic!("{what}: {error}"));
        next += 3;
        let condition = file.condition().lock().expect("no panic").clone();
        assert_eq!((condition.whole, condition.rewritten), (true, 1), "{what}: {condition:?}");
        let found = verify(&path).expect("reads");
        assert_eq!((found.lines, found.first, found.breaks.as_slice()), (next - 1, 1, &[][..]), "{what}");
        drop(file);
        assert_eq!(generations(dir.path()), ((1..next).collect(), 0), "{what}");
    }
}

#[test]
fn a_state_directory_that_was_removed_or_replaced_is_made_again_and_locked() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("state");
    for replaced in [false, true] {
        let (mut file, _) = LedgerFile::open(&dir).expect("opens");
        file.append(&transition(1), || {}).expect("appends");
        fs::rename(&dir, parent.path().join(format!("old-{replaced}"))).expect("renames");
        if replaced {
            fs::create_dir(&dir).expect("makes");
        }
        file.look();
        assert!(file.condition().lock().expect("no panic").whole);
        assert_eq!(verify(&dir.join("ledger.jsonl")).expect("reads").breaks, [""; 0]);
        file.append(&transition(2), || {}).expect("appends");
        assert!(Ledger::open(&dir).expect_err("is locked").to_string().contains("in use"));
        drop(file);
        assert_eq!(generations(&dir), (vec![1, 2], 0));
        fs::remove_dir_all(&dir).expect("removes");
    }
}

#[test]
fn a_directory_that_another_process_has_taken_is_not_written() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("state");
    let (mut file, _) = LedgerFile::open(&dir).expect("opens");
    file.append(&transition(1), || {}).expect("appends");
    fs::rename(&dir, parent.path().join("old")).expect("renames");
    let (other, _) = Ledger::open(&dir).expect("the name is free");
    let refused = file.append(&transition(2), || {}).expect_err("is taken").to_string();
    assert!(refused.contains("in use"), "{refused}");
    assert!(!file.condition().lock().expect("no panic").whole);
    drop(other);
    file.append(&transition(3), || {}).expect("it is free again");
    drop(file);
    assert_eq!(generations(&dir), (vec![1, 3], 0));
}

#[test]
fn a_ledger_gets_shorter_while_the_process_runs_and_its_chain_holds() {
    let dir = with_lines(0);
    let path = dir.path().join("ledger.jsonl");
    let (mut text, mut head) = (String::new(), None);
    for sequence in 1..=1_200 {
        let line = format::write(sequence, &transition(sequence), head.as_deref());
        head = Some(format::digest(line.trim_ascii_end().as_bytes()));
        text.push_str(&line);
    }
    fs::write(&path, &text).expect("writes");
    let (mut file, recovered) = LedgerFile::open(dir.path()).expect("opens");
    assert_eq!(recovered.transitions.len(), 1_200);
    file.compact_when_longer_than(1_202);
    for generation in 1_201..=1_204 {
        file.append(&transition(generation), || {}).expect("appends");
    }
    let found = file.verify().expect("reads");
    assert_eq!((found.lines, found.last, found.breaks.as_slice()), (1_001, 1_204, &[][..]));
    drop(file);
    let (left, warnings) = generations(dir.path());
    assert_eq!((left.len(), left.last().copied(), warnings), (1_001, Some(1_204), 0));
}

#[test]
fn a_long_ledger_is_compacted_when_it_is_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut text = String::new();
    for sequence in 1..=10_001 {
        text.push_str(&format::write(sequence, &transition(sequence), None));
    }
    fs::write(dir.path().join("ledger.jsonl"), &text).expect("writes");
    let (left, warnings) = generations(dir.path());
    assert_eq!((left.len(), left.last().copied(), warnings), (1_000, Some(10_001), 0));
    assert_eq!(generations(dir.path()).0.len(), 1_000);
}

#[test]
fn of_a_ledger_that_is_longer_than_the_window_the_last_whole_lines_are_read() {
    let dir = with_lines(5);
    let path = dir.path().join("ledger.jsonl");
    let whole = fs::read(&path).expect("reads");
    let read = |window: u64, keep: usize| {
        let file = fs::File::open(&path).expect("opens");
        let mut damaged = Vec::new();
        let found = read::last_lines(&file, keep, window, |bytes| {
            damaged.extend_from_slice(bytes);
            Ok(())
        });
        let found = found.expect("reads");
        let numbers: Vec<u64> = found.lines.iter().map(|(sequence, _)| *sequence).collect();
        (numbers, found.count, found.skipped, damaged)
    };
    let all = whole.len() as u64;
    let last = whole.split_inclusive(|byte| *byte == b'\n').next_back().expect("a line").len() as u64;
    assert_eq!(read(all, 10), (vec![1, 2, 3, 4, 5], 5, false, vec![]));
    assert_eq!(read(all, 2), (vec![4, 5], 5, false, vec![]));
    // The window begins in the middle of a line, which is no damage.
    assert_eq!(read(last + 10, 10), (vec![5], 1, true, vec![]));
    assert_eq!(read(10, 10), (vec![], 0, true, vec![]));
    // Zeros behind the last line, left by some file systems after a crash, are damage.
    fs::write(&path, [&whole[..], &[0; 100]].concat()).expect("writes");
    assert_eq!(read(all + 100, 10), (vec![1, 2, 3, 4, 5], 5, false, vec![0; 100]));
    assert_eq!(generations(dir.path()), (vec![1, 2, 3, 4, 5], 1));
}

#[test]
fn a_ledger_that_was_replaced_is_whole_again_when_the_process_ends() {
    let dir = with_lines(2);
    let path = dir.path().join("ledger.jsonl");
    let (ledger, _) = Ledger::open(dir.path()).expect("opens");
    commit(&ledger, transition(3)).expect("commits");
    let text = fs::read_to_string(&path).expect("reads");
    let first: String = text.split_inclusive('\n').take(1).collect();
    fs::write(&path, first).expect("writes");
    drop(ledger);
    assert_eq!(generations(dir.path()), (vec![1, 2, 3], 0));
}

#[test]
fn a_ledger_of_a_newer_program_is_left_alone() {
    let dir = with_lines(1);
    let path = dir.path().join("ledger.jsonl");
    let text = fs::read_to_string(&path).expect("reads");
    let entry = text.split_once("\"entry\":").expect("an entry").1.trim_end().strip_suffix('}').expect("closes");
    let newer = entry.replacen("\"v\":3", "\"v\":4", 1);
    let line = format!("{{\"crc\":\"{:08x}\",\"entry\":{newer}}}\n", crc32fast::hash(newer.as_bytes()));
    fs::write(&path, &line).expect("writes");
    let refused = Ledger::open(dir.path()).expect_err("is newer").to_string();
    assert!(refused.contains("newer cutover"), "{refused}");
    assert_eq!(fs::read_to_string(&path).expect("reads"), line);
}

#[test]
fn nobody_else_may_read_the_ledger() {
    let dir = with_lines(1);
    let mode = fs::metadata(dir.path().join("ledger.jsonl")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("state");
    fs::write(&path, "").expect("writes");
    let refused = Ledger::open(&path).expect_err("is a file").to_string();
    assert!(refused.contains("state") && refused.contains("set state.dir"), "{refused}");
}

#[test]
fn an_old_line_that_was_copied_to_the_end_does_not_come_back_into_force() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        let (ledger, _) = Ledger::open(dir.path()).expect("a new ledger");
        commit(&ledger, transition(1)).expect("it is written");
        commit(&ledger, transition(2)).expect("it is written");
    }
    let path = dir.path().join("ledger.jsonl");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let first = text.lines().next().expect("a line");
    std::fs::write(&path, format!("{text}{first}\n")).expect("a write");
    let (_ledger, recovered) = Ledger::open(dir.path()).expect("it opens");
    assert_eq!(recovered.transitions.last().map(|(sequence, _)| *sequence), Some(2));
    assert_eq!(recovered.warnings.len(), 1, "{:?}", recovered.warnings);
}

#[test]
fn a_chain_that_nobody_touched_holds_also_over_restarts() {
    let dir = with_lines(3);
    let (ledger, _) = Ledger::open(dir.path()).expect("opens");
    commit(&ledger, transition(4)).expect("commits");
    let (answer, answered) = std::sync::mpsc::channel();
    ledger.verify(move |found| answer.send(found).expect("the test waits"));
    let found = answered.recv().expect("an answer").expect("it can be read");
    assert_eq!((found.lines, found.first, found.last, found.breaks.as_slice()), (4, 1, 4, &[][..]));
    assert_eq!(found.head.as_ref().map(String::len), Some(64));
}

#[test]
fn what_was_changed_taken_out_or_put_in_breaks_the_chain() {
    let dir = with_lines(4);
    let path = dir.path().join("ledger.jsonl");
    let whole = fs::read_to_string(&path).expect("reads");
    let lines: Vec<_> = whole.lines().map(|line| format!("{line}\n")).collect();
    let found = |text: &str| {
        fs::write(&path, text).expect("writes");
        verify(&path).expect("it can be read").breaks
    };
    assert_eq!(found(&whole), [""; 0]);
    let changed = |line: &str| {
        // With a matching checksum.
        let entry = line.split_once("\"entry\":").expect("an entry").1.trim_end().strip_suffix('}').expect("closes");
        let entry = entry.replace("deploy", "nobody");
        format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()))
    };
    let broken = found(&[lines[0].clone(), changed(&lines[1]), lines[2].clone(), lines[3].clone()].concat());
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("number 3 does not follow it"), "{broken:?}");
    assert!(found(&[&lines[0][..], &lines[1], &lines[3]].concat())[0].contains("number 4, and the one before it 2"));
    assert!(found(&[&lines[0][..], &lines[1], &lines[1], &lines[2]].concat())[0].contains("number 2"));
    assert!(found(&lines[0].replace("deploy", "nobody"))[0].contains("was changed or damaged"));
    // The digests were removed, so that nothing contradicts.
    let unchained = |line: &str| {
        let entry = line.split_once("\"entry\":").expect("an entry").1.trim_end().strip_suffix('}').expect("closes");
        let (before, rest) = entry.split_once("\"prev\":\"").expect("a digest");
        let entry = format!("{before}{}", &rest[66..]);
        format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()))
    };
    let broken =
        found(&[lines[0].clone(), changed(&unchained(&lines[1])), unchained(&lines[2]), unchained(&lines[3])].concat());
    assert_eq!(broken.len(), 3, "{broken:?}");
    assert!(broken[0].contains("number 2 does not say what it follows"), "{broken:?}");
    // A removed last line leaves no contradiction in the file, but the running process knows what it wrote.
    assert_eq!(found(&lines[..3].concat()), [""; 0]);
}

#[test]
fn a_line_of_the_first_format_says_that_what_served_was_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let entry = r#"{"v":1,"seq":1,"kind":"start","at":"2026-01-01T00:00:00Z","trigger":"start","actor":"c.toml","took_us":0,"decision":{"generation":1,"active":"blue","release":"1","since":"2026-01-01T00:00:00Z","seen":{"color":"blue","release":"1"}}}"#;
    let line = format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()));
    fs::write(dir.path().join("ledger.jsonl"), line).expect("writes");
    let (ledger, recovered) = Ledger::open(dir.path()).expect("opens");
    let decision = &recovered.transitions[0].1.decision;
    assert_eq!(decision.known_good, Some(decision.since));
    commit(&ledger, transition(2)).expect("commits");
    assert_eq!(verify(&dir.path().join("ledger.jsonl")).expect("reads").breaks, [""; 0]);
}

#[test]
fn a_line_that_knows_the_last_rollback_alone_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = format::write(1, &transition(1), None).replace("\"taken_back_before\"", "\"of_another_version\"");
    let entry = line.split_once("\"entry\":").expect("an entry").1.trim_end().strip_suffix('}').expect("closes");
    let line = format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()));
    fs::write(dir.path().join("ledger.jsonl"), line).expect("writes");
    let (_, recovered) = Ledger::open(dir.path()).expect("opens");
    let left = &recovered.transitions[0].1.decision.lineage.rolled_back;
    assert_eq!(left.iter().map(|left| left.release.as_str()).collect::<Vec<_>>(), ["4"]);
}

#[test]
fn a_line_of_the_second_format_has_no_release_on_its_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let entry = r#"{"v":2,"seq":1,"kind":"switch","at":"2026-01-01T00:00:00Z","trigger":"api","actor":"ann","took_us":0,"decision":{"generation":2,"active":"green","release":"2","since":"2026-01-01T00:00:00Z","previous":{"color":"blue","release":"1","until":"2026-01-01T00:00:00Z","known_good":"2025-01-01T00:00:00Z"},"seen":{"color":"green","release":"2"}}}"#;
    let line = format!("{{\"crc\":\"{:08x}\",\"entry\":{entry}}}\n", crc32fast::hash(entry.as_bytes()));
    fs::write(dir.path().join("ledger.jsonl"), line).expect("writes");
    let (_, recovered) = Ledger::open(dir.path()).expect("opens");
    let decision = &recovered.transitions[0].1.decision;
    assert_eq!((&decision.deployment, decision.cooldown, decision.known_good), (&None, None, None));
}

#[test]
fn a_directory_that_a_process_is_about_to_leave_is_waited_for() {
    let dir = with_lines(1);
    let (before, _) = Ledger::open(dir.path()).expect("opens");
    let leaves = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(before);
    });
    Ledger::open(dir.path()).expect("opens when the other one has left");
    leaves.join().expect("no panic");
}
