//! The verification of an automatic rollback: did it help?

use std::time::{Duration, Instant};

use crate::domain::deployment::DeploymentId;
use crate::domain::verdict::{Judgement, Sample};

const VERIFIED_FOR: Duration = Duration::from_secs(60);
const ENOUGH: u64 = 20;

#[derive(Debug, Default)]
pub(super) struct Aftermath {
    verifying: Option<Verifying>,
    both_unhealthy: bool,
}

#[derive(Debug)]
struct Verifying {
    of: DeploymentId,
    until: Instant,
    judgement: Option<Judgement>,
    /// Requests of the release that was rolled back.
    before: Sample,
    /// Requests of the release that serves, since the rollback.
    after: Option<Sample>,
}

pub(super) struct Finding {
    pub(super) helped: bool,
    pub(super) why: String,
    pub(super) judgement: Option<Judgement>,
}

impl Aftermath {
    pub(super) fn begin(&mut self, now: Instant, of: DeploymentId, judgement: Option<Judgement>) {
        let finding = judgement.as_ref().and_then(|judgement| judgement.findings.first());
        // A release that can't serve fails every request.
        let before = finding.map_or(Sample::new(1, 1, None), |finding| finding.candidate);
        self.verifying = Some(Verifying { of, until: now + VERIFIED_FOR, before, judgement, after: None });
    }

    /// A later move makes the question moot.
    pub(super) fn forget(&mut self) {
        *self = Aftermath::default();
    }

    pub(super) fn sample(&mut self, of: DeploymentId, sample: Sample) {
        if let Some(verifying) = self.verifying.as_mut().filter(|verifying| verifying.of == of) {
            verifying.after = Some(sample);
        }
    }

    /// `down`: the reason why the serving release can't serve, if so.
    pub(super) fn conclude(&mut self, now: Instant, down: Option<&str>) -> Option<Finding> {
        let verifying = self.verifying.as_ref()?;
        let (helped, why) = if let Some(why) = down {
            (false, why.to_owned())
        } else if now < verifying.until {
            return None;
        } else if let Some(after) = verifying.after.filter(|after| after.requests() >= ENOUGH) {
            let why = format!("{} of {} requests were bad after the rollback", after.bad(), after.requests());
            (!is_no_better(after, verifying.before), why)
        } else {
            self.verifying = None;
            return None;
        };
        self.both_unhealthy = !helped;
        let judgement = self.verifying.take().and_then(|verifying| verifying.judgement);
        Some(Finding { helped, why, judgement })
    }

    pub(super) fn verifying(&self) -> Option<(DeploymentId, Instant)> {
        self.verifying.as_ref().map(|verifying| (verifying.of, verifying.until))
    }

    pub(super) fn is_both_unhealthy(&self) -> bool {
        self.both_unhealthy
    }
}

fn is_no_better(after: Sample, before: Sample) -> bool {
    let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
    after.bad() > 0 && product(after.bad(), before.requests()) >= product(before.bad(), after.requests())
}
