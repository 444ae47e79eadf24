//! `[bake]`: the time after a switch in which a release is not yet known good.

use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{duration, share, table};
use crate::config::units::{DAY, MINUTE};
use crate::domain::deployment::{Mode, Plan};
use crate::domain::split::Weight;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BakeConfig {
    pub duration: Duration,
    pub holdback: Weight,
    pub mode: Mode,
}

impl Default for BakeConfig {
    fn default() -> BakeConfig {
        BakeConfig { duration: 15 * MINUTE, holdback: Weight::NONE, mode: Mode::Observe }
    }
}

impl BakeConfig {
    pub(super) fn read(section: &Section<'_>) -> BakeConfig {
        let defaults = BakeConfig::default();
        BakeConfig {
            duration: section.duration("duration", defaults.duration, Duration::ZERO..=DAY),
            holdback: section.weight("holdback", defaults.holdback, Weight::NONE..=Plan::MOST_HELD_BACK),
            mode: section.choice("mode", &Mode::NAMES, defaults.mode),
        }
    }

    pub(super) fn write(self) -> Value {
        table([
            ("duration", duration(self.duration)),
            ("holdback", share(self.holdback)),
            ("mode", self.mode.name().into()),
        ])
    }
}
