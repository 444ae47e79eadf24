//! Facts for a notice that its line of the ledger does not have.

use std::time::SystemTime;

use crate::domain::color::Color;
use crate::domain::headline::Finding;
use crate::domain::release::Release;

/// Facts beside the ledger's line. After a restart they are gone, and the notice does without.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    /// The time since which the release that was left had served.
    pub served_since: Option<SystemTime>,
    /// Its answers in that time.
    pub exposure: Option<Exposure>,
    /// The rates on the color that was left.
    pub before: Option<Rates>,
    /// Endpoints of the live color: up, and all.
    pub up: Option<(usize, usize)>,
    pub way_back: Option<WayBack>,
    pub headline: Option<Finding>,
}

/// The target of a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// The error is the reason why there is no target.
    pub to: Result<(Color, Release), String>,
    /// For the data stores: `yes`, `no` or `unknown`.
    pub safe: &'static str,
    /// The reason of `no`.
    pub why: Option<String>,
}

/// Requests that a release answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub requests: u64,
    /// 5xx.
    pub errors: u64,
}

/// Answers of a color per second, over the last ten.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub requests: f64,
    /// 5xx.
    pub errors: f64,
}

/// An endpoint whose health changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub color: Color,
    /// The color is live.
    pub active: bool,
    pub upstream: String,
    pub endpoint: String,
    /// The result of the last probe.
    pub detail: String,
    /// Endpoints of the upstream on that color: up, and all.
    pub up: (usize, usize),
    pub headline: Option<Finding>,
}
