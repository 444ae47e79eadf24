//! The judge's verdict on a release, with its evidence. Whole numbers only, so that it can be kept in the ledger and
//! compared.

use std::time::Duration;

mod words;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No worse than tolerated, with proof.
    Pass,
    Insufficient,
    Suspect,
    /// A regression, with proof: roll back.
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 5xx, an endpoint that breaks off or does not answer, a failed gRPC call.
    Error,
    /// Slower than the stable release's median, with the margin.
    SlowP50,
    SlowP90,
    SlowP99,
    /// 4xx. Pauses a deployment, and never rolls it back.
    ClientError,
    /// The client left before the response. Pauses only.
    Abort,
    Cpu,
    MoreEvents,
    FewerEvents,
}

/// One side of a comparison. Bad requests never exceed requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    requests: u64,
    bad: u64,
    latency: Option<Duration>,
}

impl Sample {
    /// `over`: finished requests. A hanging request is bad before it is over and counts as one of them. For CPU the
    /// unit is a window of time. `latency`: see the method.
    #[must_use]
    pub fn new(over: u64, bad: u64, latency: Option<Duration>) -> Sample {
        Sample { requests: over.max(bad), bad, latency }
    }

    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    #[must_use]
    pub fn bad(&self) -> u64 {
        self.bad
    }

    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub class: Class,
    /// `None`: all routes together.
    pub route: Option<String>,
    pub event: Option<String>,
    pub candidate: Sample,
    pub stable: Sample,
    /// Odds of a regression to one; saturates.
    pub evidence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    pub requests: u64,
    pub time: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Odds of a regression to one, over all components; saturates.
    pub evidence: u64,
    pub limit: u64,
    pub hold: u64,
    /// Good responses became 4xx, with the certainty of a rollback: a canary ends, without a quarantine.
    pub withdraws: bool,
    /// The reason why it does not advance although its errors are proved to be fine.
    pub veto: Option<Veto>,
    /// The components behind the verdict, heaviest first. Never empty for [`Verdict::Fail`] and [`Verdict::Suspect`].
    pub findings: Vec<Finding>,
    /// Missing for [`Verdict::Pass`]; `None`: reached, or further away with each request.
    pub needs: Option<Needs>,
    /// The stable release fails. Evidence against the candidate alone still counts.
    pub baseline_unhealthy: bool,
    /// No stable requests at the same time: the comparison is with earlier ones.
    pub without_control: bool,
    pub exposed: u64,
    pub harmed: u64,
    /// Most of the candidate's 4xx are missing files, and each request draws its color.
    pub misses_files: bool,
}

pub(crate) const MISSES_FILES: &str = "pages of one release ask for files of the other: set `canary.sticky`, or publish the files of both (docs/linger.md)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    Errors,
    Slow,
    ClientErrors,
    Events,
    Latency,
    Cpu,
}

impl Veto {
    pub const NAMES: [(&'static str, Veto); 6] = [
        ("errors", Veto::Errors),
        ("slow", Veto::Slow),
        ("client_errors", Veto::ClientErrors),
        ("events", Veto::Events),
        ("latency", Veto::Latency),
        ("cpu", Veto::Cpu),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Veto::NAMES.iter().find(|(_, veto)| *veto == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Veto> {
        Veto::NAMES.iter().find(|(known, _)| *known == name).map(|(_, veto)| *veto)
    }

    /// Something is visibly wrong; otherwise more requests are needed.
    #[must_use]
    pub fn is_alarming(self) -> bool {
        matches!(self, Veto::Errors | Veto::Slow | Veto::ClientErrors | Veto::Events)
    }
}

impl Verdict {
    pub const NAMES: [(&'static str, Verdict); 4] = [
        ("pass", Verdict::Pass),
        ("insufficient", Verdict::Insufficient),
        ("suspect", Verdict::Suspect),
        ("fail", Verdict::Fail),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Verdict::NAMES.iter().find(|(_, verdict)| *verdict == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Verdict> {
        Verdict::NAMES.iter().find(|(known, _)| *known == name).map(|(_, verdict)| *verdict)
    }
}

impl Class {
    pub const NAMES: [(&'static str, Class); 9] = [
        ("error", Class::Error),
        ("slow_p50", Class::SlowP50),
        ("slow_p90", Class::SlowP90),
        ("slow_p99", Class::SlowP99),
        ("client_error", Class::ClientError),
        ("abort", Class::Abort),
        ("cpu", Class::Cpu),
        ("more_events", Class::MoreEvents),
        ("fewer_events", Class::FewerEvents),
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        Class::NAMES.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Class> {
        Class::NAMES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }
}
