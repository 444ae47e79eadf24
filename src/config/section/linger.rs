//! `[linger]`: files of the previous release that stay available after a switch.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Value;

use crate::config::file::{Section, quoted};
use crate::config::path::normal;
use crate::config::render::{duration, percent, table, texts};
use crate::config::units::{DAY, SECOND};

const MOST_PATHS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LingerConfig {
    /// Distinct path prefixes; each begins with `/`. Empty: off.
    pub paths: Vec<String>,
    pub lasts: Duration,
    pub budget_percent: u8,
}

impl Default for LingerConfig {
    fn default() -> LingerConfig {
        LingerConfig { paths: Vec::new(), lasts: DAY, budget_percent: 10 }
    }
}

impl LingerConfig {
    pub(super) fn read(section: &Section<'_>) -> LingerConfig {
        let defaults = LingerConfig::default();
        LingerConfig {
            paths: paths(section),
            lasts: section.duration("for", defaults.lasts, SECOND..=30 * DAY),
            budget_percent: section.percent("budget", defaults.budget_percent, 1..=100),
        }
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let defaults = LingerConfig::default();
        let (why, help) = ("`linger.paths` names no path", "add `paths = [\"/assets/\"]`, or remove this");
        let off = self.paths.is_empty();
        section.idle_unless("for", "paths", off && self.lasts != defaults.lasts, why, help);
        section.idle_unless("budget", "paths", off && self.budget_percent != defaults.budget_percent, why, help);
    }

    pub(super) fn write(&self) -> Value {
        table([("paths", texts(&self.paths)), ("for", duration(self.lasts)), ("budget", percent(self.budget_percent))])
    }
}

fn paths(section: &Section<'_>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut paths = Vec::new();
    let texts = section.strings("paths").unwrap_or_default();
    if let Some((_, span)) = texts.get(MOST_PATHS) {
        let message = format!("`linger.paths` has {} paths; it takes {MOST_PATHS}", texts.len());
        section.problem(span.clone(), message, "name a path above some of them");
    }
    for (text, span) in texts {
        let Some(path) = section.prefix("paths", (text, span.clone())) else { continue };
        if normal(&path).trim_end_matches('/').is_empty() {
            let message = "`linger.paths` has \"/\", and pages of an old release must not come back";
            let help = "name the paths of files whose names change with their content, such as \"/assets/\"";
            section.problem(span, message, help);
        } else if seen.insert(normal(&path).trim_end_matches('/').to_owned()) {
            paths.push(path);
        } else {
            section.problem(span, format!("the path {} is in `linger.paths` twice", quoted(text)), "keep one of them");
        }
    }
    paths
}
