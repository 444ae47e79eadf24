//! The moment at which content of the file counts: after its writer closed it, or without such an event after a time
//! of quiet. A file that is written in place can be valid in the middle of a write.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};

use crate::config;

/// Content without a known writer counts after this time without a change.
pub(super) const QUIET: Duration = Duration::from_millis(250);
/// Shorter content counts after this time: a file that is written in place is short at first.
const SHORTER: Duration = Duration::from_secs(1);
/// A writer that keeps the file open counts as gone after this time without a write.
const ABANDONED: Duration = Duration::from_secs(600);
/// An edit that waits this long for its writer is logged.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// The longest delay between a write and its event.
const GRACE: Duration = Duration::from_millis(5);

/// The meaning of a file system event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Written,
    /// A writer closed the file, or it was moved into place.
    Closed,
    /// Another file was moved into a watched directory: perhaps a link to the file.
    Moved,
    Other,
    /// Events were lost.
    Lost,
}

/// `None`: the event does not matter. `names` are those of the file and of links to it.
pub(super) fn told(event: &notify::Event, names: &[OsString]) -> Option<Told> {
    if event.need_rescan() {
        return Some(Told::Lost);
    }
    // A rename has two paths; the last one is the new name.
    let ours = event.paths.last().and_then(|path| path.file_name()).is_some_and(|name| names.iter().any(|n| n == name));
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) if ours => Some(Told::Closed),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Told::Other),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_)) if ours => Some(Told::Written),
        // Another file: each write to a log there would have this one read.
        EventKind::Modify(ModifyKind::Data(_)) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => {
            Some(if ours { Told::Closed } else { Told::Moved })
        }
        _ => Some(Told::Other),
    }
}

/// The file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The text, or the reason why there is none.
    pub(super) found: Result<String, String>,
    stamp: Option<Stamp>,
}

/// Differs after every write, and for every other file in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// The time since the last change, by the clock of the file system.
    fn age(self) -> Option<Duration> {
        let (seconds, nanoseconds) = self.changed;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since).ok()
    }
}

impl Reading {
    fn of(path: &Path) -> Reading {
        let before = Stamp::of(path);
        let found = config::read(path);
        // Content that changed during the read has no stamp, and so no age.
        Reading { found, stamp: Stamp::of(path).filter(|after| before == Some(*after)) }
    }
}

#[derive(Debug)]
pub(super) enum Settled {
    /// This content counts.
    Content(Reading, Evidence),
    /// The content may be half of an edit: the reason, and the time of the next look.
    Not(String, Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The content was seen before.
    Known,
    Closed,
    Quiet,
    /// The content was complete, and has been replaced since.
    Passed,
}

/// The knowledge about writers of the file.
#[derive(Debug, Default)]
pub(super) struct Settling {
    writing: bool,
    closed: bool,
    /// A link may lead to another file.
    moved: bool,
    /// Content after a close, which counts unless a write is reported before this time.
    closing: Option<(Reading, Instant)>,
    /// Complete content that was overwritten before it could be taken.
    passed: VecDeque<Reading>,
    /// Content that does not count yet, and the time of its first look.
    standing: Option<(Reading, Instant)>,
    waiting: Option<Waiting>,
    /// The file taken last.
    taken: Option<(u64, u64)>,
}

/// An edit whose writer has the file open.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Instant,
    told: bool,
}

impl Settling {
    pub(super) fn note(&mut self, told: Told, path: &Path) {
        match told {
            Told::Written | Told::Closed => {
                // Content read before this write is complete.
                if let Some((reading, until)) = self.closing.take() {
                    if reading.stamp.is_some() && reading.stamp != Stamp::of(path) {
                        self.passed.push_back(reading);
                    } else if told == Told::Closed {
                        self.closing = Some((reading, until));
                    }
                }
                (self.writing, self.closed) = (told == Told::Written, told == Told::Closed);
            }
            Told::Moved => self.moved = true,
            Told::Lost => (self.writing, self.closed, self.closing) = (false, false, None),
            Told::Other => {}
        }
    }

    /// The watch moved to other files, whose writers are unknown.
    pub(super) fn forget(&mut self) {
        self.note(Told::Lost, Path::new(""));
    }

    /// Looks at the file. `seen` is the content that counted last; `length` that of the content in force.
    pub(super) fn look(&mut self, path: &Path, seen: &Result<String, String>, length: usize) -> Settled {
        if let Some(reading) = self.passed.pop_front() {
            return Settled::Content(reading, Evidence::Passed);
        }
        let now = Instant::now();
        match self.closing.take() {
            Some((reading, until)) if until <= now => return self.take(reading, Evidence::Closed),
            Some((reading, until)) => {
                self.closing = Some((reading, until));
                return Settled::Not(changed(path), until);
            }
            None => {}
        }
        let reading = Reading::of(path);
        if reading.found == *seen {
            return self.take(reading, Evidence::Known);
        }
        // A missing file has no writer.
        self.writing &= reading.found.is_ok();
        let led_elsewhere = self.moved && reading.stamp.is_some_and(|stamp| self.taken != Some(stamp.file));
        if !self.writing && (self.closed || led_elsewhere) {
            self.closing = Some((reading, now + GRACE));
            return Settled::Not(changed(path), now + GRACE);
        }
        let since = match &self.standing {
            Some((before, since)) if *before == reading => *since,
            _ => now,
        };
        let watched = now.saturating_duration_since(since);
        let (quiet, needed) = if self.writing {
            (watched, ABANDONED)
        } else {
            let by_clock = reading.stamp.and_then(Stamp::age).unwrap_or_default();
            let shorter = reading.found.as_ref().is_ok_and(|text| text.len() < length);
            (watched.max(by_clock), if shorter { SHORTER } else { QUIET })
        };
        if quiet >= needed {
            return self.take(reading, Evidence::Quiet);
        }
        self.standing = Some((reading, since));
        let again = now + (needed - quiet);
        if !self.writing {
            return Settled::Not(changed(path), again);
        }
        let why = format!("{} is being written: its writer has not closed it", path.display());
        let told_at = self.tell_waiting(now, &why);
        Settled::Not(why, told_at.map_or(again, |at| at.min(again)))
    }

    /// Logs once per edit that it waits for its writer. Returns the time of the log line while it is due.
    fn tell_waiting(&mut self, now: Instant, why: &str) -> Option<Instant> {
        let waiting = self.waiting.get_or_insert(Waiting { since: now, told: false });
        let tell_at = waiting.since + TOLD_AFTER;
        if waiting.told || now < tell_at {
            return Some(tell_at).filter(|_| !waiting.told);
        }
        waiting.told = true;
        tracing::warn!(counts_after_quiet_s = ABANDONED.as_secs(), "{why}");
        None
    }

    fn take(&mut self, reading: Reading, evidence: Evidence) -> Settled {
        if evidence == Evidence::Quiet {
            self.writing = false;
        }
        (self.closed, self.moved, self.standing, self.waiting) = (false, false, None, None);
        self.taken = reading.stamp.map(|stamp| stamp.file).or(self.taken);
        Settled::Content(reading, evidence)
    }
}

fn changed(path: &Path) -> String {
    format!("{} has just changed, and its writer may not be done", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_an_open_writer_waits_for_minutes_and_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cutover.toml");
        std::fs::write(&path, "half").expect("written");
        let seen = Ok("whole".to_owned());
        let mut settling = Settling::default();
        settling.note(Told::Written, &path);
        let look = |settling: &mut Settling| match settling.look(&path, &seen, 5) {
            Settled::Not(why, again) => (why, again.saturating_duration_since(Instant::now())),
            Settled::Content(..) => panic!("half a file was taken"),
        };
        let (why, again) = look(&mut settling);
        assert!(why.ends_with("cutover.toml is being written: its writer has not closed it"), "{why}");
        assert!(again <= TOLD_AFTER, "it looks again when it is time to tell it");
        let waiting = settling.waiting.as_mut().expect("it waits");
        waiting.since = waiting.since.checked_sub(TOLD_AFTER).expect("a moment");
        for _ in 0..2 {
            assert!(look(&mut settling).1 > Duration::from_secs(9 * 60));
            assert!(settling.waiting.is_some_and(|waiting| waiting.told));
        }
        settling.note(Told::Closed, &path);
        let (_, again) = look(&mut settling);
        assert!(again <= GRACE);
        std::thread::sleep(again);
        let settled = settling.look(&path, &seen, 5);
        assert!(matches!(settled, Settled::Content(_, Evidence::Closed)), "{settled:?}");
        assert!(settling.waiting.is_none(), "the next edit is told again");
    }
}
