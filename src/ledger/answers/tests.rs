use super::*;

fn answer(body: &str) -> Answered {
    Answered { status: 200, media_type: "application/json".to_owned(), body: body.to_owned() }
}

/// Carries a command out and waits for the disk.
fn carried_out(answers: &Answers, key: &str, body: Option<&str>) {
    let (sender, written) = mpsc::channel();
    let told = sender.clone();
    answers.begin(("ann", key), "digest", 7, move || told.send(()).expect("somebody waits"));
    written.recv().expect("it is written");
    if let Some(body) = body {
        answers.end(("ann", key), Some(answer(body)), move || sender.send(()).expect("somebody waits"));
        written.recv().expect("it is written");
    }
}

#[test]
fn an_answer_is_the_same_after_a_restart_and_a_key_without_one_is_known_to_be_interrupted() {
    let dir = tempfile::tempdir().expect("a directory");
    let answers = Answers::open(dir.path());
    carried_out(&answers, "a", Some("one"));
    carried_out(&answers, "b", None);
    for answers in [answers.clone(), Answers::open(dir.path())] {
        assert_eq!(answers.known("ann", "a", "digest"), Known::Answered(answer("one")));
        assert_eq!(answers.known("ann", "a", "another"), Known::Otherwise);
        assert_eq!(answers.known("bob", "a", "digest"), Known::Nothing, "a key belongs to its actor");
        assert_eq!(answers.known("ann", "b", "digest"), Known::Interrupted(7));
    }
    answers.end(("ann", "b"), None, || {});
    assert_eq!(answers.known("ann", "b", "digest"), Known::Nothing);
    // Half a line, left by a crash, costs that line only; later lines are readable.
    carried_out(&answers, "c", Some("two"));
    let path = dir.path().join(NAME);
    let mut text = fs::read(&path).expect("the file");
    text.truncate(text.len() - 10);
    fs::write(&path, &text).expect("the file");
    let answers = Answers::open(dir.path());
    assert_eq!(answers.known("ann", "a", "digest"), Known::Answered(answer("one")));
    carried_out(&answers, "d", Some("three"));
    assert_eq!(Answers::open(dir.path()).known("ann", "d", "digest"), Known::Answered(answer("three")));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("the file").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_kept_is_bounded_in_time_number_and_bytes() {
    let line = |at: u64, key: &str, body: &str| Line {
        at,
        actor: "ann".to_owned(),
        key: key.to_owned(),
        digest: "digest".to_owned(),
        generation: 1,
        answer: Some(answer(body)),
        forgotten: false,
    };
    let mut kept = Kept::default();
    let day = millis(KEPT_FOR);
    kept.put(line(1, "old", ""));
    kept.put(line(2, "new", ""));
    kept.trim(day + 1);
    assert_eq!(kept.lines.len(), 1, "a day later it is forgotten");
    kept.trim(0);
    for number in 0..MOST as u64 + 10 {
        kept.put(line(number + 10, &number.to_string(), ""));
    }
    kept.trim(20);
    assert_eq!(kept.lines.len(), MOST);
    assert!(!kept.lines.contains_key(&("ann".to_owned(), "new".to_owned())), "the oldest go first");
    let large = "x".repeat(MOST_BYTES / 2);
    for number in 0..3 {
        kept.put(line(day / 2 + number, "large", &large));
        kept.put(line(day / 2 + number, "larger", &large));
    }
    kept.trim(day / 2);
    assert!(kept.bytes <= MOST_BYTES, "{}", kept.bytes);
    assert_eq!(kept.bytes, kept.lines.values().map(Line::size).sum::<usize>());
}

#[test]
fn a_file_of_old_lines_is_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let answers = Answers::open(dir.path());
    for _ in 0..SLACK {
        carried_out(&answers, "again", Some("x"));
    }
    let lines = fs::read_to_string(dir.path().join(NAME)).expect("the file").lines().count();
    assert!(lines <= SLACK + 3, "{lines}");
    assert_eq!(Answers::open(dir.path()).known("ann", "again", "digest"), Known::Answered(answer("x")));
}
