//! The proxy's own exhaustion: no descriptor, port or memory for a connection. It says nothing about an endpoint.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::proxy::error_kind::Resource;
use crate::sys::descriptors::{self, Usage};
use crate::telemetry::log_rate::LogRate;

pub(crate) fn of(error: &io::Error) -> Option<Resource> {
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(Resource::Descriptors),
        Errno::ADDRNOTAVAIL => Some(Resource::Ports),
        Errno::NOMEM | Errno::NOBUFS => Some(Resource::Memory),
        _ => None,
    }
}

pub(crate) fn report(endpoint: &str, resource: Resource, error: &io::Error) {
    static TOLD: LogRate = LogRate::new(1, Duration::from_secs(5));
    TOLD.say(|suppressed| {
        let Usage { most, clients, endpoints } = descriptors::usage();
        let (of, help) = match resource {
            Resource::Descriptors => ("descriptors", "raise the limit on open files (LimitNOFILE=, ulimit -n)"),
            Resource::Ports => ("ports", "add endpoints, or widen net.ipv4.ip_local_port_range"),
            Resource::Memory => ("memory", "the kernel has no memory for sockets"),
        };
        tracing::error!(
            %endpoint, of, help, reason = %error, clients, endpoints, room = most, suppressed,
            "No connection to an endpoint: the proxy has run out of {of}",
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_machine_lacks_is_local() {
        let of = |errno: Errno| of(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for (errno, resource) in [
            (Errno::MFILE, Resource::Descriptors),
            (Errno::NFILE, Resource::Descriptors),
            (Errno::ADDRNOTAVAIL, Resource::Ports),
            (Errno::NOMEM, Resource::Memory),
            (Errno::NOBUFS, Resource::Memory),
        ] {
            assert_eq!(of(errno), Some(resource), "{errno:?}");
        }
        for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::ACCESS] {
            assert_eq!(of(errno), None, "{errno:?}");
        }
        assert_eq!(super::of(&io::ErrorKind::ConnectionRefused.into()), None);
    }
}
