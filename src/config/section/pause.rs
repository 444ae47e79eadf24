//! `[pause]`: requests that are held while traffic is paused. Earlier versions called it `[hold]`, which is still read.

use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{duration, integer, size, table};
use crate::config::units::{HOUR, MS, SECOND};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldConfig {
    pub max_requests: usize,
    pub max_bytes: usize,
    pub timeout: Duration,
    pub ready: bool,
}

impl Default for HoldConfig {
    fn default() -> HoldConfig {
        HoldConfig { max_requests: 1000, max_bytes: 16 << 20, timeout: 30 * SECOND, ready: true }
    }
}

impl HoldConfig {
    pub(super) fn read(root: &Section<'_>) -> HoldConfig {
        let section = root.section("pause");
        // Messages about unknown keys must not suggest the old name.
        let before = if root.has("hold") { root.section("hold") } else { None };
        if let (Some(_), Some(before)) = (&section, &before) {
            let message = "[hold] is the name of [pause] in earlier versions, and both are there";
            root.problem(before.span.clone(), message, "keep [pause], and move what is missing there");
        }
        let defaults = HoldConfig::default();
        let Some(section) = section.or(before) else { return defaults };
        let hold = HoldConfig {
            max_requests: section.integer("max_requests", defaults.max_requests, 1..=1_000_000),
            max_bytes: section.size("max_bytes", defaults.max_bytes, 64 << 10..=64 << 30),
            timeout: section.duration("timeout", defaults.timeout, 100 * MS..=HOUR),
            ready: section.boolean("ready", defaults.ready),
        };
        section.refuse_unknown();
        hold
    }

    pub(super) fn write(self) -> Value {
        table([
            ("max_requests", integer(self.max_requests)),
            ("max_bytes", size(self.max_bytes)),
            ("timeout", duration(self.timeout)),
            ("ready", self.ready.into()),
        ])
    }
}
