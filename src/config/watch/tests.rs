//! Real files, a real watcher. Nothing here sleeps to be in time: everything waits for what is reported.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// The time in which every change is reported.
const PATIENT: Duration = Duration::from_secs(20);
/// For what has to be found although no event comes.
const OFTEN: Duration = Duration::from_millis(20);
/// For what has to be found by its events.
const NEVER: Duration = Duration::from_secs(3600);

const TEXT: &str = r#"# What is live.
active = "blue" # by hand

[green]
endpoints = [ "127.0.0.1:9002" ]
release   = '2'
[blue]
endpoints = ["127.0.0.1:9001"]
release = "1"

[state]
dir = "/var/lib/cutover"

[listen]
http = "127.0.0.1:8080"
admin = "127.0.0.1:9900"
# The end."#;

/// The text with this as the release of blue.
fn released(release: &str) -> String {
    TEXT.replace("release = \"1\"", &format!("release = \"{release}\""))
}

/// A watched file, and what is reported of it.
struct Bench {
    dir: TempDir,
    path: PathBuf,
    events: Receiver<FileEvent>,
    watch: Watch,
}

impl Bench {
    fn new(text: &str, poll: Duration) -> Bench {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("cutover.toml");
        fs::write(&path, text).expect("written");
        Bench::of(dir, path, poll)
    }

    fn of(dir: TempDir, path: PathBuf, poll: Duration) -> Bench {
        let (sender, events) = mpsc::channel();
        let (config, text) = Config::load(&path).expect("a configuration");
        let report = move |event| drop(sender.send(event));
        let watch = Watch::start(path.clone(), text, Arc::new(config), poll, || {}, report).expect("a thread");
        Bench { dir, path, events, watch }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
    }

    /// Puts another file in its place, so that nobody sees half of it.
    fn replace(&self, text: impl AsRef<[u8]>) {
        let new = self.in_dir("new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, &self.path).expect("renamed");
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.path).expect("read")
    }

    fn in_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn next(&self) -> FileEvent {
        self.events.recv_timeout(PATIENT).expect("something is reported")
    }

    /// The release of blue in what is reported next, which has to be an edit.
    fn edited(&self) -> String {
        match self.next() {
            FileEvent::Edited(config) => config.colors.blue.release.to_string(),
            other => panic!("not an edit: {other:?}"),
        }
    }

    /// Waits for the edit to this release; editors and file systems may show a state in between.
    fn edited_to(&self, release: &str) {
        loop {
            match self.next() {
                FileEvent::Edited(config) if config.colors.blue.release.as_str() == release => return,
                FileEvent::Edited(_) | FileEvent::Invalid(_) | FileEvent::Restored => {}
                FileEvent::WroteBack(result) => panic!("nobody asked: {result:?}"),
            }
        }
    }

    fn invalid(&self) -> String {
        match self.next() {
            FileEvent::Invalid(error) => error.to_string(),
            other => panic!("not invalid: {other:?}"),
        }
    }

    fn restored(&self) {
        let event = self.next();
        assert!(matches!(event, FileEvent::Restored), "{event:?}");
    }

    fn reload(&self) -> Result<bool, ConfigError> {
        self.look().map_err(|error| match error {
            LookError::Invalid(error) => error,
            LookError::Busy(why) => panic!("{why}"),
        })
    }

    fn look(&self) -> Looked {
        let (sender, answer) = mpsc::channel();
        self.watch.reload(PATIENCE, move |looked| drop(sender.send(looked)));
        answer.recv_timeout(PATIENT).expect("an answer")
    }

    /// Asks for a write-back, which has to be what is reported next.
    fn write_back(&self, color: Color) -> Result<Color, String> {
        self.watch.write_back(color);
        match self.next() {
            FileEvent::WroteBack(result) => result,
            other => panic!("not a write-back: {other:?}"),
        }
    }

    /// Ends the watch: everything that it had to say has been said, and was expected.
    fn nothing_else(self) {
        let Bench { dir, events, watch, .. } = self;
        drop(watch);
        let rest: Vec<FileEvent> = events.try_iter().collect();
        assert!(rest.is_empty(), "{rest:?}");
        drop(dir);
    }
}

#[test]
fn a_write_in_place_is_an_edit() {
    let bench = Bench::new(TEXT, NEVER);
    bench.write(&released("1.1"));
    bench.edited_to("1.1");
    bench.write(&released("1.2"));
    bench.edited_to("1.2");
    assert_eq!(bench.reload(), Ok(false));
    bench.nothing_else();
}

#[test]
fn a_file_that_was_edited_before_the_watch_stands_is_read() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("cutover.toml");
    fs::write(&path, released("1.1")).expect("written");
    let (sender, events) = mpsc::channel();
    let old = Config::parse(&path, TEXT).expect("a configuration");
    let report = move |event| drop(sender.send(event));
    let _watch = Watch::start(path, TEXT.to_owned(), Arc::new(old), NEVER, || {}, report).expect("a thread");
    assert!(matches!(events.recv_timeout(PATIENT), Ok(FileEvent::Edited(_))));
}

#[test]
fn a_file_written_in_two_halves_ends_as_the_whole() {
    use std::io::Write;
    let bench = Bench::new(TEXT, OFTEN);
    let text = released("1.1");
    let (first, second) = text.split_at(text.find("[listen]").expect("a section"));
    let mut file = File::create(&bench.path).expect("opened");
    file.write_all(first.as_bytes()).expect("written");
    file.flush().expect("written");
    file.write_all(second.as_bytes()).expect("written");
    drop(file);
    // Whatever was seen in between, the first half never was in force.
    bench.edited_to("1.1");
    assert_eq!(bench.reload(), Ok(false));
    bench.nothing_else();
}

#[test]
fn half_a_file_that_stays_so_is_invalid_and_its_other_half_repairs_it() {
    use std::io::Write;
    let bench = Bench::new(TEXT, OFTEN);
    let text = released("1.1");
    let (first, second) = text.split_at(text.find("[listen]").expect("a section"));
    bench.write(first);
    // An empty file may be seen first, between the truncation and the write.
    while !bench.invalid().contains("the file has no [listen]") {}
    let mut file = OpenOptions::new().append(true).open(&bench.path).expect("opened");
    file.write_all(second.as_bytes()).expect("written");
    drop(file);
    bench.edited_to("1.1");
    bench.nothing_else();
}

#[test]
fn a_renamed_file_is_an_edit_and_never_invalid() {
    let bench = Bench::new(TEXT, NEVER);
    for release in ["1.1", "1.2", "1.3"] {
        bench.replace(released(release));
        assert_eq!(bench.edited(), release);
    }
    bench.nothing_else();
}

/// Lays out a file as a ConfigMap is mounted: the file is a link through `..data`, which is a link to a directory.
fn config_map(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("cutover.toml");
    symlink("..data/cutover.toml", &path).expect("linked");
    config_map_version(dir, "..1", text);
    path
}

fn config_map_version(dir: &Path, version: &str, text: &str) {
    fs::create_dir(dir.join(version)).expect("made");
    fs::write(dir.join(version).join("cutover.toml"), text).expect("written");
    symlink(version, dir.join("..data_tmp")).expect("linked");
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("swapped");
}

#[test]
fn a_config_map_that_is_swapped_is_an_edit() {
    let dir = TempDir::new().expect("a directory");
    let path = config_map(dir.path(), TEXT);
    let bench = Bench::of(dir, path, NEVER);
    config_map_version(bench.dir.path(), "..2", &released("1.1"));
    assert_eq!(bench.edited(), "1.1");
    // The watch follows the link to its new target, and leaves the old one.
    fs::remove_dir_all(bench.in_dir("..1")).expect("removed");
    config_map_version(bench.dir.path(), "..3", &released("1.2"));
    assert_eq!(bench.edited(), "1.2");
    fs::write(bench.in_dir("..3").join("cutover.toml"), released("1.3")).expect("written");
    bench.edited_to("1.3");
    bench.nothing_else();
}

#[test]
fn a_file_that_is_deleted_is_invalid_and_its_return_is_told() {
    let bench = Bench::new(TEXT, NEVER);
    fs::remove_file(&bench.path).expect("removed");
    assert!(bench.invalid().contains("cutover.toml: can't be read: No such file"));
    bench.replace(TEXT);
    bench.restored();
    fs::remove_file(&bench.path).expect("removed");
    assert!(bench.invalid().contains("can't be read"));
    bench.replace(released("1.1"));
    assert_eq!(bench.edited(), "1.1");
    bench.nothing_else();
}

#[test]
fn a_directory_that_is_deleted_and_comes_back_is_found_by_the_poll() {
    let dir = TempDir::new().expect("a directory");
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).expect("made");
    let path = inner.join("cutover.toml");
    fs::write(&path, TEXT).expect("written");
    let bench = Bench::of(dir, path, OFTEN);
    fs::remove_dir_all(&inner).expect("removed");
    assert!(bench.invalid().contains("can't be read"));
    let outside = bench.in_dir("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("cutover.toml"), released("1.1")).expect("written");
    fs::rename(&outside, &inner).expect("renamed");
    assert_eq!(bench.edited(), "1.1");
    bench.nothing_else();
}

#[test]
fn a_directory_that_came_back_is_watched_again() {
    let dir = TempDir::new().expect("a directory");
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).expect("made");
    let path = inner.join("cutover.toml");
    fs::write(&path, TEXT).expect("written");
    let bench = Bench::of(dir, path.clone(), NEVER);
    fs::remove_dir_all(&inner).expect("removed");
    assert!(bench.invalid().contains("can't be read"));
    fs::create_dir(&inner).expect("made");
    fs::write(&path, released("1.1")).expect("written");
    assert_eq!(bench.reload(), Ok(true));
    assert_eq!(bench.edited(), "1.1");
    fs::write(&path, released("1.2")).expect("written");
    assert_eq!(bench.edited(), "1.2");
}

#[test]
fn the_same_bytes_are_no_event() {
    let bench = Bench::new(TEXT, OFTEN);
    for _ in 0..3 {
        bench.replace(TEXT);
        assert_eq!(bench.reload(), Ok(false));
    }
    fs::write(bench.in_dir("other"), "not of interest").expect("written");
    assert_eq!(bench.reload(), Ok(false));
    bench.nothing_else();
}

#[test]
fn an_invalid_file_is_told_once_and_its_repair_too() {
    let bench = Bench::new(TEXT, OFTEN);
    bench.replace(TEXT.replace("\"blue\"", "\"purple\""));
    assert!(bench.invalid().contains("cutover.toml:2:10: `active` is \"purple\""));
    // An explicit look says it again, to whoever asked.
    assert!(bench.reload().expect_err("still wrong").to_string().contains("purple"));
    bench.replace(TEXT);
    bench.restored();
    bench.replace(TEXT.replace("\"blue\"", "\"red\""));
    assert!(bench.invalid().contains("\"red\""));
    bench.replace(TEXT.replace("\"blue\"", "\"black\""));
    assert!(bench.invalid().contains("\"black\""));
    bench.replace(released("1.1"));
    assert_eq!(bench.edited(), "1.1");
    bench.nothing_else();
}

#[test]
fn a_file_that_can_not_be_read_is_invalid() {
    let bench = Bench::new(TEXT, OFTEN);
    fs::remove_file(&bench.path).expect("removed");
    fs::create_dir(&bench.path).expect("made");
    while !bench.invalid().contains("is not a regular file") {}
    fs::remove_dir(&bench.path).expect("removed");
    bench.replace(b"active = \"\xff\"");
    while !bench.invalid().contains("is not UTF-8 from byte 10 on") {}
    bench.replace(TEXT);
    bench.restored();
    bench.nothing_else();
}

#[test]
fn what_can_not_change_while_it_runs_is_invalid() {
    let bench = Bench::new(TEXT, NEVER);
    bench.replace(TEXT.replace("8080", "8081"));
    assert!(bench.invalid().contains("cutover.toml:15:8: `listen.http` can't change while the proxy runs"));
    bench.replace(released("3").replace("8080", "8081"));
    assert!(bench.invalid().contains("can't change"));
    bench.replace(released("1.1"));
    assert_eq!(bench.edited(), "1.1");
    bench.nothing_else();
}

#[test]
fn a_reload_answers_after_its_news_was_told() {
    let bench = Bench::new(TEXT, NEVER);
    let replace = |text: &str| {
        bench.replace(text);
        bench.reload()
    };
    // Either the reload found it or the watch was quicker; it is told once in any case, and before the answer.
    let _ = replace(&released("1.1"));
    assert!(matches!(bench.events.try_recv(), Ok(FileEvent::Edited(_))));
    let error = replace("active = 5").expect_err("wrong");
    assert!(error.to_string().contains("`active` is an integer; it has to be a string"), "{error}");
    assert!(matches!(bench.events.try_recv(), Ok(FileEvent::Invalid(told)) if told == error));
    assert_eq!(bench.reload(), Err(error));
    bench.nothing_else();
}

#[test]
fn a_secret_that_comes_later_makes_the_file_valid() {
    let bench = Bench::new(TEXT, NEVER);
    let secret = bench.in_dir("secret");
    let token = format!(
        "{}\n[[admin.tokens]]\nname = \"a\"\nrole = \"viewer\"\nfile = \"{}\"\n",
        released("1.1"),
        secret.display()
    );
    bench.replace(token);
    assert!(bench.invalid().contains("can't be read"));
    fs::write(bench.in_dir("temporary"), "s3cret").expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(bench.in_dir("temporary"), private).expect("a mode");
    fs::rename(bench.in_dir("temporary"), &secret).expect("renamed");
    let _ = bench.reload();
    assert_eq!(bench.edited(), "1.1");
    bench.nothing_else();
}

#[test]
fn a_reload_reads_secrets_again_where_the_file_itself_is_as_before() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("cutover.toml");
    let secret = dir.path().join("secret");
    fs::write(&secret, "first").expect("written");
    let text = format!("{TEXT}\n[preview]\nsecret_file = \"{}\"\n", secret.display());
    fs::write(&path, text).expect("written");
    let bench = Bench::of(dir, path, OFTEN);
    let keep = |text: &str| {
        fs::write(bench.in_dir("next"), text).expect("written");
        fs::rename(bench.in_dir("next"), &secret).expect("renamed");
    };
    let in_force = |event| match event {
        FileEvent::Edited(config) => config.preview.clone().and_then(|preview| preview.secret?.secret).map(|it| it.0),
        other => panic!("not an edit: {other:?}"),
    };
    assert_eq!(bench.reload(), Ok(false));
    keep("second");
    assert_eq!(bench.reload(), Ok(true));
    assert_eq!(in_force(bench.next()).as_deref(), Some("second"));
    assert_eq!(bench.reload(), Ok(false));

    // One that is gone leaves the other in force, and is found when it comes back.
    fs::remove_file(&secret).expect("removed");
    assert!(bench.reload().expect_err("it is gone").to_string().contains("can't be read"));
    assert!(bench.invalid().contains("can't be read"));
    assert!(bench.reload().is_err(), "still, and told once");
    keep("second");
    bench.restored();
    fs::remove_file(&secret).expect("removed");
    assert!(bench.reload().is_err());
    assert!(bench.invalid().contains("can't be read"));
    keep("third");
    assert_eq!(in_force(bench.next()).as_deref(), Some("third"));
    bench.nothing_else();
}

#[test]
fn a_write_back_changes_one_value_and_is_no_edit() {
    let crlf = TEXT.replace('\n', "\r\n");
    let cases = [
        (TEXT.to_owned(), TEXT.replace("\"blue\"", "\"green\"")),
        (crlf.clone(), crlf.replace("\"blue\"", "\"green\"")),
        (format!("{TEXT}\n"), format!("{TEXT}\n").replace("\"blue\"", "\"green\"")),
        (format!("\u{feff}{TEXT}"), format!("\u{feff}{TEXT}").replace("\"blue\"", "\"green\"")),
        (TEXT.replace("\"blue\"", "'blue'"), TEXT.replace("\"blue\"", "'green'")),
        (TEXT.replace("\"blue\"", "\"\"\"blue\"\"\""), TEXT.replace("\"blue\"", "\"\"\"green\"\"\"")),
        (TEXT.replace("\"blue\"", "\"bl\\u0075e\""), TEXT.replace("\"blue\"", "\"green\"")),
        (TEXT.replace("active = ", "\"active\"\t="), TEXT.replace("active = \"blue\"", "\"active\"\t=\"green\"")),
    ];
    for (before, after) in cases {
        let bench = Bench::new(&before, OFTEN);
        assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
        assert_eq!(bench.read(), after);
        // Its own write counts as seen.
        assert_eq!(bench.reload(), Ok(false));
        assert_eq!(bench.write_back(Color::Green), Ok(Color::Green), "what stands there already");
        assert_eq!(bench.write_back(Color::Blue), Ok(Color::Blue));
        assert_eq!(bench.read().replace('\'', "\""), before.replace("\\u0075", "u").replace('\'', "\""));
        assert_eq!(fs::read_dir(bench.dir.path()).expect("read").count(), 1, "no temporary file is left");
        bench.nothing_else();
    }
}

#[test]
fn an_edit_after_a_write_back_has_only_what_the_human_changed() {
    let bench = Bench::new(TEXT, NEVER);
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    bench.write(&bench.read().replace("release = \"1\"", "release = \"1.1\""));
    loop {
        match bench.next() {
            FileEvent::Edited(config) => {
                assert_eq!(config.active, Color::Green);
                assert_eq!(config.colors.blue.release.as_str(), "1.1");
                break;
            }
            FileEvent::Invalid(_) | FileEvent::Restored => {}
            other @ FileEvent::WroteBack(_) => panic!("{other:?}"),
        }
    }
    bench.nothing_else();
}

#[test]
fn a_write_back_is_done_on_the_newest_content() {
    let bench = Bench::new(TEXT, NEVER);
    for (release, color) in [("1.1", Color::Green), ("1.2", Color::Blue), ("1.3", Color::Green)] {
        let text = bench.read();
        let at = text.find("release = \"1").expect("a release");
        let end = at + text[at..].find('\n').expect("an end");
        let text = format!("{}release = \"{release}\" # by hand{}", &text[..at], &text[end..]);
        bench.replace(&text);
        bench.watch.write_back(color);
        // The edit is told first; the write-back that met it gives way, and is asked for again.
        assert_eq!(bench.edited(), release);
        let result = match bench.next() {
            FileEvent::WroteBack(Err(reason)) => {
                assert_eq!(reason, "the file was edited at the same time");
                bench.write_back(color)
            }
            FileEvent::WroteBack(result) => result,
            other => panic!("{other:?}"),
        };
        assert_eq!(result, Ok(color));
        let active = |color: Color| format!("active = \"{color}\"");
        assert_eq!(bench.read(), text.replace(&active(color.other()), &active(color)));
    }
    bench.nothing_else();
}

#[test]
fn a_write_back_keeps_mode_and_link() {
    let dir = TempDir::new().expect("a directory");
    let real = dir.path().join("real");
    fs::create_dir(&real).expect("made");
    let file = real.join("file.toml");
    fs::write(&file, TEXT).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
    let path = dir.path().join("cutover.toml");
    symlink("real/file.toml", &path).expect("linked");
    let bench = Bench::of(dir, path, NEVER);
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    assert_eq!(fs::read_link(&bench.path).expect("a link"), Path::new("real/file.toml"));
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o7777, 0o640);
    assert_eq!(bench.read(), TEXT.replace("\"blue\"", "\"green\""));
    bench.nothing_else();
}

#[test]
fn a_write_back_into_a_file_that_is_gone_says_so() {
    let bench = Bench::new(TEXT, NEVER);
    fs::remove_file(&bench.path).expect("removed");
    bench.watch.write_back(Color::Green);
    // It looks first, and what it finds is told first.
    assert!(bench.invalid().contains("can't be read"));
    let FileEvent::WroteBack(Err(reason)) = bench.next() else { panic!("it was written") };
    assert!(
        reason.starts_with("the file is not valid: ") && reason.contains("can't be read: No such file"),
        "{reason}"
    );
    // And when it is back, it is written.
    bench.write(TEXT);
    while !matches!(bench.next(), FileEvent::Restored) {}
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    bench.nothing_else();
}

#[test]
fn a_write_back_into_a_file_that_is_not_valid_leaves_it_alone() {
    let bench = Bench::new(TEXT, NEVER);
    let wrong = TEXT.replace("[listen]", "[lisen]");
    bench.replace(&wrong);
    bench.watch.write_back(Color::Green);
    assert!(bench.invalid().contains("did you mean `listen`?"));
    let FileEvent::WroteBack(Err(reason)) = bench.next() else { panic!("it was written") };
    assert!(reason.contains("the file is not valid: "), "{reason}");
    assert_eq!(bench.read(), wrong);
    // Repaired and asked for in one moment: what is in force stands there again, so it is written.
    bench.replace(TEXT);
    bench.watch.write_back(Color::Green);
    bench.restored();
    assert!(matches!(bench.next(), FileEvent::WroteBack(Ok(Color::Green))));
    bench.nothing_else();
}

#[test]
fn a_write_back_where_nothing_can_be_written_says_so() {
    let bench = Bench::new(TEXT, NEVER);
    // Stands for a directory that can't be written; this fails for root as well.
    fs::create_dir(bench.in_dir(".cutover.toml.cutover")).expect("made");
    let reason = bench.write_back(Color::Green).expect_err("no place for the temporary file");
    assert!(reason.contains("cutover.toml can't be written: "), "{reason}");
    assert_eq!(bench.read(), TEXT);
    // The watch goes on, and so does what is in force.
    bench.write(&released("1.1"));
    bench.edited_to("1.1");
    bench.nothing_else();
}

#[test]
fn a_write_back_overwrites_what_a_crash_left_behind() {
    let bench = Bench::new(TEXT, NEVER);
    fs::write(bench.in_dir(".cutover.toml.cutover"), "half a fi").expect("written");
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    assert_eq!(bench.read(), TEXT.replace("\"blue\"", "\"green\""));
    assert_eq!(fs::read_dir(bench.dir.path()).expect("read").count(), 1);
    bench.nothing_else();
}

#[test]
fn a_write_back_never_overwrites_what_was_written_meanwhile() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("cutover.toml");
    fs::write(&path, released("1.1")).expect("written");
    let reason =
        write_back::write_back(&path, TEXT, Color::Green, dir.path(), || {}).expect_err("it is not what was read");
    assert!(reason.contains("the file was edited at the same time"), "{reason}");
    assert_eq!(fs::read_to_string(&path).expect("read"), released("1.1"));
    assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 1, "no temporary file is left");
}

#[test]
fn every_write_back_of_a_crowd_is_answered_in_its_order() {
    let bench = Bench::new(TEXT, OFTEN);
    let colors: Vec<Color> = (0..20).map(|number| Color::ALL[number % 2]).collect();
    for color in &colors {
        bench.watch.write_back(*color);
    }
    for color in colors {
        let FileEvent::WroteBack(result) = bench.next() else { panic!("an edit") };
        assert_eq!(result, Ok(color));
    }
    assert_eq!(bench.read(), TEXT.replace("\"blue\"", "\"green\""));
    bench.nothing_else();
}

/// An ACL that lets the user 12345 write, as the kernel keeps it.
fn acl() -> Vec<u8> {
    let entry =
        |tag: u16, rights: u16, id: u32| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat();
    let nobody = u32::MAX;
    let entries = [
        entry(0x01, 6, nobody),
        entry(0x02, 6, 12_345),
        entry(0x04, 4, nobody),
        entry(0x10, 6, nobody),
        entry(0x20, 0, nobody),
    ];
    [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
}

#[test]
fn a_write_back_keeps_owner_group_mode_acl_and_attributes() {
    let bench = Bench::new(TEXT, NEVER);
    let path = &bench.path;
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).expect("set");
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(path, Some(1_234), Some(2_345)).expect("root may");
    }
    let set =
        |name: &str, value: &[u8]| rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok();
    let get = |name: &str| {
        let mut value = vec![0; 1_000];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).expect("it is there");
        value.truncate(length);
        value
    };
    // Only on file systems that have them.
    let kept = [("user.note", b"by hand".to_vec()), ("system.posix_acl_access", acl())];
    let kept: Vec<_> = kept.into_iter().filter(|(name, value)| set(name, value)).collect();
    let mode = fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    assert_eq!(bench.read(), TEXT.replace("\"blue\"", "\"green\""));
    let metadata = fs::metadata(path).expect("it is there");
    assert_eq!(metadata.permissions().mode(), mode);
    if root {
        use std::os::unix::fs::MetadataExt;
        assert_eq!((metadata.uid(), metadata.gid()), (1_234, 2_345));
    }
    for (name, value) in kept {
        assert_eq!(get(name), value, "{name}");
    }
    assert_eq!(fs::read_dir(bench.dir.path()).expect("read").count(), 1, "no copy is left");
    bench.nothing_else();
}

#[test]
fn a_write_back_keeps_the_other_names_of_the_file() {
    let bench = Bench::new(TEXT, NEVER);
    fs::hard_link(&bench.path, bench.in_dir("other")).expect("linked");
    assert_eq!(bench.write_back(Color::Green), Ok(Color::Green));
    assert_eq!(fs::read_to_string(bench.in_dir("other")).expect("read"), TEXT.replace("\"blue\"", "\"green\""));
    assert_eq!(fs::read_dir(bench.dir.path()).expect("read").count(), 2, "no copy is left");
    bench.nothing_else();
}

#[test]
fn a_file_counts_when_its_writer_has_closed_it() {
    use std::io::Write;
    let bench = Bench::new(TEXT, OFTEN);
    // From the first edit on it is certain that events come.
    bench.replace(released("1.0.1"));
    assert!(matches!(bench.next(), FileEvent::Edited(_)));
    let mut file = File::create(&bench.path).expect("the file");
    // Valid, and half of what is to come.
    file.write_all(released("1.1").as_bytes()).expect("written");
    assert!(bench.events.recv_timeout(Duration::from_millis(700)).is_err(), "half a file was taken");
    file.write_all(b"\n[drain]\ntimeout = \"7s\"\n").expect("written");
    drop(file);
    match bench.next() {
        FileEvent::Edited(config) => assert_eq!(config.drain.timeout, Duration::from_secs(7)),
        other => panic!("not an edit: {other:?}"),
    }
    bench.nothing_else();
}

#[test]
fn the_first_of_two_edits_counts_although_the_second_is_not_done() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("cutover.toml");
    let mut settling = Settling::default();
    let seen = Ok(TEXT.to_owned());
    fs::write(&path, released("1.1")).expect("written");
    settling.note(Told::Written, &path);
    settling.note(Told::Closed, &path);
    assert!(matches!(settling.look(&path, &seen, TEXT.len()), Settled::Not(..)), "another write may be told of");
    fs::write(&path, &released("1.2")[..100]).expect("written");
    settling.note(Told::Written, &path);
    match settling.look(&path, &seen, TEXT.len()) {
        Settled::Content(reading, Evidence::Passed) => assert_eq!(reading.found, Ok(released("1.1"))),
        other => panic!("the first edit is lost: {other:?}"),
    }
    assert!(matches!(settling.look(&path, &seen, TEXT.len()), Settled::Not(..)), "half of the second");
    // The second version is not taken for the first.
    settling.note(Told::Closed, &path);
    assert!(matches!(settling.look(&path, &seen, TEXT.len()), Settled::Not(..)));
    settling.note(Told::Written, &path);
    assert!(matches!(settling.look(&path, &seen, TEXT.len()), Settled::Not(..)));
}

#[test]
fn without_events_a_file_counts_when_it_was_quiet_and_a_shorter_one_later() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("cutover.toml");
    fs::create_dir(dir.path().join("aside")).expect("made");
    let aside = dir.path().join("aside/cutover.toml");
    fs::write(&aside, TEXT).expect("written");
    fs::hard_link(&aside, &path).expect("linked");
    let bench = Bench::of(dir, path, OFTEN);
    // Nobody watches the directory of its other name.
    let began = Instant::now();
    fs::write(&aside, released("1.1")).expect("written");
    assert_eq!(bench.edited(), "1.1");
    // The clock of the file system ticks every few milliseconds.
    assert!(began.elapsed() >= settle::QUIET - Duration::from_millis(20));
    let shorter = Instant::now();
    fs::write(&aside, TEXT).expect("written");
    assert_eq!(bench.edited(), "1");
    assert!(shorter.elapsed() >= Duration::from_millis(980));
    // A look waits for it.
    fs::write(&aside, released("1.3")).expect("written");
    assert_eq!(bench.reload(), Ok(true));
    assert_eq!(bench.edited(), "1.3");
    bench.nothing_else();
}

#[test]
fn a_look_at_a_file_that_is_being_written_ends_at_its_time() {
    use std::io::Write;
    let bench = Bench::new(TEXT, NEVER);
    let mut file = File::create(&bench.path).expect("the file");
    file.write_all(&TEXT.as_bytes()[..100]).expect("written");
    let (sender, answer) = mpsc::channel();
    bench.watch.look(Duration::from_millis(300), move |looked| drop(sender.send(looked)));
    let Ok(Err(LookError::Busy(why))) = answer.recv_timeout(PATIENT) else { panic!("it was taken") };
    assert!(why.contains("cutover.toml"), "{why}");
    file.write_all(&TEXT.as_bytes()[100..]).expect("written");
    drop(file);
    assert_eq!(bench.reload(), Ok(false));
    bench.nothing_else();
}
