//! The file itself: append, recover, compact, and the lock on its directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::FlockOperation;

use crate::domain::transition::Transition;
use crate::ledger::Recovered;
use crate::ledger::format::{self, Unreadable};
use crate::ledger::verify::{Verified, verify};

const NAME: &str = "ledger.jsonl";
/// A longer ledger is compacted when it is opened,
const COMPACT_ABOVE: usize = 10_000;
/// to so many lines.
const KEEP: usize = 1_000;

/// How long the directory may still belong to a process that ends, and how often that is looked at.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why the ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The operating system refused.
    #[error("could not {action} {}: {source}{}", path.display(), repair(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two processes on one ledger would overrule each other.
    #[error("{} is in use by another cutover{}; stop that one, or give this one a state.dir of its own", dir.display(), holder(*pid))]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The other process, if it could be found out.
        pid: Option<u32>,
    },
    /// Written by a later program.
    #[error("{} was written by a newer cutover (format {version}, this one reads up to {}); run that one", path.display(), format::VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
}

impl LedgerError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> LedgerError {
        LedgerError::Io { action, path: path.to_owned(), source }
    }
}

fn repair(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space on that file system",
        io::ErrorKind::PermissionDenied => "; let this user write there, or set state.dir to a directory of its own",
        io::ErrorKind::ReadOnlyFilesystem => "; make it writable, or set state.dir to a directory that is",
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
            "; something else is in its place: move that away, or set state.dir to another directory"
        }
        _ => "",
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// The open ledger.
#[derive(Debug)]
pub(super) struct LedgerFile {
    path: PathBuf,
    /// Carries the lock; so the lock needs no file of its own, and holds on a read-only file system too.
    dir: File,
    /// Open for appending; `None` while that can't be had.
    file: Option<File>,
    /// Bytes that are known to be whole lines on disk.
    length: u64,
    next_sequence: u64,
    /// The digest of the last line.
    head: Option<String>,
}

impl LedgerFile {
    pub(super) fn open(dir_path: &Path) -> Result<(LedgerFile, Recovered), LedgerError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir_path)
            .map_err(|source| LedgerError::io("make the state directory", dir_path, source))?;
        let dir = File::open(dir_path).map_err(|source| LedgerError::io("open", dir_path, source))?;
        let began = Instant::now();
        loop {
            match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                // A process that was killed has it until the kernel has cleared it away.
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LedgerError::Locked { dir: dir_path.to_owned(), pid: locked_by(&dir) });
                }
                Err(error) => return Err(LedgerError::io("lock", dir_path, error.into())),
            }
        }
        let path = dir_path.join(NAME);
        let mut ledger = LedgerFile { path, dir, file: None, length: 0, next_sequence: 1, head: None };
        let recovered = ledger.recover()?;
        Ok((ledger, recovered))
    }

    /// Reads what is there. What can't be read is set aside under a new name, and costs nothing else.
    fn recover(&mut self) -> Result<Recovered, LedgerError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(LedgerError::io("read", &self.path, source)),
        };
        let mut recovered = Recovered { transitions: Vec::new(), warnings: Vec::new() };
        let mut whole: Vec<&[u8]> = Vec::new();
        let mut damaged: Vec<u8> = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let read = match line.strip_suffix(b"\n") {
                Some(line) => format::read(line),
                None => Err(Unreadable::Damaged),
            };
            match read {
                // Copied to where it does not belong, it must not become the decision in force.
                Ok(read) if read.sequence < self.next_sequence => damaged.extend_from_slice(line),
                Ok(read) => {
                    self.next_sequence = read.sequence + 1;
                    self.head = Some(format::digest(line.trim_ascii_end()));
                    whole.push(line);
                    recovered.transitions.push((read.sequence, read.transition));
                }
                Err(Unreadable::Damaged) => damaged.extend_from_slice(line),
                Err(Unreadable::Newer(version)) => {
                    return Err(LedgerError::Newer { path: self.path.clone(), version });
                }
            }
        }
        self.length = bytes.len() as u64;
        let too_long = whole.len() > COMPACT_ABOVE;
        if too_long {
            let from = whole.len() - KEEP;
            whole.drain(..from);
            recovered.transitions.drain(..from);
        }
        if damaged.is_empty() && !too_long {
            return Ok(recovered);
        }
        if let Err(error) = self.set_aside(&damaged, &mut recovered).and_then(|()| self.rewrite(&whole.concat())) {
            // On a disk that can't be written the good lines still count; the next start tries again.
            recovered.warnings.push(format!("the ledger could not be put in order: {error}"));
        }
        Ok(recovered)
    }

    fn set_aside(&self, damaged: &[u8], recovered: &mut Recovered) -> Result<(), LedgerError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let stamp = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
        let aside = self.path.with_file_name(format!("ledger.damaged-{stamp}"));
        let written = OpenOptions::new().append(true).create(true).mode(0o600).open(&aside);
        let written = written.and_then(|mut file| file.write_all(damaged).and_then(|()| file.sync_all()));
        written.map_err(|source| LedgerError::io("set damaged lines aside in", &aside, source))?;
        recovered.warnings.push(format!(
            "{} bytes of {} could not be read (a write that was cut off, or a damaged disk) and are kept in {}; the decision in force is the last whole line",
            damaged.len(),
            self.path.display(),
            aside.display(),
        ));
        Ok(())
    }

    /// Replaces the whole file, so that a crash leaves the old one or the new one.
    fn rewrite(&mut self, text: &[u8]) -> Result<(), LedgerError> {
        let next = self.path.with_extension("jsonl.new");
        let replaced = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&next, &self.path)?;
            self.dir.sync_all()
        })();
        replaced.map_err(|source| LedgerError::io("rewrite", &self.path, source))?;
        self.file = None;
        self.length = text.len() as u64;
        Ok(())
    }

    /// Appends one line, and returns its sequence number when it is on disk.
    pub(super) fn append(&mut self, transition: &Transition) -> Result<u64, LedgerError> {
        let sequence = self.next_sequence;
        let line = format::write(sequence, transition, self.head.as_deref());
        if self.file.is_none() {
            self.file = Some(self.open_for_append().map_err(|source| LedgerError::io("open", &self.path, source))?);
        }
        let file = self.file.as_mut().expect("just opened");
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // Half a line must not stand before the next one.
            if file.set_len(self.length).and_then(|()| file.sync_data()).is_err() {
                self.file = None;
            }
            return Err(LedgerError::io("write", &self.path, source));
        }
        self.length += line.len() as u64;
        self.next_sequence += 1;
        self.head = Some(format::digest(line.trim_ascii_end().as_bytes()));
        Ok(sequence)
    }

    /// Reads the whole file again and holds its chain together, also with what was written last.
    pub(super) fn verify(&self) -> Result<Verified, LedgerError> {
        let mut verified = verify(&self.path)?;
        if verified.head != self.head {
            verified.breaks.push("the last line is not the one that this process wrote last".to_owned());
        }
        Ok(verified)
    }

    fn open_for_append(&mut self) -> io::Result<File> {
        let new = !self.path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        if new {
            self.dir.sync_all()?;
            self.length = 0;
        }
        if !file.metadata()?.is_file() {
            return Ok(file);
        }
        // Whatever an earlier failure left behind the last whole line goes first.
        let length = file.seek(SeekFrom::End(0))?;
        if length > self.length {
            file.set_len(self.length)?;
        } else if length < self.length {
            self.length = length;
        }
        let mut last = [b'\n'];
        if self.length > 0 {
            file.seek(SeekFrom::Start(self.length - 1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            self.length += 1;
        }
        Ok(file)
    }
}

/// Who holds the lock, by what the kernel lists.
fn locked_by(dir: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = dir.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234 0 EOF`
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == "FLOCK").then_some(())?;
        let pid = fields.nth(2)?;
        let device_inode = fields.next()?;
        (device_inode.rsplit(':').next()? == inode).then(|| pid.parse().ok())?
    })
}
