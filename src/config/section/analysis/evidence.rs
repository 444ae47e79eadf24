//! `[analysis.ignore]` and `[[analysis.event]]`: requests that are no evidence, and events of the application that are.

use std::collections::BTreeSet;

use ipnet::IpNet;
use toml::Value;

use crate::config::file::{Section, Span, quoted};
use crate::config::render::{integer, share, table, texts};
use crate::domain::analysis::{Bad, MOST_EVENTS};
use crate::domain::split::Weight;

/// The most paths, agents and networks, each.
const MOST_IGNORED: usize = 32;
/// Characters.
const LONGEST_NAME: usize = 64;
const LONGEST_AGENT: usize = 64;

const FEWER_TOLERATED: Weight = Weight::new(1_000).expect("a share");
const MORE_TOLERATED: Weight = Weight::HALF;
const LEAST_TOLERATED: Weight = Weight::new(100).expect("a share");
const MOST_FEWER_TOLERATED: Weight = Weight::new(9_000).expect("a share");
const SHARE: Weight = Weight::new(500).expect("a share");
const LEAST_SHARE: Weight = Weight::new(10).expect("a share");
const MOST_SHARE: Weight = Weight::HALF;

/// `[analysis.ignore]`: requests that are served and counted, but are no evidence about a release. One matching rule
/// is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreConfig {
    pub paths: Vec<String>,
    /// Parts of a `User-Agent`, in lower case.
    pub agents: Vec<String>,
    pub addresses: Vec<IpNet>,
}

/// `[[analysis.event]]`: an event that the application reports in its answers (`Cutover-Event`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventConfig {
    /// A unique token.
    pub name: String,
    pub bad: Bad,
    pub tolerate: Weight,
    pub share: Weight,
    pub per_request: u32,
}

impl IgnoreConfig {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.agents.is_empty() && self.addresses.is_empty()
    }

    pub(super) fn read(section: &Section<'_>) -> IgnoreConfig {
        for key in ["paths", "agents", "addresses"] {
            let Some(value) = section.get(key) else { continue };
            let count = value.get_ref().as_array().map_or(0, |items| items.len());
            if count > MOST_IGNORED {
                let message = format!("`analysis.ignore.{key}` has {count} entries; it takes {MOST_IGNORED}");
                section.plain_problem(value.span(), message);
            }
        }
        let paths = section.strings("paths").unwrap_or_default();
        let agents = section.strings("agents").unwrap_or_default().into_iter().filter_map(|(text, span)| {
            let valid =
                (1..=LONGEST_AGENT).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !valid {
                let message =
                    format!("`analysis.ignore.agents` has {}, which is no part of a User-Agent", quoted(text));
                let help = format!("write 1 to {LONGEST_AGENT} ASCII characters of it, such as \"UptimeRobot\"");
                section.problem(span, message, help);
            }
            valid.then(|| text.to_ascii_lowercase())
        });
        IgnoreConfig {
            paths: paths.into_iter().filter_map(|written| section.prefix("paths", written)).collect(),
            agents: agents.collect(),
            addresses: section.networks("addresses"),
        }
    }

    pub(super) fn write(&self) -> Value {
        table([("paths", texts(&self.paths)), ("agents", texts(&self.agents)), ("addresses", texts(&self.addresses))])
    }
}

pub(super) fn read_events(analysis: &Section<'_>) -> Vec<EventConfig> {
    let sections = analysis.sections("event");
    if let Some(one_more) = sections.get(MOST_EVENTS) {
        let message = format!("there are {} entries of `analysis.event`; it takes {MOST_EVENTS}", sections.len());
        analysis.problem(one_more.span.clone(), message, "leave some out");
    }
    let mut names = BTreeSet::new();
    let mut events = Vec::new();
    let mut shared = 0;
    for section in sections {
        let Some((event, span)) = EventConfig::read(&section) else { continue };
        if !names.insert(event.name.clone()) {
            let message = format!("there is another event with the name {}", quoted(&event.name));
            section.problem(span, message, "keep one of them");
        }
        shared += u32::from(event.share.basis_points());
        if shared > u32::from(MOST_SHARE.basis_points()) {
            let message = format!("the shares of `analysis.event` add up to more than {MOST_SHARE}");
            let help = "errors and latency need the rest; make some `share` smaller";
            section.problem(section.span.clone(), message, help);
        }
        events.push(event);
    }
    events
}

impl EventConfig {
    /// The event, and the place of its name.
    fn read(section: &Section<'_>) -> Option<(EventConfig, Span)> {
        let name = section.required("name", "name = \"order\"");
        let bad = section.required("bad", "bad = \"fewer\"").map(|_| section.choice("bad", &Bad::NAMES, Bad::More));
        let fewer = bad == Some(Bad::Fewer);
        let usual = if fewer { FEWER_TOLERATED } else { MORE_TOLERATED };
        let most = if fewer { MOST_FEWER_TOLERATED } else { Weight::ALL };
        let tolerate = section.weight("tolerate", usual, LEAST_TOLERATED..=most);
        let share = section.weight("share", SHARE, LEAST_SHARE..=MOST_SHARE);
        let per_request = section.integer("per_request", 1, 1..=1_000);
        section.refuse_unknown();
        let (name, span) = name?;
        if !is_token(name) {
            let help =
                format!("begin with a letter, and use letters, digits, `-`, `_` and `.`, {LONGEST_NAME} at most");
            section.refuse("name", (name, span), "which is no token", help);
            return None;
        }
        Some((EventConfig { name: name.to_owned(), bad: bad?, tolerate, share, per_request }, span))
    }

    pub(super) fn write(&self) -> Value {
        table([
            ("name", self.name.clone().into()),
            ("bad", self.bad.name().into()),
            ("tolerate", share(self.tolerate)),
            ("share", share(self.share)),
            ("per_request", integer(self.per_request)),
        ])
    }
}

fn is_token(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
