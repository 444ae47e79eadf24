//! How what began before a switch is ended.

use std::time::Duration;

use crate::config::validate::{DAY, File, SECOND};
use crate::config::{DrainConfig, Streams};

impl File<'_> {
    pub(super) fn drain(&self) -> DrainConfig {
        let defaults = DrainConfig { timeout: 30 * SECOND, streams: Streams::Keep, spread: 10 * SECOND };
        let Some(section) = self.root.section("drain") else { return defaults };
        let streams = [("keep", Streams::Keep), ("close", Streams::Close), ("spread", Streams::Spread)];
        let drain = DrainConfig {
            timeout: section.duration("timeout", defaults.timeout, Duration::ZERO..=DAY),
            streams: section.choice("streams", &streams),
            spread: section.duration("spread", defaults.spread, Duration::ZERO..=DAY),
        };
        // Only where it counts: who keeps tunnels need not think of it.
        if drain.streams == Streams::Spread && drain.spread > drain.timeout {
            let [spread, timeout] = [drain.spread, drain.timeout].map(humantime::format_duration);
            let place = section.string("spread").or_else(|| section.string("streams"));
            let message =
                format!("`drain.spread` is {spread}, and everything is ended after `drain.timeout`, {timeout}");
            let help = format!("write a `spread` of {timeout} or less, or a longer `timeout`");
            if let Some((_, span)) = place {
                self.notes.problem(span, message, help);
            }
        }
        section.refuse_unknown();
        drain
    }
}
