//! `[analysis]`: the statistical test that decides about a new release.

mod evidence;

use std::time::Duration;

use toml::Value;

use crate::config::decimal::Decimal;
use crate::config::file::Section;
use crate::config::render::{decimal, duration, integer, share, table, word};
use crate::config::units::{DAY, HOUR, MINUTE, MS, SECOND};
use crate::domain::deployment::OnUnsafe;
use crate::domain::split::Weight;

pub(crate) use evidence::{EventConfig, IgnoreConfig};

const LEAST: Weight = Weight::new(1).expect("a share");

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalysisConfig {
    /// The probability that a good release is rolled back during its whole deployment.
    pub false_rollback_per_deploy: Decimal,
    /// The odds of a regression at which the canary stops advancing.
    pub suspect_at: u32,
    pub tick: Duration,
    pub ratio_tolerated: Decimal,
    pub error_floor: Weight,
    pub latency_margin: Decimal,
    pub latency_min_delta: Duration,
    pub pass_error_below: Weight,
    /// The probability that a worse release advances.
    pub pass_beta: Decimal,
    pub max_routes: usize,
    pub warmup: Warmup,
    /// The application's CPU time; `None`: not measured.
    pub cpu: Option<CpuConfig>,
    pub baseline_unhealthy: Weight,
    pub cooldown: Duration,
    pub on_unsafe: OnUnsafe,
    pub events: Vec<EventConfig>,
    pub ignore: IgnoreConfig,
}

/// The end of the warm-up: both limits are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmup {
    pub requests: u32,
    pub time: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    pub path: String,
    pub interval: Duration,
    pub decide: bool,
}

/// Shares in hundredths of a percent.
const fn weight(basis_points: u16) -> Weight {
    Weight::new(basis_points).expect("a share")
}

impl Default for AnalysisConfig {
    fn default() -> AnalysisConfig {
        AnalysisConfig {
            false_rollback_per_deploy: Decimal::from_millionths(1_000),
            suspect_at: 20,
            tick: SECOND,
            ratio_tolerated: Decimal::from_millionths(1_500_000),
            error_floor: weight(50),
            latency_margin: Decimal::from_millionths(1_500_000),
            latency_min_delta: 10 * MS,
            pass_error_below: weight(100),
            pass_beta: Decimal::from_millionths(50_000),
            max_routes: 64,
            warmup: Warmup { requests: 50, time: 30 * SECOND },
            cpu: None,
            baseline_unhealthy: weight(500),
            cooldown: 10 * MINUTE,
            on_unsafe: OnUnsafe::Hold,
            events: Vec::new(),
            ignore: IgnoreConfig::default(),
        }
    }
}

const ON_UNSAFE: [(&str, OnUnsafe); 2] = [("hold", OnUnsafe::Hold), ("force", OnUnsafe::Force)];

impl AnalysisConfig {
    pub(super) fn read(section: &Section<'_>) -> AnalysisConfig {
        let defaults = AnalysisConfig::default();
        let ratio = 1.0..=100.0;
        AnalysisConfig {
            false_rollback_per_deploy: section.decimal(
                "false_rollback_per_deploy",
                defaults.false_rollback_per_deploy,
                0.000_001..=0.1,
            ),
            suspect_at: section.integer("suspect_at", defaults.suspect_at, 2..=1_000_000),
            tick: section.duration("tick", defaults.tick, 100 * MS..=60 * SECOND),
            ratio_tolerated: section.decimal("ratio_tolerated", defaults.ratio_tolerated, ratio.clone()),
            error_floor: section.weight("error_floor", defaults.error_floor, LEAST..=Weight::HALF),
            latency_margin: section.decimal("latency_margin", defaults.latency_margin, ratio),
            latency_min_delta: section.duration(
                "latency_min_delta",
                defaults.latency_min_delta,
                Duration::ZERO..=60 * SECOND,
            ),
            pass_error_below: section.weight("pass_error_below", defaults.pass_error_below, LEAST..=Weight::HALF),
            pass_beta: section.decimal("pass_beta", defaults.pass_beta, 0.000_001..=0.5),
            max_routes: section.integer("max_routes", defaults.max_routes, 0..=64),
            warmup: section
                .optional("warmup", |warmup| Warmup::read(warmup, defaults.warmup))
                .unwrap_or(defaults.warmup),
            cpu: section.optional("cpu", CpuConfig::read).flatten(),
            baseline_unhealthy: section.weight("baseline_unhealthy", defaults.baseline_unhealthy, LEAST..=Weight::ALL),
            cooldown: section.duration("cooldown", defaults.cooldown, Duration::ZERO..=7 * DAY),
            on_unsafe: section.choice("on_unsafe", &ON_UNSAFE, defaults.on_unsafe),
            events: evidence::read_events(section),
            ignore: section.read("ignore", IgnoreConfig::read),
        }
    }

    pub(super) fn write(&self) -> Value {
        let warmup = [("requests", integer(self.warmup.requests)), ("time", duration(self.warmup.time))];
        let mut section = vec![
            ("false_rollback_per_deploy", decimal(self.false_rollback_per_deploy)),
            ("suspect_at", integer(self.suspect_at)),
            ("tick", duration(self.tick)),
            ("ratio_tolerated", decimal(self.ratio_tolerated)),
            ("error_floor", share(self.error_floor)),
            ("latency_margin", decimal(self.latency_margin)),
            ("latency_min_delta", duration(self.latency_min_delta)),
            ("pass_error_below", share(self.pass_error_below)),
            ("pass_beta", decimal(self.pass_beta)),
            ("max_routes", integer(self.max_routes)),
            ("warmup", table(warmup)),
            ("baseline_unhealthy", share(self.baseline_unhealthy)),
            ("cooldown", duration(self.cooldown)),
            ("on_unsafe", word(&ON_UNSAFE, self.on_unsafe)),
        ];
        section.extend(self.cpu.as_ref().map(|cpu| ("cpu", cpu.write())));
        if !self.events.is_empty() {
            section.push(("event", self.events.iter().map(EventConfig::write).collect::<Vec<_>>().into()));
        }
        if !self.ignore.is_empty() {
            section.push(("ignore", self.ignore.write()));
        }
        table(section)
    }
}

impl Warmup {
    fn read(section: &Section<'_>, defaults: Warmup) -> Warmup {
        Warmup {
            requests: section.integer("requests", defaults.requests, 0..=1_000_000),
            time: section.duration("time", defaults.time, Duration::ZERO..=HOUR),
        }
    }
}

impl CpuConfig {
    fn read(section: &Section<'_>) -> Option<CpuConfig> {
        let path = match section.string("path") {
            None => Some("/metrics".to_owned()),
            Some(written) => section.request_path("path", written),
        };
        let interval = section.duration("interval", 15 * SECOND, SECOND..=HOUR);
        let decide = section.boolean("decide", false);
        Some(CpuConfig { path: path?, interval, decide })
    }

    fn write(&self) -> Value {
        table([
            ("path", self.path.clone().into()),
            ("interval", duration(self.interval)),
            ("decide", self.decide.into()),
        ])
    }
}
