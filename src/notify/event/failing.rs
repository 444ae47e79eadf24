//! Notices about failing endpoints and failing sinks.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::domain::headline::Finding;
use crate::domain::notice::{NoticeEvent, Severity};
use crate::notify::event::data::object;
use crate::notify::event::moment::Target;
use crate::notify::event::{FOREIGN, NOTHING, Notice, Teller, fill};
use crate::notify::id::EventId;
use crate::notify::words::{clipped, count, span};

impl Teller {
    /// An endpoint went down or came up.
    #[must_use]
    pub(crate) fn target(&self, at: SystemTime, healthy: bool, target: &Target) -> Notice {
        let Target { color, active, upstream, endpoint, detail, up: (up, of), headline } = target;
        let role = if *active { "the live color" } else { "the other color" };
        let detail = clipped(detail, FOREIGN);
        let severity = match (healthy, active, up) {
            (true, _, _) => Severity::Info,
            (false, true, 0) => Severity::Page,
            (false, true, _) => Severity::Error,
            (false, false, _) => Severity::Warn,
        };
        let (event, word, next) = match (healthy, severity) {
            (true, _) => (NoticeEvent::TargetHealthy, "passes its health checks again", NOTHING.to_owned()),
            (false, Severity::Page) => {
                (NoticeEvent::TargetUnhealthy, "fails its health checks", way_out(headline.as_ref()))
            }
            (false, _) => (
                NoticeEvent::TargetUnhealthy,
                "fails its health checks",
                format!("Look at that instance. After its repair: `cutover wait --healthy {color}`."),
            ),
        };
        let sentence = format!(
            "{endpoint} ({upstream} on {color}, {role}) {word}: {detail}. {up} of {of} endpoints are up there."
        );
        let what = format!("{endpoint} on {color} is {}", if healthy { "up" } else { "down" });
        let mut notice = self.notice(EventId::by_chance(at), (event, severity), at, &what, sentence);
        notice.next = next;
        fill(&mut notice.links, "{color}", color.as_str());
        notice.fields.push(("Last probe", detail.clone()));
        notice.fields.push(("Up", format!("{up} of {of} in {upstream} on {color}")));
        notice.data.extend(object(json!({
            "color": color.as_str(), "active": active, "upstream": upstream, "endpoint": endpoint, "detail": detail,
            "endpoints_up": up, "endpoints": of,
        })));
        notice.replaces = Some(format!("{color} {upstream} {endpoint}"));
        notice
    }

    /// A notice to the other sinks about one that gets none.
    #[must_use]
    pub(crate) fn notify_failed(
        &self,
        at: SystemTime,
        sink: &str,
        why: &str,
        waiting: usize,
        since: Duration,
    ) -> Notice {
        let why = clipped(why, FOREIGN);
        let (waits, so_long) = (count(waiting as u64, "notice"), span(since));
        let sentence = format!("Notices to \"{sink}\" have been failing for {so_long}: {why}. {waits} waiting for it.");
        let kind = (NoticeEvent::NotifyFailed, Severity::Error);
        let what = format!("\"{sink}\" gets no notices");
        let mut notice = self.notice(EventId::by_chance(at), kind, at, &what, sentence);
        notice.next = format!(
            "Whoever relies on \"{sink}\" knows nothing of it: repair it, then `cutover notify test --sink {sink}`."
        );
        notice
            .data
            .extend(object(json!({ "sink": sink, "why": why, "waiting": waiting, "failing_s": since.as_secs() })));
        notice
    }
}

/// The next step while clients get 503: the command that the status names first.
fn way_out(headline: Option<&Finding>) -> String {
    match headline.filter(|finding| !finding.next.is_empty()) {
        Some(Finding { purpose, next, .. }) => format!("Clients get 503. {purpose}: `{next}`."),
        None => "Clients get 503. What to do: `cutover status`.".to_owned(),
    }
}
