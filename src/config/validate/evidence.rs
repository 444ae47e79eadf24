//! Which requests are no evidence, and which events of the application are.

use crate::config::IgnoreConfig;
use crate::config::file::{Section, quoted};
use crate::config::validate::File;

/// So many paths, agents and networks are ignored, each.
const MOST_IGNORED: usize = 32;
/// Characters of an agent.
const LONGEST_AGENT: usize = 64;

impl File<'_> {
    pub(super) fn ignored(&self, analysis: &Section<'_>) -> IgnoreConfig {
        let Some(section) = analysis.section("ignore") else { return IgnoreConfig::default() };
        for key in ["paths", "agents", "addresses"] {
            let Some(value) = section.get(key) else { continue };
            let count = value.get_ref().as_array().map_or(0, |items| items.len());
            if count > MOST_IGNORED {
                let message = format!("`analysis.ignore.{key}` has {count} entries; it takes {MOST_IGNORED}");
                self.notes.problem(value.span(), message, None);
            }
        }
        let paths = section.strings("paths").unwrap_or_default();
        let paths = paths.into_iter().filter_map(|(text, span)| self.prefix("analysis.ignore.paths", text, span));
        let agents = section.strings("agents").unwrap_or_default().into_iter().filter_map(|(text, span)| {
            let valid = (1..=LONGEST_AGENT).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !valid {
                let message = format!("`analysis.ignore.agents` has {}, which is no part of a User-Agent", quoted(text));
                let help = format!("write 1 to {LONGEST_AGENT} ASCII characters of it, such as \"UptimeRobot\"");
                self.notes.problem(span, message, help);
            }
            valid.then(|| text.to_ascii_lowercase())
        });
        let ignored = IgnoreConfig {
            paths: paths.collect(),
            agents: agents.collect(),
            addresses: self.networks(&section, "addresses"),
        };
        section.refuse_unknown();
        ignored
    }
}
