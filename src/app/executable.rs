//! The path from which this program was started. Another binary may be there later: that is an upgrade.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The program as it was started.
#[derive(Clone, Debug)]
pub(super) struct Executable {
    pub(super) path: PathBuf,
    pub(super) name: OsString,
    pub(super) arguments: Vec<OsString>,
}

impl Executable {
    /// To be called at the start, before the file can have been replaced.
    pub(super) fn of_this_process() -> std::io::Result<Executable> {
        let mut arguments = std::env::args_os();
        let running = std::env::current_exe()?;
        let name = arguments.next().unwrap_or_else(|| running.clone().into_os_string());
        // A symbolic link to the present version leads to the next one later.
        let named = Path::new(&name);
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let found = if named.components().count() > 1 {
            std::path::absolute(named).ok()
        } else {
            std::env::split_paths(&paths).map(|dir| dir.join(named)).find(|path| is_same(path, &running))
        };
        let path = found.filter(|path| is_same(path, &running)).unwrap_or(running);
        Ok(Executable { path, name, arguments: arguments.collect() })
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(one).is_some_and(|one| Some(one) == identity(other))
}
