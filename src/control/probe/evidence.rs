//! Evidence from probes about the process behind an endpoint.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use crate::config::EndpointAddress;
use crate::control::probe::Found;
use crate::proxy::pool::Endpoint;

/// Another process may have replaced the endpoint's since its last passed probe.
#[derive(Debug, Default)]
pub(super) struct Doubt(bool);

impl Doubt {
    /// If nothing listens, existing connections are about to end. After any other failure, except a late response of
    /// an endpoint that is up, the next passed probe may come from another process.
    pub(super) fn learn(&mut self, endpoint: &Endpoint, found: &Found) {
        if found.passed {
            if let Some(connected) = found.connected.filter(|_| std::mem::take(&mut self.0)) {
                endpoint.renew(connected);
            }
        } else if found.deserted {
            endpoint.renew(Instant::now());
        } else if !found.late && !found.exhausted {
            self.0 = true;
        }
    }

    /// The probe that brings an endpoint up is new evidence.
    pub(super) fn down(&mut self, is_down: bool) {
        self.0 |= is_down;
    }
}

/// The identity of a unix socket. A process that takes the path over leaves no moment without a listener.
#[derive(Debug, Default)]
pub(super) struct SocketFile(Option<(u64, u64)>);

impl SocketFile {
    pub(super) async fn look(&mut self, endpoint: &Endpoint) {
        let EndpointAddress::Unix(path) = &endpoint.address else { return };
        let path = path.clone();
        let looked = tokio::task::spawn_blocking(move || std::fs::metadata(path)).await;
        let Ok(Ok(file)) = looked else { return };
        let file = (file.dev(), file.ino());
        if self.0.replace(file).is_some_and(|before| before != file) {
            endpoint.renew(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn found(passed: bool) -> Found {
        Found {
            passed,
            detail: String::new(),
            release: None,
            took: Duration::ZERO,
            connected: Some(Instant::now()),
            deserted: false,
            late: false,
            exhausted: false,
        }
    }

    #[test]
    fn a_probe_that_passes_after_a_failure_is_new_evidence() {
        let endpoint = Endpoint::new(EndpointAddress::Ip("127.0.0.1:1".parse().expect("an address")), 1);
        let mut doubt = Doubt::default();
        let mut renewed = |found: Found| {
            let before = endpoint.evidence();
            doubt.learn(&endpoint, &found);
            endpoint.evidence() > before
        };
        assert!(!renewed(found(true)), "nothing has changed");
        assert!(!renewed(found(false)) && renewed(found(true)) && !renewed(found(true)));
        // A busy endpoint is slow; its connections stay.
        assert!(!renewed(Found { late: true, ..found(false) }) && !renewed(found(true)));
        assert!(!renewed(Found { exhausted: true, ..found(false) }) && !renewed(found(true)));
        assert!(renewed(Found { deserted: true, connected: None, ..found(false) }), "at once");
        assert!(!renewed(found(true)), "whoever could be connected to since then listens since then");
        doubt.down(true);
        doubt.learn(&endpoint, &Found { late: true, ..found(false) });
        let before = endpoint.evidence();
        doubt.learn(&endpoint, &found(true));
        assert!(endpoint.evidence() > before, "it was down");
    }
}
