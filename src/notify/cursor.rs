//! The memory of a sink on disk: `notify-NAME.json` in the state directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::notify::queue::Cursor;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) cursor: Cursor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gone: Option<Gone>,
}

/// A receiver that answered 410; it gets nothing until its address changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    /// RFC 3339.
    pub(super) since: String,
    /// A hash of its address.
    pub(super) address: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Memory(Memory),
    /// A new sink.
    Nothing,
    Damaged(String),
}

pub(super) fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("notify-{name}.json"))
}

pub(super) fn load(path: &Path) -> Found {
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(memory) => Found::Memory(memory),
            Err(error) => Found::Damaged(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Damaged(error.to_string()),
    }
}

/// A crash leaves the old file or the new one. Blocks on the disk.
pub(super) fn store(path: &Path, memory: &Memory) -> io::Result<()> {
    let next = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    serde_json::to_writer(&file, memory)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_found_again_and_a_damaged_file_is_told_from_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = path(dir.path(), "ops");
        assert_eq!(load(&path), Found::Nothing);
        let memory = Memory {
            cursor: Cursor { sequence: 4, also: [6, 9].into() },
            gone: Some(Gone { since: "2025-11-22T14:03:07Z".to_owned(), address: "0f".to_owned() }),
        };
        store(&path, &memory).expect("stored");
        assert_eq!(load(&path), Found::Memory(memory));
        fs::write(&path, "{\"cursor\":").expect("written");
        assert!(matches!(load(&path), Found::Damaged(_)));
    }
}
