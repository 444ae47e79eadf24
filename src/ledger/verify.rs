//! Whether a ledger is as it was written: every line whole, none changed, taken out or put in.
//!
//! Who can write the file can also write all of it anew, with digests that fit. Against that the digest of the last line
//! is told ([`Verified::head`]), to be kept elsewhere; and a running process knows what it wrote last.

use std::fs;
use std::path::Path;

use crate::ledger::file::LedgerError;
use crate::ledger::format::{self, Unreadable};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines that can be read.
    pub lines: u64,
    /// The number of the first of them; more than 1 where older ones were dropped when the ledger had become long.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// SHA-256 of the last line, in hex.
    pub head: Option<String>,
    /// What is wrong, in words; none: it is as it was written.
    pub breaks: Vec<String>,
}

/// Reads a ledger and holds its chain together.
pub fn verify(path: &Path) -> Result<Verified, LedgerError> {
    let bytes = fs::read(path).map_err(|source| LedgerError::io("read", path, source))?;
    let mut found = Verified::default();
    let mut chained = false;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let place = index + 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            found.breaks.push(format!("line {place} is not whole"));
            continue;
        };
        let read = match format::read(line) {
            Ok(read) => read,
            Err(Unreadable::Damaged) => {
                found.breaks.push(format!("line {place} was changed or damaged"));
                continue;
            }
            Err(Unreadable::Newer(version)) => {
                return Err(LedgerError::Newer { path: path.to_owned(), version });
            }
        };
        let (sequence, before) = (read.sequence, found.last);
        if found.lines == 0 {
            found.first = sequence;
        } else if sequence != before + 1 {
            found.breaks.push(format!("line {place} has number {sequence}, and the one before it {before}"));
        } else if read.prev.is_none() && (chained || read.chained) {
            found.breaks.push(format!("number {sequence} does not say what it follows, so it was changed"));
        } else if read.prev.is_some() && read.prev != found.head {
            found.breaks.push(format!(
                "number {before}, or what stood behind it, was changed: number {sequence} does not follow it"
            ));
        }
        chained |= read.prev.is_some();
        found.lines += 1;
        found.last = sequence;
        found.head = Some(format::digest(line));
    }
    Ok(found)
}
