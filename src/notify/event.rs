//! Notices: their words, numbers and data. Each kind of event has its text here, and nowhere else.
//!
//! The reader knows nothing yet, on a phone, at night. A notice says in this order: event, service, reason, exposure,
//! current state, way back, actor, next step.

mod canary;
mod data;
mod drained;
mod failing;
mod fields;
mod moment;
mod pause;
mod refused;
mod samples;
mod served;
mod stated;
mod transition;

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::config::ServiceConfig;
use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::transition::{Origin, Trigger};
use crate::notify::id::EventId;
use crate::notify::words::clipped;

pub(crate) use moment::{Exposure, Moment, Rates, Target, WayBack};
pub(crate) use samples::samples;
pub(crate) use served::served_since;
pub(crate) use stated::Stated;

/// The most characters of a text from outside.
const FOREIGN: usize = 400;

/// A complete notice; sinks only format it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// The same for every attempt and sink.
    pub id: EventId,
    pub event: NoticeEvent,
    pub severity: Severity,
    /// The time of the event.
    pub at: SystemTime,
    pub headline: String,
    /// Complete without the other parts.
    pub sentence: String,
    pub fields: Vec<(&'static str, String)>,
    pub next: String,
    /// Pages to read; no link acts.
    pub links: Vec<(String, String)>,
    /// For programs.
    pub data: Map<String, Value>,
    /// This notice replaces a waiting one with the same subject.
    pub replaces: Option<String>,
}

impl Notice {
    /// The links without an unfilled placeholder.
    pub(super) fn pages(&self) -> impl Iterator<Item = &(String, String)> {
        self.links.iter().filter(|(_, url)| !url.contains('{'))
    }
}

const NOTHING: &str = "Nothing to do. How things stand: `cutover status`.";

type Words = ((NoticeEvent, Severity), String, String, String);

/// The author of notices about one service.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Arc<ServiceConfig>);

impl Teller {
    #[must_use]
    pub(crate) fn new(service: ServiceConfig) -> Teller {
        Teller(Arc::new(service))
    }

    /// `shop/prod`, or the part that is configured.
    fn subject(&self) -> String {
        match (&self.0.name, &self.0.environment) {
            (Some(name), Some(environment)) => format!("{name}/{environment}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => self.0.instance.clone(),
        }
    }

    /// The frame of every notice.
    fn notice(
        &self,
        id: EventId,
        (event, severity): (NoticeEvent, Severity),
        at: SystemTime,
        what: &str,
        sentence: String,
    ) -> Notice {
        let service = &self.0;
        let data = json!({
            "event_id": id.as_str(),
            "severity": severity.as_str(),
            "service": service.name,
            "environment": service.environment,
            "instance": service.instance,
        });
        let Value::Object(data) = data else { unreachable!("it was written as an object") };
        let links = service.links.iter().map(|(label, template)| {
            (label.clone(), template.replace("{event_id}", id.as_str()).replace("{event}", event.as_str()))
        });
        Notice {
            event,
            severity,
            at,
            headline: format!("{}: {what}", self.subject()),
            sentence,
            fields: Vec::new(),
            next: String::new(),
            links: links.collect(),
            data,
            replaces: None,
            id,
        }
    }
}

/// Fills a placeholder of links. The value is encoded, so that it stays in its part of the address.
fn fill(links: &mut [(String, String)], place: &str, value: &str) {
    for (_, link) in links {
        if link.contains(place) {
            let mut written = String::new();
            for byte in value.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        written.push(char::from(byte))
                    }
                    other => written.push_str(&format!("%{other:02X}")),
                }
            }
            *link = link.replace(place, &written);
        }
    }
}

/// `by deploy: “errors in checkout”`
fn by(origin: &Origin) -> String {
    let who = match origin.trigger {
        Trigger::File => "by an edit of the file".to_owned(),
        Trigger::Start => "by the start".to_owned(),
        Trigger::Automatic => "by itself".to_owned(),
        Trigger::Traffic => format!("by {}", clipped(&origin.actor, FOREIGN)),
        Trigger::Api => format!("by {}", clipped(&origin.actor, FOREIGN)),
    };
    match &origin.reason {
        Some(reason) => format!("{who} (“{}”)", clipped(reason, FOREIGN)),
        None => who,
    }
}

#[cfg(test)]
mod tests;
