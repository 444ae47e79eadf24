//! Comparison of the file on disk with the one that this process wrote, and its repair.
//!
//! The state directory or the ledger may be removed, or replaced by an older copy, while the process runs. Further
//! lines would then reach a file that nobody finds. So device, inode, length and last line are compared around every
//! line, and once a second.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use crate::ledger::Condition;
use crate::ledger::error::LedgerError;
use crate::ledger::file::{LedgerFile, locked_by};
use crate::ledger::format;
use crate::ledger::read::{self, name_beside};

/// Looks before changed content is replaced, unless a line comes: somebody may be copying files.
const LOOKS: u32 = 10;

/// Difference between the file on disk and the written one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The state directory is gone.
    NoDirectory,
    /// Another directory is in its place.
    OtherDirectory,
    /// The ledger is gone.
    NoFile,
    /// Another file is in its place.
    OtherFile,
    /// Another length, or another last line.
    Changed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Loss::NoDirectory => "the state directory was removed while the process ran",
            Loss::OtherDirectory => "another state directory was put in the place of this one while the process ran",
            Loss::NoFile => "the ledger was removed while the process ran",
            Loss::OtherFile => "another ledger was put in the place of this one while the process ran",
            Loss::Changed => "the ledger was changed by another program while the process ran",
        })
    }
}

impl LedgerFile {
    fn loss(&self) -> io::Result<Option<Loss>> {
        self.loss_at(self.length, self.tail.last())
    }

    /// `length` and `last`: the expected end of the file.
    pub(super) fn loss_at(&self, length: u64, last: Option<&[u8]>) -> io::Result<Option<Loss>> {
        let same = |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        match fs::metadata(&self.dir_path) {
            Ok(found) if same(&found, &self.dir.metadata()?) => {}
            Ok(_) => return Ok(Some(Loss::OtherDirectory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Loss::NoDirectory)),
            Err(error) => return Err(error),
        }
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((length > 0).then_some(Loss::NoFile));
            }
            Err(error) => return Err(error),
        };
        // A write failed before, and the next one corrects the length.
        let Some(file) = &self.file else { return Ok(None) };
        if !same(&found, &file.metadata()?) {
            return Ok(Some(Loss::OtherFile));
        }
        let whole = found.len() == length && ends_with(file, length, last)?;
        Ok((!whole).then_some(Loss::Changed))
    }

    /// Called once a second. A missing ledger is rewritten at once, a changed one after a while.
    pub(in crate::ledger) fn look(&mut self) {
        match self.loss() {
            Ok(None) => {
                self.looks = 0;
                let _ = self.tell(true, None);
            }
            Ok(Some(Loss::OtherFile | Loss::Changed)) if self.looks < LOOKS => {
                if self.looks == 0 {
                    let path = self.path.display();
                    tracing::error!(file = %path, "Ledger changed by another program");
                    let trouble = format!(
                        "{path} is not what this process wrote; it is written anew with the next line, or in {LOOKS} s"
                    );
                    let _ = self.tell(false, Some(trouble));
                }
                self.looks += 1;
            }
            Ok(Some(loss)) => {
                // The failure is reported there.
                let _ = self.restore(loss, &[]);
            }
            Err(error) => {
                let _ = self.tell(false, Some(format!("{} can't be looked at: {error}", self.path.display())));
            }
        }
    }

    /// Rewrites the ledger if it is damaged, with `line` at its end; true if so.
    pub(in crate::ledger) fn restore_if_lost(&mut self, line: &[u8]) -> Result<bool, LedgerError> {
        match self.loss() {
            Ok(None) => Ok(false),
            Ok(Some(loss)) => self.restore(loss, line).map(|()| true),
            Err(source) => Err(LedgerError::io("look at", &self.path, source)),
        }
    }

    pub(super) fn restore(&mut self, loss: Loss, line: &[u8]) -> Result<(), LedgerError> {
        let path = self.path.display().to_string();
        let restored = self.write_anew(loss, line);
        match &restored {
            Ok(()) => {
                self.looks = 0;
                tracing::error!(file = %path, reason = %loss, lines = self.lines, "Ledger written anew");
                let _ = self.tell(true, None);
                let mut condition = self.condition.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                condition.rewritten += 1;
                condition.last_loss = Some((SystemTime::now(), loss.to_string()));
            }
            Err(error) => {
                if self.tell(false, Some(format!("{loss}, and it can't be written anew: {error}"))) {
                    tracing::error!(file = %path, reason = %loss, %error, "Ledger lost");
                }
            }
        }
        restored
    }

    fn write_anew(&mut self, loss: Loss, line: &[u8]) -> Result<(), LedgerError> {
        if matches!(loss, Loss::NoDirectory | Loss::OtherDirectory) {
            self.take_directory()?;
        }
        // An older copy may be intended, so it is kept.
        if self.path.exists() {
            let aside = name_beside(&self.path, "replaced");
            if let Err(error) = fs::hard_link(&self.path, &aside) {
                tracing::warn!(file = %aside.display(), %error, "Replaced ledger not kept");
            }
        }
        let holds_all = |file: &File| ends_with(file, self.length, self.tail.last()).unwrap_or(false);
        let kept = self.file.as_ref().filter(|file| holds_all(file)).and_then(|file| file.try_clone().ok());
        let older = read::open(&self.path).ok();
        let (length, tail) = (self.length, self.tail.clone());
        let mut lines = self.lines;
        self.rewrite(|out| {
            match (kept, older) {
                // Unlinked or moved away: the open file still has every line.
                (Some(mut kept), _) => {
                    kept.seek(SeekFrom::Start(0))?;
                    io::copy(&mut kept.take(length), out)?;
                }
                (None, older) => match older.and_then(|older| continues(older, &tail)) {
                    Some((mut older, from)) => {
                        older.seek(SeekFrom::Start(0))?;
                        io::copy(&mut older, out)?;
                        tail.lines().skip(from).try_for_each(|line| out.write_all(line))?;
                    }
                    None => {
                        lines = tail.len();
                        tail.lines().try_for_each(|line| out.write_all(line))?;
                    }
                },
            }
            out.write_all(line)
        })?;
        self.lines = lines;
        Ok(())
    }

    /// Creates the directory if it is gone, and locks it.
    fn take_directory(&mut self) -> Result<(), LedgerError> {
        let path = self.dir_path.clone();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| LedgerError::io("make the state directory", &path, source))?;
        let dir = File::open(&path).map_err(|source| LedgerError::io("open", &path, source))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LedgerError::Locked { pid: locked_by(&dir), dir: path });
            }
            Err(error) => return Err(LedgerError::io("lock", &path, error.into())),
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(|source| LedgerError::io("open", parent, source))?;
        }
        self.dir = dir;
        Ok(())
    }

    /// True: the condition has changed.
    pub(super) fn tell(&self, whole: bool, trouble: Option<String>) -> bool {
        let mut condition = self.condition.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let news = (condition.whole, &condition.trouble) != (whole, &trouble);
        *condition = Condition { whole, trouble, ..condition.clone() };
        news
    }
}

/// The file has this line before this length.
fn ends_with(file: &File, length: u64, last: Option<&[u8]>) -> io::Result<bool> {
    let Some(last) = last else { return Ok(true) };
    let Some(start) = length.checked_sub(last.len() as u64) else { return Ok(false) };
    let mut found = vec![0; last.len()];
    match file.read_exact_at(&mut found, start) {
        Ok(()) => Ok(found == last),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The index of the line in memory that follows the last line of an older copy.
fn continues(older: File, tail: &super::Tail) -> Option<(File, usize)> {
    let found = read::last_lines(&older, 1, u64::MAX, |_| Ok(())).ok()?;
    let (_, last) = found.lines.back().filter(|_| found.damaged == 0)?;
    let from = tail.lines().position(|line| line == last)? + 1;
    // The digest of the last line stands for every line before it.
    let next = tail.lines().nth(from).and_then(|line| format::read(line.trim_ascii_end()).ok());
    let follows = next.is_none_or(|next| next.prev == Some(format::digest(last.trim_ascii_end())));
    follows.then_some((older, from))
}
