//! `[headers]`: fields that the proxy adds.

use toml::Value;

use crate::config::file::Section;
use crate::config::render::table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadersConfig {
    pub via: bool,
}

impl Default for HeadersConfig {
    fn default() -> HeadersConfig {
        HeadersConfig { via: true }
    }
}

impl HeadersConfig {
    pub(super) fn read(section: &Section<'_>) -> HeadersConfig {
        HeadersConfig { via: section.boolean("via", HeadersConfig::default().via) }
    }

    pub(super) fn write(self) -> Value {
        table([("via", self.via.into())])
    }
}
