//! CPU time of the whole machine, and whether something else had a part in it.

use std::fs;
use std::time::{Duration, Instant};

use crate::machine::process::{Process, Usage, usage_of};

/// The part of a core that other programs may have; more than that shows in caches and latencies.
const DISTURBED: f64 = 0.05;

/// A moment before a measurement.
pub(crate) struct Before {
    at: Instant,
    machine: Duration,
    bench: Usage,
    proxy: Usage,
}

/// CPU time between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) took: Duration,
    /// All processors: the proxy, its clients, the applications, the kernel, and whatever else ran.
    pub(crate) machine: Duration,
    pub(crate) proxy: Duration,
    /// Other programs took part, or the proxy waited for its core.
    pub(crate) disturbed: bool,
}

impl Before {
    pub(crate) fn now(proxy: &Process) -> Before {
        Before { at: Instant::now(), machine: busy(), bench: own(), proxy: proxy.usage() }
    }

    pub(crate) fn spent(&self, proxy: &Process) -> Spent {
        let took = self.at.elapsed();
        let machine = busy().saturating_sub(self.machine);
        let after = proxy.usage();
        let ran = after.ran.saturating_sub(self.proxy.ran);
        let ours = ran + own().ran.saturating_sub(self.bench.ran);
        let waited = after.waited.saturating_sub(self.proxy.waited);
        let limit = took.mul_f64(DISTURBED);
        Spent { took, machine, proxy: ran, disturbed: waited > limit || machine.saturating_sub(ours) > limit }
    }
}

/// The clients and the applications.
fn own() -> Usage {
    usage_of([std::process::id()])
}

/// Time in which a processor did something, of all of them, in steps of 10 ms: proc_stat(5).
fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("proc is mounted");
    let all = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks: Vec<u64> = all.map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
    let busy: u64 = ticks.iter().take(8).enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, n)| n).sum();
    Duration::from_secs_f64(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}
