//! Notices about endpoints that answer as another release than their label.

use std::time::SystemTime;

use serde_json::json;

use crate::domain::color::Color;
use crate::domain::notice::{NoticeEvent, Severity};
use crate::domain::release::Release;
use crate::notify::event::data::object;
use crate::notify::event::{FOREIGN, NOTHING, Notice, Teller, fill};
use crate::notify::id::EventId;
use crate::notify::words::clipped;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    pub color: Color,
    pub upstream: String,
    pub endpoint: String,
    /// The release in the file.
    pub label: Release,
    /// The release in the answers.
    pub says: String,
}

impl Teller {
    #[must_use]
    pub(crate) fn stated(&self, at: SystemTime, wrong: bool, stated: &Stated) -> Notice {
        let Stated { color, upstream, endpoint, label, says } = stated;
        let says = clipped(says, FOREIGN);
        let (kind, what, sentence, next) = if wrong {
            (
                (NoticeEvent::WrongRelease, Severity::Error),
                format!("{endpoint} on {color} answers as {says}"),
                format!(
                    "{endpoint} ({upstream} on {color}, which serves) answers as release {says}, its label says {label}. Users get {says} \
                     there."
                ),
                format!(
                    "Restart that endpoint with {label}, or correct `release` of {color} in the file. `cutover status` shows when it is \
                     right."
                ),
            )
        } else {
            (
                (NoticeEvent::RightRelease, Severity::Info),
                format!("{endpoint} on {color} answers as {label}"),
                format!("{endpoint} ({upstream} on {color}) answers as release {label} again, as its label says."),
                NOTHING.to_owned(),
            )
        };
        let mut notice = self.notice(EventId::by_chance(at), kind, at, &what, sentence);
        notice.next = next;
        fill(&mut notice.links, "{color}", color.as_str());
        notice.fields.push(("Label", label.to_string()));
        notice.data.extend(object(json!({
            "color": color.as_str(), "upstream": upstream, "endpoint": endpoint, "release": label.as_str(), "says": says,
        })));
        notice.replaces = Some(format!("release of {color} {upstream} {endpoint}"));
        notice
    }
}
