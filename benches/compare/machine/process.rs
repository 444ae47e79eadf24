//! A child process with its descendants: what it used so far, and that it ends with the bench.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::cores::Cores;

/// How long a child may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running child. It ends, with its own children, when this is dropped, also by a panic.
pub(crate) struct Process(Child);

/// Time on a core, user and system, and time in which it could have run if the core had been free.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) ran: Duration,
    pub(crate) waited: Duration,
}

impl Process {
    /// Starts it on the core that is kept for the proxy; with more workers, on both.
    pub(crate) fn start(command: &mut Command, cores: Cores, workers: usize) -> Process {
        Process(cores.for_proxy(workers, || command.spawn()).expect("the program starts"))
    }

    /// True when it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child of this process").is_some()
    }

    /// What all threads of all its processes used of the core: `/proc/PID/stat` would count in ticks of 10 ms.
    pub(crate) fn usage(&self) -> Usage {
        usage_of(self.tree())
    }

    /// Resident memory of all its processes in bytes; pages that two of them share count twice.
    pub(crate) fn resident(&self) -> u64 {
        let sizes = self.tree().into_iter().filter_map(|process| {
            let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let size = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            size.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        sizes.sum::<u64>() * 1024
    }

    /// Itself and its descendants, parents first.
    pub(super) fn tree(&self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = listed("/proc").filter_map(|id| Some((id, parent(id)?))).collect();
        let mut tree = vec![self.0.id()];
        let mut looked_at = 0;
        while let Some(process) = tree.get(looked_at).copied() {
            tree.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(id, _)| *id));
            looked_at += 1;
        }
        tree
    }
}

/// What all threads of some processes used.
pub(crate) fn usage_of(processes: impl IntoIterator<Item = u32>) -> Usage {
    let threads = processes.into_iter().flat_map(|process| listed(&format!("/proc/{process}/task")));
    let mut usage = Usage::default();
    for thread in threads {
        let more = usage_of_thread(&format!("/proc/{thread}"));
        usage.ran += more.ran;
        usage.waited += more.waited;
    }
    usage
}

/// By its directory in `/proc`.
pub(super) fn usage_of_thread(thread: &str) -> Usage {
    // It may have ended just now.
    let text = fs::read_to_string(format!("{thread}/schedstat")).unwrap_or_default();
    let mut nanos = text.split_ascii_whitespace().map_while(|field| field.parse().ok()).map(Duration::from_nanos);
    Usage { ran: nanos.next().unwrap_or_default(), waited: nanos.next().unwrap_or_default() }
}

impl Drop for Process {
    fn drop(&mut self) {
        let tree = self.tree();
        signal(tree[0], Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                // It takes its children with it.
                _ => return,
            }
        }
        for process in tree {
            signal(process, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = process.try_into().ok().and_then(Pid::from_raw) {
        // It may have ended just now.
        let _ = kill_process(process, signal);
    }
}

/// The numbers among the names in a directory of `/proc`; none when the process has gone.
pub(super) fn listed(directory: &str) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The fourth field; the second one is a name in parentheses that may hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}
