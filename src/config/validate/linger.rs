//! Which files linger after a switch, and for how long.

use std::collections::BTreeSet;

use crate::config::LingerConfig;
use crate::config::file::quoted;
use crate::config::path::normal;
use crate::config::validate::{DAY, File, SECOND};

/// Files of a build stand in few places.
const MOST_PATHS: usize = 64;

impl File<'_> {
    pub(super) fn linger(&self) -> LingerConfig {
        let defaults = LingerConfig { paths: Vec::new(), lasts: DAY, budget_percent: 10 };
        let Some(section) = self.root.section("linger") else { return defaults };
        let mut seen = BTreeSet::new();
        let mut paths = Vec::new();
        let texts = section.strings("paths").unwrap_or_default();
        if let Some((_, span)) = texts.get(MOST_PATHS) {
            let message = format!("`linger.paths` has {} paths; it takes {MOST_PATHS}", texts.len());
            self.notes.problem(span.clone(), message, "name a path above some of them".to_owned());
        }
        for (text, span) in texts {
            let Some(path) = self.prefix("linger.paths", text, span.clone()) else { continue };
            if normal(&path).trim_end_matches('/').is_empty() {
                let message = "`linger.paths` has \"/\", and pages of an old release must not come back";
                let help = "name the paths of files whose names change with their content, such as \"/assets/\"";
                self.notes.problem(span, message, help.to_owned());
            } else if seen.insert(normal(&path).trim_end_matches('/').to_owned()) {
                paths.push(path);
            } else {
                let message = format!("the path {} is in `linger.paths` twice", quoted(text));
                self.notes.problem(span, message, "keep one of them".to_owned());
            }
        }
        let linger = LingerConfig {
            paths,
            lasts: section.duration("for", defaults.lasts, SECOND..=30 * DAY),
            budget_percent: section.percent("budget", defaults.budget_percent, 1..=100),
        };
        section.refuse_unknown();
        linger
    }
}
