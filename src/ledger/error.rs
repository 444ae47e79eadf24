//! Errors of the ledger.

use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::format;
use crate::ledger::read::Failed;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("could not {action} {}: {source}{}", path.display(), repair(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Two processes on one ledger would overrule each other.
    #[error("{} is in use by another cutover{}; stop that one, or give this one a state.dir of its own", dir.display(), holder(*pid))]
    Locked { dir: PathBuf, pid: Option<u32> },
    #[error(
        "state.dir is {}, but the running process keeps its ledger in {}. Only a restart moves it: \
         write the old state.dir, or restart the service instead of upgrading it",
        dir.display(), running.display()
    )]
    Elsewhere { dir: PathBuf, running: PathBuf },
    #[error("{} was written by a newer cutover (format {version}, this one reads up to {}); run that one", path.display(), format::VERSION)]
    Newer { path: PathBuf, version: u32 },
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

pub(super) fn failed_at(path: &Path, failed: Failed) -> LedgerError {
    match failed {
        Failed::Io(source) => LedgerError::io("read", path, source),
        Failed::Newer(version) => LedgerError::Newer { path: path.to_owned(), version },
    }
}
