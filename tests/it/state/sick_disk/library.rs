//! A library to load into the proxy that lets writes to files hang, or fail; compiled by what links Rust, too.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Compiled once.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sick_disk-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/state/sick_disk/sick_disk.c");
        let mut cc = std::process::Command::new("cc");
        let compiled = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().expect("cc runs");
        assert!(compiled.success(), "cc: {compiled}");
        library
    })
}

/// What makes a process feel it, while the file `sick` is there.
pub(crate) fn environment(sick: &Path) -> [(&'static str, &str); 2] {
    [("LD_PRELOAD", library()), ("SICK_DISK", sick)].map(|(name, path)| (name, path.to_str().expect("UTF-8")))
}
