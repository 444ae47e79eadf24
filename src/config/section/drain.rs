//! `[drain]`: the end of requests and tunnels that began before a switch.

use std::time::Duration;

use toml::Value;

use crate::config::file::Section;
use crate::config::render::{duration, table, word};
use crate::config::units::{DAY, SECOND};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    pub timeout: Duration,
    pub streams: Streams,
    pub spread: Duration,
}

impl Default for DrainConfig {
    fn default() -> DrainConfig {
        DrainConfig { timeout: 30 * SECOND, streams: Streams::Keep, spread: 10 * SECOND }
    }
}

/// The fate of tunnels at a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Tunnels live until they or the drain end.
    Keep,
    Close,
    /// Tunnels are closed one after the other.
    Spread,
}

impl Streams {
    const NAMES: [(&str, Streams); 3] =
        [("keep", Streams::Keep), ("close", Streams::Close), ("spread", Streams::Spread)];
}

impl DrainConfig {
    /// The period over which a switch closes tunnels; `None`: it leaves them.
    #[must_use]
    pub fn ends_tunnels_over(&self) -> Option<Duration> {
        match self.streams {
            Streams::Keep => None,
            Streams::Close => Some(Duration::ZERO),
            Streams::Spread => Some(self.spread),
        }
    }

    pub(super) fn read(section: &Section<'_>) -> DrainConfig {
        let defaults = DrainConfig::default();
        let drain = DrainConfig {
            timeout: section.duration("timeout", defaults.timeout, Duration::ZERO..=DAY),
            streams: section.choice("streams", &Streams::NAMES, defaults.streams),
            spread: section.duration("spread", defaults.spread, Duration::ZERO..=DAY),
        };
        if drain.streams == Streams::Spread && drain.spread > drain.timeout {
            let [spread, timeout] = [drain.spread, drain.timeout].map(humantime::format_duration);
            let place = section.string("spread").or_else(|| section.string("streams"));
            let message =
                format!("`drain.spread` is {spread}, and everything is ended after `drain.timeout`, {timeout}");
            let help = format!("write a `spread` of {timeout} or less, or a longer `timeout`");
            if let Some((_, span)) = place {
                section.problem(span, message, help);
            }
        }
        drain
    }

    pub(super) fn refuse_idle(&self, section: &Section<'_>) {
        let idle = self.streams != Streams::Spread && self.spread != DrainConfig::default().spread;
        let help = "add `streams = \"spread\"`, or remove this";
        section.idle_unless("spread", "streams", idle, "`drain.streams` is \"keep\" by default", help);
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("timeout", duration(self.timeout)),
            ("streams", word(&Streams::NAMES, self.streams)),
            ("spread", duration(self.spread)),
        ])
    }
}
