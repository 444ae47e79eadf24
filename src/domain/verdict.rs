//! What the judge says of a release: a verdict, with what it rests on. Whole numbers only, so that it can be kept in
//! the ledger and compared.

use std::time::Duration;

mod words;

/// Whether a release is worse than what it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Proved to be no worse than what is tolerated.
    Pass,
    /// Neither is proved.
    Insufficient,
    /// Evidence that it is worse, short of what a rollback needs: go no further.
    Suspect,
    /// Proved to be worse: go back.
    Fail,
}

/// What kind of bad event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 5xx, an endpoint that breaks off or does not answer, a failed gRPC call.
    Error,
    /// Slower than the stable release's median, with the margin.
    SlowP50,
    /// Slower than nine of ten.
    SlowP90,
    /// Slower than 99 of a hundred.
    SlowP99,
    /// 4xx. Holds a deployment, and never takes it back.
    ClientError,
    /// The client left before the answer. Holds only.
    Abort,
    /// CPU time for each request. Holds, unless the operator opted in.
    Cpu,
    /// An event of the application of which there are more.
    MoreEvents,
    /// One of which there are fewer.
    FewerEvents,
}

/// One side of a comparison. There are never more bad requests than requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    requests: u64,
    bad: u64,
    latency: Option<Duration>,
}

impl Sample {
    /// Of requests that are over. A request may be known to be bad before it is over, as one that hangs; such a request
    /// counts as one of them. For CPU it is about windows of time. `latency`: see the method.
    #[must_use]
    pub fn new(over: u64, bad: u64, latency: Option<Duration>) -> Sample {
        Sample { requests: over.max(bad), bad, latency }
    }

    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The bad ones.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// For latency, the quantile that the class is about.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }
}

/// What one component of a verdict says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which kind of event.
    pub class: Class,
    /// On which route; `None`: all of them together.
    pub route: Option<String>,
    /// The name of the event, where the application told it.
    pub event: Option<String>,
    /// The release that is watched.
    pub candidate: Sample,
    /// The release that it is compared with.
    pub stable: Sample,
    /// Evidence that it is worse, as odds to one; saturates.
    pub evidence: u64,
}

/// How far a verdict is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Further requests to the candidate.
    pub requests: u64,
    /// How long they take to come at the present rate; `None`: none come.
    pub time: Option<Duration>,
}

/// What the judge says after a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Worse or not.
    pub verdict: Verdict,
    /// All the evidence that it is worse, as odds to one; saturates.
    pub evidence: u64,
    /// A rollback needs so much.
    pub limit: u64,
    /// The evidence of what only holds it, as odds to one; saturates.
    pub hold: u64,
    /// So many good answers became 4xx, and that is so sure, that a canary is taken back, without a quarantine.
    pub withdraws: bool,
    /// Why it does not go forward, whatever is proved of its errors.
    pub veto: Option<Veto>,
    /// What the verdict rests on, the heaviest first; for [`Verdict::Fail`] and [`Verdict::Suspect`] never empty.
    pub findings: Vec<Finding>,
    /// What [`Verdict::Pass`] still needs; `None` where it is reached, or further away with each request.
    pub needs: Option<Needs>,
    /// The release that it is compared with fails itself: evidence against the candidate alone counts still.
    pub baseline_unhealthy: bool,
    /// There was nothing to compare with at the same time: judged by what was before.
    pub without_control: bool,
    /// Requests that the candidate was given, all in all.
    pub exposed: u64,
    /// How many of them ended in an error.
    pub harmed: u64,
    /// Most of the candidate's 4xx are of files that are not there, and each request draws its color.
    pub misses_files: bool,
}

/// See [`Judgement::misses_files`], for people.
pub(crate) const MISSES_FILES: &str = "pages of one release ask for files of the other: set `canary.sticky`, or publish the files of both (docs/linger.md)";

/// Why a release does not go forward although nothing is proved against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Veto {
    /// Its plain share of errors is too high at present.
    Errors,
    /// Its plain share of slow requests is.
    Slow,
    /// A route has visibly fewer good answers.
    ClientErrors,
    /// An event of the application is visibly rarer, or more frequent.
    Events,
    /// Its latency was not looked at for long enough.
    Latency,
    /// Nor was its CPU time.
    Cpu,
}

impl Veto {
    /// Each, and its name in files and answers.
    pub const NAMES: [(&'static str, Veto); 6] = [
        ("errors", Veto::Errors),
        ("slow", Veto::Slow),
        ("client_errors", Veto::ClientErrors),
        ("events", Veto::Events),
        ("latency", Veto::Latency),
        ("cpu", Veto::Cpu),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Veto::NAMES.iter().find(|(_, veto)| *veto == self).map_or("", |(name, _)| name)
    }

    /// The veto of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Veto> {
        Veto::NAMES.iter().find(|(known, _)| *known == name).map(|(_, veto)| *veto)
    }

    /// Whether something is visibly wrong; else more has to be seen.
    #[must_use]
    pub fn is_alarming(self) -> bool {
        matches!(self, Veto::Errors | Veto::Slow | Veto::ClientErrors | Veto::Events)
    }
}

impl Verdict {
    /// Each, and its name in files and answers.
    pub const NAMES: [(&'static str, Verdict); 4] = [
        ("pass", Verdict::Pass),
        ("insufficient", Verdict::Insufficient),
        ("suspect", Verdict::Suspect),
        ("fail", Verdict::Fail),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Verdict::NAMES.iter().find(|(_, verdict)| *verdict == self).map_or("", |(name, _)| name)
    }

    /// The verdict of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Verdict> {
        Verdict::NAMES.iter().find(|(known, _)| *known == name).map(|(_, verdict)| *verdict)
    }
}

impl Class {
    /// Each, and its name in files and answers.
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

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Class::NAMES.iter().find(|(_, class)| *class == self).map_or("", |(name, _)| name)
    }

    /// The class of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Class> {
        Class::NAMES.iter().find(|(known, _)| *known == name).map(|(_, class)| *class)
    }
}
