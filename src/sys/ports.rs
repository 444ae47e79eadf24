//! The local ports for connections to one address. The kernel takes a port of a range for each; a few are left to
//! health checks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Ports left to health checks.
const RESERVE: usize = 64;

static RANGE: LazyLock<usize> = LazyLock::new(|| {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    for_requests(&range)
});

/// `range`: `32768 60999`, for example. An unknown one limits nothing.
fn for_requests(range: &str) -> usize {
    let mut ends = range.split_whitespace().map(str::parse::<usize>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return usize::MAX };
    let all = last.saturating_sub(first) + 1;
    all - RESERVE.min(all / 4)
}

#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: AtomicUsize,
}

/// Given back by drop.
#[derive(Debug)]
pub(crate) struct Port(Arc<Ports>);

impl Ports {
    /// `None`: all are taken. `limited`: false for a path, which has no ports.
    #[must_use]
    pub(crate) fn take(self: &Arc<Ports>, limited: bool) -> Option<Port> {
        self.take_of(if limited { *RANGE } else { usize::MAX })
    }

    fn take_of(self: &Arc<Ports>, most: usize) -> Option<Port> {
        let port = Port(Arc::clone(self));
        (self.taken.fetch_add(1, Ordering::Relaxed) < most).then_some(port)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_ports_of_the_range_without_the_reserve() {
        assert_eq!(for_requests("32768\t60999\n"), 28_232 - 64);
        assert_eq!(for_requests("40000 40039"), 30);
        assert_eq!(for_requests("40000 40000"), 1);
        assert_eq!(for_requests(""), usize::MAX);
    }

    #[test]
    fn a_port_that_was_given_back_can_be_taken_again() {
        let ports = Arc::new(Ports::default());
        let first = ports.take_of(2).expect("the first");
        let _second = ports.take_of(2).expect("the second");
        assert!(ports.take_of(2).is_none());
        drop(first);
        assert!(ports.take_of(2).is_some());
    }
}
