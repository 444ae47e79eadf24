//! Reads a ledger line by line. Memory holds the last lines only, however long the file is.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::ledger::format::{self, Unreadable};

const MAX_LINE: u64 = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Found {
    /// Sequence numbers and bytes of the last whole lines, with their line ends, oldest first.
    pub(super) lines: VecDeque<(u64, Vec<u8>)>,
    /// Whole lines read, including those not in `lines`.
    pub(super) count: usize,
    pub(super) length: u64,
    pub(super) start: u64,
    /// Bytes outside of whole lines.
    pub(super) damaged: u64,
    /// Lines before the window were not read.
    pub(super) skipped: bool,
}

#[derive(Debug)]
pub(super) enum Failed {
    Io(io::Error),
    Newer(u32),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

/// A pipe in its place is an error and blocks nothing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is not a regular file")) }
}

/// Calls `each` with every line, with its line end if it has one.
pub(super) fn each_line(file: impl Read, mut each: impl FnMut(&[u8]) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        each(&line)?;
    }
}

/// The last `keep` lines of the last `window` bytes. `damaged` gets every byte outside of whole lines.
pub(super) fn last_lines(
    mut file: &File,
    keep: usize,
    window: u64,
    mut damaged: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Found, Failed> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(window);
    let mut found = Found { length, start, skipped: start > 0, ..Found::default() };
    file.seek(SeekFrom::Start(start))?;
    // The window begins in the middle of a line.
    let mut cut = found.skipped;
    let mut next = 1;
    each_line(file, |line| {
        if std::mem::take(&mut cut) {
            return Ok(());
        }
        let whole = line.strip_suffix(b"\n").ok_or(Unreadable::Damaged).and_then(format::sequence);
        match whole {
            Ok(sequence) if sequence >= next => {
                next = sequence + 1;
                found.count += 1;
                if found.lines.len() == keep {
                    found.lines.pop_front();
                }
                found.lines.push_back((sequence, line.to_vec()));
            }
            // A lower number: a line copied to a wrong place must not come into force.
            Ok(_) | Err(Unreadable::Damaged) => {
                found.damaged += line.len() as u64;
                damaged(line)?;
            }
            Err(Unreadable::Newer(version)) => return Err(Failed::Newer(version)),
        }
        Ok(())
    })?;
    Ok(found)
}

/// The file beside the ledger for unreadable bytes. Created on first use.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    file: Option<File>,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
}

impl Aside {
    pub(super) fn beside(ledger: &Path, what: &str) -> Aside {
        Aside { path: name_beside(ledger, what), bytes: 0, file: None, failed: None }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.failed.is_some() {
            return;
        }
        let opened = match self.file.take() {
            Some(file) => Ok(file),
            None => OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path),
        };
        match opened.and_then(|mut file| file.write_all(bytes).map(|()| file)) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.failed = Some(error),
        }
    }

    pub(super) fn restart(&mut self) {
        self.bytes = 0;
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.set_len(0)) {
            self.failed = Some(error);
        }
    }

    /// Syncs; true if any bytes were set aside.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.file.as_ref().map_or(Ok(()), File::sync_all)?;
        Ok(self.bytes > 0)
    }
}

pub(super) fn name_beside(ledger: &Path, what: &str) -> PathBuf {
    let stamp = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(':', "");
    ledger.with_file_name(format!("ledger.{what}-{stamp}"))
}
