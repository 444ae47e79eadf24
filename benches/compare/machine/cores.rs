//! Which core does what: the proxy has one for itself, so that its clients and applications take nothing from it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The two cores of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    proxy: usize,
    load: usize,
}

impl Cores {
    /// Takes the first two that this process may use, and moves it to the second one.
    pub(crate) fn choose() -> Result<Cores, String> {
        let allowed = sched_getaffinity(None).map_err(|error| format!("can't tell the cores: {error}"))?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(proxy), Some(load)) = (cores.next(), cores.next()) else {
            return Err("two cores are needed: one for the proxy, one for the load".to_owned());
        };
        pin(&[load]);
        Ok(Cores { proxy, load })
    }

    /// Calls `start`; a process that it starts stays on the proxy's core, as children are where their parent was. More
    /// than one worker uses the core of the load, too.
    pub(crate) fn for_proxy<T>(self, workers: usize, start: impl FnOnce() -> T) -> T {
        pin(&[self.proxy, self.load][..workers.clamp(1, 2)]);
        let started = start();
        pin(&[self.load]);
        started
    }
}

fn pin(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).expect("allowed cores");
}
