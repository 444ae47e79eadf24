//! Verification of a ledger: every line whole, none changed, removed or inserted.
//!
//! A writer of the file could replace all of it, with matching digests. Against that, the digest of the last line is
//! reported ([`Verified::head`]) to be kept elsewhere, and a running process knows its last line.

use std::path::Path;

use crate::ledger::error::{LedgerError, failed_at};
use crate::ledger::format::{self, Unreadable};
use crate::ledger::read::{self, Failed};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub lines: u64,
    /// Sequence number of the first line; above 1 if older lines were dropped by a compaction.
    pub first: u64,
    pub last: u64,
    /// SHA-256 of the last line, in hex.
    pub head: Option<String>,
    /// Errors in words; empty: the ledger is intact.
    pub breaks: Vec<String>,
}

/// Verifies the chain of a file.
pub(crate) fn verify(path: &Path) -> Result<Verified, LedgerError> {
    let file = read::open(path).map_err(|source| LedgerError::io("read", path, source))?;
    let mut found = Verified::default();
    let mut chained = false;
    let mut place = 0_u64;
    let mut breaks = Vec::new();
    let read = read::each_line(file, |line| {
        place += 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            tell(&mut breaks, format!("line {place} is not whole"));
            return Ok(());
        };
        let read = match format::read(line) {
            Ok(read) => read,
            Err(Unreadable::Damaged) => {
                tell(&mut breaks, format!("line {place} was changed or damaged"));
                return Ok(());
            }
            Err(Unreadable::Newer(version)) => return Err(Failed::Newer(version)),
        };
        let (sequence, before) = (read.sequence, found.last);
        if found.lines == 0 {
            found.first = sequence;
        } else if sequence != before + 1 {
            tell(&mut breaks, format!("line {place} has number {sequence}, and the one before it {before}"));
        } else if read.prev.is_none() && (chained || read.chained) {
            tell(&mut breaks, format!("number {sequence} does not say what it follows, so it was changed"));
        } else if read.prev.is_some() && read.prev != found.head {
            tell(
                &mut breaks,
                format!("number {before}, or what stood behind it, was changed: number {sequence} does not follow it"),
            );
        }
        chained |= read.prev.is_some();
        found.lines += 1;
        found.last = sequence;
        found.head = Some(format::digest(line));
        Ok(())
    });
    read.map_err(|failed| failed_at(path, failed))?;
    found.breaks = breaks;
    Ok(found)
}

/// Reported breaks.
const BREAKS: usize = 1_000;

fn tell(breaks: &mut Vec<String>, what: String) {
    if breaks.len() < BREAKS {
        breaks.push(what);
    }
}
