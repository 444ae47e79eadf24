//! Shared by the components: the context of a batch, and the figures to show.

use super::evidence::Moment;
use super::tick::Arms;
use crate::domain::verdict::{Class, Finding, Sample};

/// Requests and bad ones since the evidence began to grow: a leak of the last minute would drown in the figures of an
/// hour.
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

/// Whole odds to one, up to the greatest integer that every program reads exactly.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and never negative")]
pub(super) fn odds(ln_evidence: f64) -> u64 {
    // Slightly more, so that the logarithm of 1,000 gives 1,000 again.
    (ln_evidence.exp().min(1e15) * (1.0 + 1e-12)) as u64
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BatchContext {
    pub(super) keyed: bool,
    pub(super) moment: Moment,
    /// The share of errors from which the candidate is worse without a comparison, and the stake so far.
    pub(super) alone: (f64, f64),
}
