//! The bytes buffered for messages, and their bound.
//!
//! Each thread adds its own count to the shared one now and then, so the total may be off by [`BETWEEN`] per thread.
//! New work is refused while [`is_full`]; work in progress continues in smaller buffers.

use std::cell::Cell;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Difference at which a thread updates the shared count.
const BETWEEN: i64 = 64 << 10;

static HELD: AtomicI64 = AtomicI64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);

thread_local! {
    static OWN: Cell<i64> = const { Cell::new(0) };
}

pub(crate) fn add(bytes: usize) {
    count(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// Any thread may call this, not only the one that added.
pub(crate) fn sub(bytes: usize) {
    count(-i64::try_from(bytes).unwrap_or(i64::MAX));
}

fn count(bytes: i64) {
    // A thread at its end has no count of its own any more.
    let counted = OWN.try_with(|own| {
        let sum = own.get().saturating_add(bytes);
        if sum.abs() < BETWEEN {
            own.set(sum);
        } else {
            own.set(0);
            HELD.fetch_add(sum, Ordering::Relaxed);
        }
    });
    if counted.is_err() {
        HELD.fetch_add(bytes, Ordering::Relaxed);
    }
}

pub(crate) fn settle() {
    let own = OWN.replace(0);
    if own != 0 {
        HELD.fetch_add(own, Ordering::Relaxed);
    }
}

pub(crate) fn is_full() -> bool {
    held() >= limit()
}

pub(crate) fn held() -> u64 {
    u64::try_from(HELD.load(Ordering::Relaxed).saturating_add(OWN.get())).unwrap_or(0)
}

pub(crate) fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

/// `None`: a quarter of the memory available to the process.
pub(crate) fn set_limit(limit: Option<u64>) {
    LIMIT.store(limit.unwrap_or_else(|| memory() / 4), Ordering::Relaxed);
}

/// A share of the count, of one connection for instance. Given back by drop.
#[derive(Debug, Default)]
pub(crate) struct Charge(usize);

impl Charge {
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.0) {
            Some(0) => {}
            Some(more) => add(more),
            None => sub(self.0 - bytes),
        }
        self.0 = bytes;
    }

    #[cfg(test)]
    pub(crate) fn get(&self) -> usize {
        self.0
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.0 > 0 {
            sub(self.0);
        }
    }
}

/// Memory available to the process: the least of the machine's and its control groups'. Read once, before traffic can
/// take the descriptors that this needs.
fn memory() -> u64 {
    static MEMORY: LazyLock<u64> = LazyLock::new(read_memory);
    *MEMORY
}

fn read_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = group_files(&groups).into_iter().filter_map(|path| bytes_of(&std::fs::read_to_string(path).ok()?));
    of_groups.chain(total(&info)).min().unwrap_or(u64::MAX)
}

/// `MemTotal` of `/proc/meminfo`.
fn total(info: &str) -> Option<u64> {
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `memory.max` or `memory.limit_in_bytes`; `None`: no limit.
fn bytes_of(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Limit files of the groups in `/proc/self/cgroup` (versions 1 and 2) and their parents. A container sees its own
/// group as the root.
fn group_files(groups: &str) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(group.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(above).join(name));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_group_is_that_of_the_groups_above_it() {
        let files = group_files("0::/a/b\n");
        let files: Vec<_> = files.iter().map(|path| path.to_str().expect("text")).collect();
        let expected = ["a/b/", "a/", ""].map(|group| format!("/sys/fs/cgroup/{group}memory.max"));
        assert_eq!(files, expected);
        let first = group_files("5:cpu,memory:/x\n3:pids:/x\n");
        assert_eq!(first[0].to_str(), Some("/sys/fs/cgroup/memory/x/memory.limit_in_bytes"));
        assert_eq!(first.len(), 2);
        assert_eq!((bytes_of("max\n"), bytes_of("1048576\n")), (None, Some(1 << 20)));
        assert_eq!(total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
    }

    #[test]
    fn a_charge_gives_back_what_it_has() {
        // The shared count includes other tests' threads.
        let own = || OWN.get();
        let before = own();
        let mut charge = Charge::default();
        charge.set(1000);
        charge.set(400);
        assert_eq!((own() - before, charge.get()), (400, 400));
        drop(charge);
        assert_eq!(own(), before);
    }

    #[test]
    fn what_gathers_on_a_thread_is_brought_to_the_shared_count() {
        std::thread::spawn(|| {
            add(1 << 10);
            assert_eq!(OWN.get(), 1 << 10);
            add(1 << 20);
            assert_eq!(OWN.get(), 0);
            sub((1 << 20) + (1 << 10));
            assert_eq!(OWN.get(), 0);
            add(1);
            settle();
            assert_eq!(OWN.get(), 0);
            sub(1);
        })
        .join()
        .expect("no panic");
    }
}
