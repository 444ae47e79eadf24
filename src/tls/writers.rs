//! Writers of certificate files, as far as the system tells: a chain that is written in place is valid before it is
//! whole, and the time since the last write says little about a slow writer.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// A writer that never closes a file counts as gone after this time without a write, as for the configuration file.
const ABANDONED: Duration = Duration::from_secs(600);
/// The wait for a writer after which the log says so.
const TOLD_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub struct Writers {
    watched: Mutex<Watched>,
    writing: Arc<Mutex<HashMap<PathBuf, Writing>>>,
}

#[derive(Debug, Default)]
struct Watched {
    /// `None`: no events, or nothing to watch yet.
    watcher: Option<RecommendedWatcher>,
    /// By device and inode: a file that replaces another one is watched anew.
    files: HashMap<PathBuf, (u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    began: Instant,
    last: Instant,
    told: bool,
}

impl Writers {
    pub fn watch(&self, paths: &[PathBuf]) {
        let mut watched = lock(&self.watched);
        let Watched { watcher, files } = &mut *watched;
        if watcher.is_none() && !paths.is_empty() {
            *watcher = self.watcher();
        }
        let Some(watcher) = watcher else { return };
        files.retain(|path, _| {
            let wanted = paths.contains(path);
            if !wanted {
                // It may be gone, and its watch with it.
                let _ = watcher.unwatch(path);
            }
            wanted
        });
        for path in paths {
            let file = std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
            let known = files.get(path).copied();
            if known == file {
                continue;
            }
            if known.is_some() {
                let _ = watcher.unwatch(path);
                files.remove(path);
                lock(&self.writing).remove(path);
            }
            if let Some(file) = file
                && watcher.watch(path, RecursiveMode::NonRecursive).is_ok()
            {
                files.insert(path.clone(), file);
            }
        }
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        let mut writing = lock(&self.writing);
        let Some(writer) = writing.get_mut(path) else { return false };
        if writer.last.elapsed() >= ABANDONED {
            writing.remove(path);
            return false;
        }
        if !writer.told && writer.began.elapsed() >= TOLD_AFTER {
            writer.told = true;
            let counts_after_quiet_s = ABANDONED.as_secs();
            tracing::warn!(file = %path.display(), counts_after_quiet_s, "Certificate file is being written: its writer has not closed it");
        }
        true
    }

    fn watcher(&self) -> Option<RecommendedWatcher> {
        // Without events for a close, a write says nothing.
        let tells_close = cfg!(any(target_os = "linux", target_os = "android"));
        let writing = Arc::clone(&self.writing);
        let note = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let now = Instant::now();
            for path in event.paths {
                match event.kind {
                    EventKind::Modify(ModifyKind::Data(_)) => {
                        let first = Writing { began: now, last: now, told: false };
                        lock(&writing).entry(path).or_insert(first).last = now;
                    }
                    EventKind::Access(AccessKind::Close(AccessMode::Write)) => drop(lock(&writing).remove(&path)),
                    _ => {}
                }
            }
        };
        if tells_close { notify::recommended_watcher(note).ok() } else { None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    fn until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come about");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_file_has_a_writer_until_it_is_closed_or_another_one_takes_its_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let (real, link, next) = (dir.path().join("real"), dir.path().join("link"), dir.path().join("next"));
        std::fs::write(&real, "old").expect("a write");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let (writers, paths) = (Writers::default(), [link.clone()]);
        writers.watch(&paths);
        assert!(!writers.has(&link));
        let mut file = File::create(&real).expect("a file");
        until(|| writers.has(&link));
        drop(file);
        until(|| !writers.has(&link));
        file = File::create(&real).expect("a file");
        until(|| writers.has(&link));
        std::fs::write(&next, "new").expect("a write");
        std::fs::rename(&next, &real).expect("a rename");
        writers.watch(&paths);
        assert!(!writers.has(&link), "nobody writes the new file");
        file.write_all(b"late").expect("a write");
        drop(file);
        file = File::create(&real).expect("a file");
        until(|| writers.has(&link));
        writers.watch(&[]);
        drop(file);
    }
}
