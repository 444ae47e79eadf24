//! The release that answers to users name (`health.release_header`), compared with the label.
//!
//! Without a comparison a request pays a branch. With one, the proxy looks at a connection's first answer and then at
//! one a second: the first answer gives away a process that should have been replaced.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::proxy::pool::Endpoint;
use crate::wire::head::Head;

/// Milliseconds between looks at one connection.
pub(crate) const LOOK_EVERY: u64 = 1_000;
/// Milliseconds between reports of one endpoint to the controller.
const TELL_EVERY: u64 = 250;
const SAYS: usize = 200;

pub(crate) struct Stated {
    header: Box<str>,
    release: Arc<str>,
    tell: mpsc::UnboundedSender<WrongRelease>,
}

/// An answer named another release than the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongRelease {
    pub endpoint: u64,
    pub label: Arc<str>,
    pub says: String,
}

/// The last times that an endpoint's answers named another release, and its own; 0: never. Milliseconds of the clock.
#[derive(Debug, Default)]
pub(crate) struct LastStated {
    wrong: AtomicU64,
    right: AtomicU64,
    told: AtomicU64,
}

impl LastStated {
    pub(crate) fn note_wrong(&self, now: u64) {
        self.wrong.store(now, Ordering::Relaxed);
    }

    /// Counts only after another release was named.
    pub(crate) fn note_right(&self, now: u64) {
        if self.wrong.load(Ordering::Relaxed) != 0 {
            self.right.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_right_again(&self, before: u64) -> bool {
        let wrong = self.wrong.load(Ordering::Relaxed);
        wrong < before && self.right.load(Ordering::Relaxed) > wrong
    }

    pub(crate) fn forget(&self) {
        self.wrong.store(0, Ordering::Relaxed);
        self.right.store(0, Ordering::Relaxed);
        self.told.store(0, Ordering::Relaxed);
    }
}

impl fmt::Debug for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stated({} in {})", self.release, self.header)
    }
}

impl Stated {
    pub(crate) fn new(header: &str, release: Arc<str>, tell: mpsc::UnboundedSender<WrongRelease>) -> Stated {
        Stated { header: header.into(), release, tell }
    }

    /// An answer without the field says nothing.
    #[cold]
    pub(crate) fn look(&self, endpoint: &Endpoint, answer: &Head, now: u64) {
        let Some(says) = answer.named(self.header.as_bytes()) else { return };
        if says == self.release.as_bytes() {
            return endpoint.stated.note_right(now);
        }
        endpoint.stated.note_wrong(now);
        let told = endpoint.stated.told.load(Ordering::Relaxed);
        if told == 0 || now >= told + TELL_EVERY {
            endpoint.stated.told.store(now, Ordering::Relaxed);
            let says = String::from_utf8_lossy(says).chars().take(SAYS).collect();
            // The receiver is gone when the process ends.
            let _ = self.tell.send(WrongRelease { endpoint: endpoint.id, label: Arc::clone(&self.release), says });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EndpointAddress;

    #[test]
    fn another_release_is_told_at_a_rate_and_forgotten_when_answers_match() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let stated = Stated::new("x-release", "2.0".into(), tell);
        let endpoint = Endpoint::new(EndpointAddress::Ip("127.0.0.1:1".parse().expect("an address")), 1);
        let says = |release: Option<&str>, now: u64| {
            let mut answer = Head::default();
            if let Some(release) = release {
                answer.push(b"X-Release", release.as_bytes());
            }
            stated.look(&endpoint, &answer, now);
        };
        says(Some("2.0"), 1_000);
        says(None, 1_000);
        assert!(told.try_recv().is_err());
        for now in 1_000..2_000 {
            says(Some("1.0"), now);
        }
        let wrong = WrongRelease { endpoint: endpoint.id, label: "2.0".into(), says: "1.0".to_owned() };
        for _ in 0..4 {
            assert_eq!(told.try_recv(), Ok(wrong.clone()));
        }
        assert!(told.try_recv().is_err(), "four a second");
        says(None, 2_500);
        assert!(!endpoint.stated.is_right_again(9_000), "no answer has said so");
        says(Some("2.0"), 3_000);
        assert!(!endpoint.stated.is_right_again(1_999), "not long enough ago");
        assert!(endpoint.stated.is_right_again(3_000));
    }
}
