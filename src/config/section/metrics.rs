//! `[metrics]`: the histograms at `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{table, texts};
use crate::config::units::DAY;

/// As many as a meter has room for.
const MOST_BUCKETS: usize = 30;
const DEFAULT_MICROS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Upper bounds, ascending, in whole microseconds; above the last one is `+Inf`.
    pub buckets: Vec<Duration>,
}

impl Default for MetricsConfig {
    fn default() -> MetricsConfig {
        MetricsConfig { buckets: DEFAULT_MICROS.map(Duration::from_micros).into() }
    }
}

impl MetricsConfig {
    pub(super) fn read(section: &Section<'_>) -> MetricsConfig {
        MetricsConfig { buckets: buckets(section).unwrap_or(MetricsConfig::default().buckets) }
    }

    pub(super) fn write(&self) -> Value {
        let buckets: Vec<_> = self.buckets.iter().map(|bound| humantime::format_duration(*bound)).collect();
        table([("buckets", texts(&buckets))])
    }

    /// In microseconds.
    pub(crate) fn bounds(&self) -> Arc<[u64]> {
        self.buckets.iter().map(|bound| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX)).collect()
    }
}

fn buckets(section: &Section<'_>) -> Option<Vec<Duration>> {
    let value = section.get("buckets")?;
    let written = section.strings("buckets")?;
    if written.is_empty() || written.len() > MOST_BUCKETS {
        let message = format!("`metrics.buckets` has {} bounds; it takes 1 to {MOST_BUCKETS}", written.len());
        section.problem(value.span(), message, "leave it out for the default");
    }
    let mut buckets: Vec<Duration> = Vec::new();
    for written in written {
        let span = written.1.clone();
        let help = "write a number and a unit, such as \"250us\", \"5ms\" or \"1s\"";
        let Ok(bound) = humantime::parse_duration(written.0) else {
            section.refuse("buckets", written, "which is not a duration", help);
            continue;
        };
        if bound.is_zero() || bound > DAY || bound.subsec_nanos() % 1000 != 0 {
            let fault = "which is not between 1us and 1day in whole microseconds";
            section.refuse("buckets", written, fault, help);
        } else if buckets.last().is_some_and(|before| *before >= bound) {
            let message = "`metrics.buckets` does not ascend here";
            section.problem(span, message, "put the bounds in ascending order, each once");
        }
        buckets.push(bound);
    }
    Some(buckets)
}
