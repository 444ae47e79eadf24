//! The ledger's file: append, recover, compact, and the lock on its directory.

mod whole;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags};

use crate::domain::transition::Transition;
use crate::ledger::error::{LedgerError, failed_at};
use crate::ledger::format;
use crate::ledger::read::{self, Aside, Failed, Found};
use crate::ledger::verify::{Verified, verify};
use crate::ledger::{Condition, Recovered};

const NAME: &str = "ledger.jsonl";
/// Lines above which an opened ledger is compacted.
const COMPACT_ABOVE: usize = 10_000;
/// Lines above which it is compacted while the process runs.
const COMPACT_RUNNING_ABOVE: usize = 20_000;
/// Lines that a compaction keeps.
const KEEP: usize = 1_000;
/// Last bytes of a ledger that a start reads.
const WINDOW: u64 = 32 << 20;
/// Bytes of last lines kept in memory, to rewrite a ledger that was truncated.
const TAIL_BYTES: usize = 1 << 20;

/// How long the directory may still be locked by an ending process, and the interval of attempts.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > 1 && (self.bytes > TAIL_BYTES || self.lines.len() > KEEP) {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }

    fn last(&self) -> Option<&[u8]> {
        self.lines.back().map(Vec::as_slice)
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    fn len(&self) -> usize {
        self.lines.len()
    }
}

#[derive(Debug)]
pub(super) struct LedgerFile {
    dir_path: PathBuf,
    path: PathBuf,
    /// Carries the lock, which needs no file of its own and works on a read-only file system.
    dir: File,
    file: Option<File>,
    /// Bytes of whole lines on disk.
    length: u64,
    lines: usize,
    compact_above: usize,
    next_sequence: u64,
    head: Option<String>,
    tail: Tail,
    looks: u32,
    condition: Arc<Mutex<Condition>>,
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
                // A killed process holds the lock until the kernel has cleaned up.
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LedgerError::Locked { dir: dir_path.to_owned(), pid: locked_by(&dir) });
                }
                Err(error) => return Err(LedgerError::io("lock", dir_path, error.into())),
            }
        }
        LedgerFile::locked(dir_path, dir, true)
    }

    /// Another process has locked the directory, and writes nothing until this one says so, or ends.
    pub(super) fn take_over(dir_path: &Path, lock: OwnedFd) -> Result<(LedgerFile, Recovered), LedgerError> {
        let dir = File::from(lock);
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let its = dir.metadata().map_err(|source| LedgerError::io("take over", dir_path, source))?;
        if !fs::metadata(dir_path).is_ok_and(|here| identity(here) == identity(its)) {
            let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let running = fs::read_link(link).unwrap_or_else(|_| "another directory".into());
            return Err(LedgerError::Elsewhere { dir: dir_path.to_owned(), running });
        }
        // The file stays as it is: the other process goes on with it if this one fails.
        LedgerFile::locked(dir_path, dir, false)
    }

    pub(super) fn lock(&self) -> io::Result<OwnedFd> {
        Ok(self.dir.try_clone()?.into())
    }

    fn locked(dir_path: &Path, dir: File, compacts: bool) -> Result<(LedgerFile, Recovered), LedgerError> {
        let mut ledger = LedgerFile {
            dir_path: dir_path.to_owned(),
            path: dir_path.join(NAME),
            dir,
            file: None,
            length: 0,
            lines: 0,
            compact_above: COMPACT_RUNNING_ABOVE,
            next_sequence: 1,
            head: None,
            tail: Tail::default(),
            looks: 0,
            condition: Arc::default(),
        };
        let recovered = ledger.recover(compacts)?;
        if ledger.length > 0 {
            // Held open, so that a removed ledger can still be read. The first line reports errors.
            ledger.file = ledger.open_for_append().ok();
        }
        Ok((ledger, recovered))
    }

    #[cfg(test)]
    pub(super) fn compact_when_longer_than(&mut self, lines: usize) {
        self.compact_above = lines;
    }

    pub(super) fn condition(&self) -> Arc<Mutex<Condition>> {
        Arc::clone(&self.condition)
    }

    /// Reads the last lines. Unreadable bytes are set aside under a new name.
    fn recover(&mut self, compacts: bool) -> Result<Recovered, LedgerError> {
        let mut recovered = Recovered { transitions: Vec::new(), warnings: Vec::new() };
        let file = match read::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(recovered),
            Err(source) => return Err(LedgerError::io("read", &self.path, source)),
        };
        let mut aside = Aside::beside(&self.path, "damaged");
        let mut found = self.last_lines(&file, WINDOW, &mut aside)?;
        if found.skipped && found.lines.is_empty() {
            aside.restart();
            found = self.last_lines(&file, u64::MAX, &mut aside)?;
        }
        self.length = found.length;
        let too_long = compacts && (found.skipped || found.count > COMPACT_ABOVE);
        if too_long {
            found.lines.drain(..found.lines.len().saturating_sub(KEEP));
        }
        let start = found.start;
        for (sequence, line) in found.lines {
            match format::read(line.trim_ascii_end()) {
                Ok(read) => {
                    self.next_sequence = sequence + 1;
                    self.head = Some(format::digest(line.trim_ascii_end()));
                    recovered.transitions.push((sequence, read.transition));
                    self.lines += 1;
                    self.tail.push(line);
                }
                Err(_) => aside.take(&line),
            }
        }
        let in_order = match aside.finish() {
            Ok(false) if !too_long => return Ok(recovered),
            Ok(some) => {
                if some {
                    recovered.warnings.push(self.told_aside(&aside));
                }
                self.rewrite_last(&file, start, &recovered)
            }
            Err(source) => Err(LedgerError::io("set damaged lines aside in", &aside.path, source)),
        };
        if let Err(error) = in_order {
            // On a read-only disk the good lines still count; the next start tries again.
            recovered.warnings.push(format!("the ledger could not be put in order: {error}"));
        }
        Ok(recovered)
    }

    fn last_lines(&self, file: &File, window: u64, aside: &mut Aside) -> Result<Found, LedgerError> {
        let found = read::last_lines(file, COMPACT_ABOVE, window, |bytes| {
            aside.take(bytes);
            Ok(())
        });
        found.map_err(|failed| failed_at(&self.path, failed))
    }

    /// Keeps the recovered lines only. They are behind `start`.
    fn rewrite_last(&mut self, file: &File, start: u64, recovered: &Recovered) -> Result<(), LedgerError> {
        let mut file = file;
        file.seek(SeekFrom::Start(start)).map_err(|source| LedgerError::io("read", &self.path, source))?;
        let mut kept = recovered.transitions.iter().map(|(sequence, _)| *sequence).peekable();
        self.rewrite(|out| {
            let copied = read::each_line(file, |line| {
                let sequence = line.strip_suffix(b"\n").and_then(|line| format::sequence(line).ok());
                if sequence.is_some() && sequence.as_ref() == kept.peek() {
                    kept.next();
                    out.write_all(line)?;
                }
                Ok(())
            });
            copied.map_err(|failed| match failed {
                Failed::Io(error) => error,
                Failed::Newer(_) => io::ErrorKind::InvalidData.into(),
            })
        })
    }

    fn told_aside(&self, aside: &Aside) -> String {
        format!(
            "{} bytes of {} could not be read (a write that was cut off, or a damaged disk) and are kept in {}; the decision in force is the last whole line",
            aside.bytes,
            self.path.display(),
            aside.path.display(),
        )
    }

    /// Replaces the whole file; a crash leaves the old or the new one.
    fn rewrite(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), LedgerError> {
        let next = self.path.with_extension("jsonl.new");
        let replaced = (|| {
            let _ = fs::remove_file(&next);
            let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&next)?;
            let mut out = BufWriter::new(&file);
            write(&mut out)?;
            out.flush()?;
            drop(out);
            file.sync_all()?;
            fs::rename(&next, &self.path)?;
            self.dir.sync_all()?;
            let length = file.metadata()?.len();
            Ok((file, length))
        })();
        let (file, length) = replaced.map_err(|source| LedgerError::io("rewrite", &self.path, source))?;
        self.file = Some(file);
        self.length = length;
        Ok(())
    }

    /// Returns the sequence number once the line is on disk, in the file that a restart will read. Calls `pause`
    /// between its steps.
    pub(super) fn append(&mut self, transition: &Transition, pause: fn()) -> Result<u64, LedgerError> {
        let sequence = self.next_sequence;
        let line = format::write(sequence, transition, self.head.as_deref());
        pause();
        if !self.restore_if_lost(line.as_bytes())? {
            self.append_to_file(line.as_bytes(), pause)?;
            let length = self.length + line.len() as u64;
            // A file taken away in the meantime took the line with it.
            let loss = self.loss_at(length, Some(line.as_bytes()));
            match loss.map_err(|source| LedgerError::io("look at", &self.path, source))? {
                None => self.length = length,
                Some(loss) => self.restore(loss, line.as_bytes())?,
            }
        }
        let _ = self.tell(true, None);
        self.lines += 1;
        self.next_sequence += 1;
        self.head = Some(format::digest(line.trim_ascii_end().as_bytes()));
        self.tail.push(line.into_bytes());
        if self.lines > self.compact_above {
            self.compact();
        }
        Ok(sequence)
    }

    fn append_to_file(&mut self, line: &[u8], pause: fn()) -> Result<(), LedgerError> {
        if self.file.is_none() {
            self.file = Some(self.open_for_append().map_err(|source| LedgerError::io("open", &self.path, source))?);
        }
        let file = self.file.as_mut().expect("just opened");
        let written = file.write_all(line).and_then(|()| {
            pause();
            file.sync_data()
        });
        if let Err(source) = written {
            // Half a line must not precede the next one.
            if file.set_len(self.length).and_then(|()| file.sync_data()).is_err() {
                self.file = None;
            }
            return Err(LedgerError::io("write", &self.path, source));
        }
        Ok(())
    }

    /// Drops old lines while the process runs. A failure costs space, and is tried again some lines later.
    fn compact(&mut self) {
        let Some(file) = &self.file else { return };
        let found = read::last_lines(file, KEEP, WINDOW, |_| Ok(())).map_err(|failed| failed_at(&self.path, failed));
        let compacted = found.and_then(|found| {
            let lines = found.lines;
            self.rewrite(|out| lines.iter().try_for_each(|(_, line)| out.write_all(line)))?;
            Ok(lines.len())
        });
        let path = self.path.display();
        match compacted {
            Ok(lines) => {
                tracing::info!(file = %path, lines_before = self.lines, lines, "Ledger compacted");
                (self.lines, self.compact_above) = (lines, COMPACT_RUNNING_ABOVE);
            }
            Err(error) => {
                tracing::warn!(file = %path, %error, "Ledger not compacted");
                self.compact_above = self.lines + KEEP;
            }
        }
    }

    /// Verifies the chain of the whole file, and its last line against memory.
    pub(super) fn verify(&self) -> Result<Verified, LedgerError> {
        let mut verified = verify(&self.path)?;
        if verified.head != self.head {
            verified.breaks.push("the last line is not the one that this process wrote last".to_owned());
        }
        Ok(verified)
    }

    fn open_for_append(&mut self) -> io::Result<File> {
        let new = !self.path.exists();
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600).custom_flags(flags);
        let mut file = options.open(&self.path)?;
        if new {
            self.dir.sync_all()?;
            self.length = 0;
        }
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is not a regular file; move it away"));
        }
        // Removes leftovers of an earlier failure behind the last whole line.
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

fn locked_by(dir: &File) -> Option<u32> {
    let inode = dir.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let locker = locks.lines().find_map(|line| locker(line, &inode));
    if locker.is_some_and(|pid| holds(pid, &inode)) {
        return locker;
    }
    // After an upgrade the kernel still names the process that took the lock first.
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes
        .find(|pid| holds(*pid, &inode))
        .or_else(|| locker.filter(|pid| Path::new(&format!("/proc/{pid}")).exists()))
}

/// `1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234 0 EOF`
fn locker(line: &str, inode: &str) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    (fields.next()? == "FLOCK").then_some(())?;
    let pid = fields.nth(2)?;
    let device_inode = fields.next()?;
    (device_inode.rsplit(':').next()? == inode).then(|| pid.parse().ok())?
}

/// Needs a process of the same user.
fn holds(pid: u32, inode: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    let is_lock = |line: &str| line.strip_prefix("lock:").is_some_and(|lock| locker(lock, inode).is_some());
    texts.any(|text| text.lines().any(is_lock))
}
