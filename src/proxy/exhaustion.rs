//! The proxy's own exhaustion: no descriptor, port or memory for a connection. It says nothing about an endpoint.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::io::Errno;

use crate::proxy::clock;

/// At most one line in so many milliseconds.
const PAUSE: u64 = 5_000;

static NEXT_LINE: AtomicU64 = AtomicU64::new(0);
static UNTOLD: AtomicU64 = AtomicU64::new(0);

/// Whether a connection could not be made for a reason of this process or this machine.
pub(crate) fn is_local(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOMEM | Errno::NOBUFS))
}

/// Logs it, at a bounded rate.
pub(crate) fn report(endpoint: &str, error: &io::Error) {
    let now = clock::millis(Instant::now());
    let next = NEXT_LINE.load(Ordering::Relaxed);
    let first =
        now >= next && NEXT_LINE.compare_exchange(next, now + PAUSE, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if !first {
        UNTOLD.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let more = UNTOLD.swap(0, Ordering::Relaxed);
    tracing::error!(
        %endpoint, reason = %error, more,
        "Out of descriptors, ports or memory: no connection to an endpoint can be made. Raise the limit (LimitNOFILE) or lower `max_connections`."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_machine_lacks_is_local() {
        let of = |errno: Errno| is_local(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOMEM, Errno::NOBUFS] {
            assert!(of(errno), "{errno:?}");
        }
        for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::ACCESS] {
            assert!(!of(errno), "{errno:?}");
        }
        assert!(!is_local(&io::ErrorKind::ConnectionRefused.into()));
    }
}
