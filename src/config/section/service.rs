//! `[service]`: the names and links in notices.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::config::file::Section;
use crate::config::receiver::ReceiverUrl;
use crate::config::render::table;

/// The most links: a chat message has room for as many buttons.
const LINKS: usize = 5;
/// Placeholders in links.
const PLACES: [&str; 5] = ["{from}", "{to}", "{color}", "{event}", "{event_id}"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    pub name: Option<String>,
    pub environment: Option<String>,
    pub instance: String,
    pub links: BTreeMap<String, String>,
}

impl Default for ServiceConfig {
    fn default() -> ServiceConfig {
        ServiceConfig { name: None, environment: None, instance: host_name(), links: BTreeMap::new() }
    }
}

impl ServiceConfig {
    pub(super) fn read(section: &Section<'_>) -> ServiceConfig {
        let label = |key| {
            let (text, span) = section.string(key)?;
            section.label(&format!("`service.{key}`"), (text, span));
            Some(text.to_owned())
        };
        ServiceConfig {
            name: label("name"),
            environment: label("environment"),
            instance: label("instance").unwrap_or_else(host_name),
            links: section.section("links").map(|links| read_links(&links)).unwrap_or_default(),
        }
    }

    pub(super) fn write(&self) -> Value {
        let links: Table = self.links.iter().map(|(label, url)| (label.clone(), Value::from(url.clone()))).collect();
        let mut section = vec![("instance", self.instance.clone().into()), ("links", Value::Table(links))];
        section.extend(self.name.clone().map(|name| ("name", name.into())));
        section.extend(self.environment.clone().map(|environment| ("environment", environment.into())));
        table(section)
    }
}

fn read_links(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut links = BTreeMap::new();
    for (label, span, value) in section.entries() {
        section.label("the label of a link", (label, span));
        let Some((url, url_span)) = section.as_string(label, value) else { continue };
        let plain = PLACES.iter().fold(url.to_owned(), |url, place| url.replace(place, "x"));
        if plain.contains(['{', '}']) || ReceiverUrl::parse(&plain).is_none() {
            let help = "write \"https://…\"; {from}, {to}, {color}, {event} and {event_id} are filled in";
            section.refuse(label, (url, url_span), "which is not the address of a page", help);
        }
        links.insert(label.to_owned(), url.to_owned());
    }
    if links.len() > LINKS {
        let message = format!("[service.links] has {} links; a message has room for {LINKS}", links.len());
        section.plain_problem(section.span.clone(), message);
    }
    links
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "cutover".to_owned() } else { name }
}
