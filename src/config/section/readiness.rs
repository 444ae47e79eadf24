//! `[readiness]`: the proxy's own health, for load balancers in front of it.

use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{duration, table};
use crate::config::units::{HOUR, SECOND};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessConfig {
    /// The path that the proxy itself answers on the traffic listeners; `None`: off.
    pub path: Option<String>,
    pub lame_duck: Duration,
    pub fail_without_endpoints: bool,
}

impl Default for ReadinessConfig {
    fn default() -> ReadinessConfig {
        ReadinessConfig {
            path: Some("/.cutover/ready".to_owned()),
            lame_duck: 5 * SECOND,
            fail_without_endpoints: false,
        }
    }
}

impl ReadinessConfig {
    pub(super) fn read(section: &Section<'_>) -> ReadinessConfig {
        let defaults = ReadinessConfig::default();
        ReadinessConfig {
            path: match section.string("path") {
                None => defaults.path,
                Some(("", _)) => None,
                Some(written) => section.request_path("path", written),
            },
            lame_duck: section.duration("lame_duck", defaults.lame_duck, Duration::ZERO..=HOUR),
            fail_without_endpoints: section.boolean("fail_without_endpoints", defaults.fail_without_endpoints),
        }
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let idle = self.fail_without_endpoints && self.path.is_none();
        let help = "name a path, or remove this";
        section.idle("fail_without_endpoints", idle, "`readiness.path` is off", help);
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("path", self.path.clone().unwrap_or_default().into()),
            ("lame_duck", duration(self.lame_duck)),
            ("fail_without_endpoints", self.fail_without_endpoints.into()),
        ])
    }
}
