//! `[health]`: the health checks of endpoints.

use std::time::Duration;

use toml::Value;

use crate::config::Config;
use crate::config::file::Section;
use crate::config::file::kinds::is_field_name;
use crate::config::render::{duration, integer, statuses, table};
use crate::config::units::{HOUR, MS, SECOND};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// The path of the check; `None`: the check is a TCP connect.
    pub path: Option<String>,
    /// The `Host` of the check; `None`: the endpoint's address.
    pub host: Option<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
    /// The status codes that pass, inclusive.
    pub expect: (u16, u16),
    /// The response field that names the endpoint's release, in lower case.
    pub release_header: Option<String>,
}

impl Default for HealthConfig {
    fn default() -> HealthConfig {
        HealthConfig {
            path: None,
            host: None,
            interval: 2 * SECOND,
            timeout: SECOND,
            rise: 2,
            fall: 3,
            expect: (200, 299),
            release_header: None,
        }
    }
}

impl HealthConfig {
    pub(super) fn read(section: &Section<'_>) -> HealthConfig {
        let defaults = HealthConfig::default();
        HealthConfig {
            path: section.string("path").and_then(|written| section.request_path("path", written)),
            host: section.host("host"),
            interval: section.duration("interval", defaults.interval, 50 * MS..=HOUR),
            timeout: section.duration("timeout", defaults.timeout, 10 * MS..=HOUR),
            rise: section.integer("rise", defaults.rise, 1..=100),
            fall: section.integer("fall", defaults.fall, 1..=100),
            expect: section.statuses("expect", defaults.expect),
            release_header: release_header(section),
        }
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>, config: &Config) {
        let (why, help) = ("without `health.path` the check is a TCP connect", "set `health.path`, or remove this");
        let connects = self.path.is_none();
        section.idle("expect", connects && self.expect != HealthConfig::default().expect, why, help);
        // Gate checks use this host, too.
        section.idle("host", connects && config.gate_checks.is_empty(), why, help);
    }

    pub(super) fn write(&self) -> Value {
        let mut section = vec![
            ("interval", duration(self.interval)),
            ("timeout", duration(self.timeout)),
            ("rise", integer(self.rise)),
            ("fall", integer(self.fall)),
            ("expect", statuses(self.expect)),
        ];
        section.extend(self.path.clone().map(|path| ("path", path.into())));
        section.extend(self.host.clone().map(|host| ("host", host.into())));
        section.extend(self.release_header.clone().map(|name| ("release_header", name.into())));
        table(section)
    }
}

fn release_header(section: &Section<'_>) -> Option<String> {
    let (name, span) = section.string("release_header")?;
    let valid = is_field_name(name);
    if !valid {
        section.refuse("release_header", (name, span), "which is no name of a field", "write \"x-release\"");
    } else if section.string("path").is_none() {
        let message = "`health.release_header` is read from the answer to `health.path`, which is not set";
        section.problem(span, message, "set `health.path` too");
    }
    valid.then(|| name.to_ascii_lowercase())
}
