//! What every component shares: how a batch is taken, and what is shown of the evidence.

use super::evidence::Moment;
use super::tick::Arms;
use crate::domain::verdict::{Class, Finding, Sample};

/// Requests and bad ones since the evidence began to grow, to be shown: a leak that began a minute ago would be lost in
/// the figures of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Since {
    requests: Arms<u64>,
    bad: Arms<u64>,
}

impl Since {
    pub(super) fn add(&mut self, requests: Arms<u64>, bad: Arms<u64>) {
        self.requests.add(requests);
        self.bad.add(bad);
    }

    pub(super) fn samples(&self, latency: Arms<Option<std::time::Duration>>) -> Arms<Sample> {
        Arms {
            stable: Sample::new(self.requests.stable, self.bad.stable, latency.stable),
            candidate: Sample::new(self.requests.candidate, self.bad.candidate, latency.candidate),
        }
    }
}

pub(super) fn finding(class: Class, route: Option<&str>, samples: Arms<Sample>, ln_evidence: f64) -> Finding {
    Finding {
        class,
        route: route.map(str::to_owned),
        event: None,
        candidate: samples.candidate,
        stable: samples.stable,
        evidence: odds(ln_evidence),
    }
}

/// Whole odds to one, up to where every program still reads the number as it is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and never negative")]
pub(super) fn odds(ln_evidence: f64) -> u64 {
    // A hair more, so that the logarithm of 1,000 is 1,000 again.
    (ln_evidence.exp().min(1e15) * (1.0 + 1e-12)) as u64
}

/// How a batch is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) keyed: bool,
    /// When its requests were assigned.
    pub(super) moment: Moment,
    /// From which share of errors on the candidate is worse than what was before, where nothing is compared, and what
    /// was staked until now.
    pub(super) alone: (f64, f64),
}
