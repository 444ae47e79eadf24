//! How a new release gets its share of the requests, and how it is judged.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{EventConfig, IgnoreConfig};
use crate::domain::deployment::{Mode, OnClientErrors, OnInsufficient, OnUnsafe};
use crate::domain::split::Weight;

/// `[canary]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// What follows from a verdict.
    pub mode: Mode,
    /// Growing; never empty, none of them 0 % or 100 %.
    pub steps: Vec<Weight>,
    /// A step lasts at least so long.
    pub dwell: Duration,
    /// A step waits for evidence no longer than this; not shorter than `dwell`.
    pub max_step: Duration,
    /// And then?
    pub on_insufficient: OnInsufficient,
    /// What follows when it is sure that many more answers are 4xx.
    pub on_client_errors: OnClientErrors,
    /// The share that stays on the old color while the release bakes; at most half.
    pub holdback: Weight,
    /// What keeps a user on one color.
    pub sticky: Sticky,
    /// Where users stay on a color: so many events of a kind count of one network of clients, beside first requests; 0:
    /// all.
    pub evidence_per_network: u32,
    /// The cookie that `sticky = "cookie"` sets.
    pub cookie: VisitorCookie,
    /// Path prefixes that are judged on their own; each begins with `/`, none is there twice.
    pub routes: Vec<String>,
    /// A failed attempt of a safe request is made again on the stable color.
    pub shield: bool,
    /// No more than this share of the candidate's requests is.
    pub shield_budget: Weight,
}

/// The cookie by which the proxy knows a visitor again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitorCookie {
    /// `canary.cookie_name`
    pub name: String,
    /// `canary.cookie_max_age`
    pub max_age: Duration,
}

/// `canary.sticky`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sticky {
    /// Nothing: each request is drawn by chance.
    #[default]
    Off,
    /// A cookie of the proxy's own.
    Own(Arc<VisitorCookie>),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this field; in lower case.
    Header(String),
    /// The client's address.
    Address,
}

impl Sticky {
    /// All of it in one word, for the record of a deployment.
    #[must_use]
    pub fn recorded(&self) -> String {
        match self {
            Sticky::Own(cookie) => format!("own:{}:{}", cookie.max_age.as_secs(), cookie.name),
            Sticky::Off | Sticky::Cookie(_) | Sticky::Header(_) | Sticky::Address => self.to_string(),
        }
    }

    /// What was recorded; `None`: nothing that this version understands.
    #[must_use]
    pub fn from_record(recorded: &str) -> Option<Sticky> {
        let (kind, name) = recorded.split_once(':').unwrap_or((recorded, ""));
        Some(match kind {
            "off" => Sticky::Off,
            "address" => Sticky::Address,
            "cookie" => Sticky::Cookie(name.to_owned()),
            "header" => Sticky::Header(name.to_owned()),
            "own" => {
                let (max_age, name) = name.split_once(':')?;
                let max_age = Duration::from_secs(max_age.parse().ok()?);
                Sticky::Own(Arc::new(VisitorCookie { name: name.to_owned(), max_age }))
            }
            _ => return None,
        })
    }
}

/// As in the file.
impl fmt::Display for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sticky::Off => f.write_str("off"),
            Sticky::Own(_) => f.write_str("cookie"),
            Sticky::Cookie(name) => write!(f, "cookie:{name}"),
            Sticky::Header(name) => write!(f, "header:{name}"),
            Sticky::Address => f.write_str("address"),
        }
    }
}

/// `[analysis]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalysisConfig {
    /// How likely a good release may be rolled back in its whole deployment.
    pub false_rollback_per_deploy: Decimal,
    /// Odds from which on nothing advances.
    pub suspect_at: u32,
    /// From one look at the numbers to the next.
    pub tick: Duration,
    /// A candidate may have so many times the errors of the stable release.
    pub ratio_tolerated: Decimal,
    /// Below this share of errors no release is bad.
    pub error_floor: Weight,
    /// A candidate may be so many times slower.
    pub latency_margin: Decimal,
    /// And slower by at least this.
    pub latency_min_delta: Duration,
    /// To go on it has to be shown that fewer requests than this end in errors.
    pub pass_error_below: Weight,
    /// How likely a worse one may go on.
    pub pass_beta: Decimal,
    /// Routes that are judged on their own, at most: those of `canary.routes`, then those that are seen first.
    pub max_routes: usize,
    /// What is left out of the latencies of a candidate that has just begun.
    pub warmup: Warmup,
    /// The CPU time of the application; `None`: not looked at.
    pub cpu: Option<CpuConfig>,
    /// With more errors than this the stable release is unhealthy itself, and nothing advances.
    pub baseline_unhealthy: Weight,
    /// So long after an automatic rollback nothing advances by itself, and no canary begins.
    pub cooldown: Duration,
    /// What follows where the data stores forbid an automatic way back.
    pub on_unsafe: OnUnsafe,
    /// What the application may tell in its answers, at most eight.
    pub events: Vec<EventConfig>,
    /// Requests that are no evidence.
    pub ignore: IgnoreConfig,
}

/// `analysis.warmup`: over when both are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// Requests to each endpoint.
    pub requests: u32,
    /// Time since it began.
    pub time: Duration,
}

/// `analysis.cpu`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    /// Where endpoints tell `process_cpu_seconds_total`.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// It may take a release back by itself.
    pub decide: bool,
}

/// `[bake]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BakeConfig {
    /// How long a release has to serve to be known good.
    pub duration: Duration,
    /// The share that stays on the old color meanwhile, after a plain switch; at most half.
    pub holdback: Weight,
    /// What follows from a verdict on a plain switch.
    pub mode: Mode,
}

/// A number with up to six decimals: so it can be compared, and is written as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    /// From millionths.
    #[must_use]
    pub const fn from_millionths(millionths: u64) -> Decimal {
        Decimal(millionths)
    }

    /// Its value.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
