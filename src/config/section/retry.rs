//! `[retry]`: further attempts of a request on other endpoints.

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{integer, percent, table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    pub attempts: u32,
    pub budget_percent: u8,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        RetryConfig { attempts: 2, budget_percent: 10 }
    }
}

impl RetryConfig {
    pub(super) fn read(section: &Section<'_>) -> RetryConfig {
        let defaults = RetryConfig::default();
        RetryConfig {
            attempts: section.integer("attempts", defaults.attempts, 0..=10),
            budget_percent: section.percent("budget", defaults.budget_percent, 0..=100),
        }
    }

    pub(super) fn write(self) -> Value {
        table([("attempts", integer(self.attempts)), ("budget", percent(self.budget_percent))])
    }
}
