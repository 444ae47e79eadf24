//! Which requests are no evidence, and which events of the application are.

use std::collections::BTreeSet;

use crate::config::file::{Section, Span, quoted};
use crate::config::validate::File;
use crate::config::{EventConfig, IgnoreConfig};
use crate::domain::analysis::{Bad, MOST_EVENTS};
use crate::domain::split::Weight;

/// So many paths, agents and networks are ignored, each.
const MOST_IGNORED: usize = 32;
/// Characters of the name of an event.
const LONGEST_NAME: usize = 64;
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
            let valid =
                (1..=LONGEST_AGENT).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !valid {
                let message =
                    format!("`analysis.ignore.agents` has {}, which is no part of a User-Agent", quoted(text));
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

    pub(super) fn events(&self, analysis: &Section<'_>) -> Vec<EventConfig> {
        let sections = analysis.sections("event");
        if let Some(one_more) = sections.get(MOST_EVENTS) {
            let message = format!("there are {} entries of `analysis.event`; it takes {MOST_EVENTS}", sections.len());
            self.notes.problem(one_more.span.clone(), message, "leave some out".to_owned());
        }
        let mut names = BTreeSet::new();
        let mut events = Vec::new();
        let mut shared = 0;
        for section in sections {
            let Some((event, span)) = self.event(&section) else { continue };
            if !names.insert(event.name.clone()) {
                let message = format!("there is another event with the name {}", quoted(&event.name));
                self.notes.problem(span, message, "keep one of them".to_owned());
            }
            shared += u32::from(event.share.basis_points());
            if shared > u32::from(MOST_SHARE.basis_points()) {
                let message = format!("the shares of `analysis.event` add up to more than {MOST_SHARE}");
                let help = "errors and latency need the rest; make some `share` smaller".to_owned();
                self.notes.problem(section.span.clone(), message, help);
            }
            events.push(event);
        }
        events
    }

    fn event(&self, section: &Section<'_>) -> Option<(EventConfig, Span)> {
        let name = section.required("name", "name = \"order\"");
        let bad = section.required("bad", "bad = \"fewer\"").map(|_| section.choice("bad", &Bad::NAMES));
        let usual = if bad == Some(Bad::Fewer) { FEWER } else { MORE };
        let most = if bad == Some(Bad::Fewer) { MOST_FEWER } else { Weight::ALL };
        let tolerate = section.weight("tolerate", usual, LEAST..=most);
        let share = section.weight("share", SHARE, LEAST_SHARE..=MOST_SHARE);
        let per_request = u32::try_from(section.integer("per_request", 1, 1..=1_000)).unwrap_or(1);
        section.refuse_unknown();
        let (name, span) = name?;
        if !is_token(name) {
            let message = format!("`analysis.event.name` is {}, which is no token", quoted(name));
            let help =
                format!("begin with a letter, and use letters, digits, `-`, `_` and `.`, {LONGEST_NAME} at most");
            self.notes.problem(span, message, help);
            return None;
        }
        Some((EventConfig { name: name.to_owned(), bad: bad?, tolerate, share, per_request }, span))
    }
}

/// What is tolerated unless it is said.
const FEWER: Weight = Weight::new(1_000).expect("a share");
const MORE: Weight = Weight::HALF;
const LEAST: Weight = Weight::new(100).expect("a share");
const MOST_FEWER: Weight = Weight::new(9_000).expect("a share");
/// Of the budget.
const SHARE: Weight = Weight::new(500).expect("a share");
const LEAST_SHARE: Weight = Weight::new(10).expect("a share");
const MOST_SHARE: Weight = Weight::HALF;

fn is_token(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
