//! What happened becomes a notice: its words, its numbers, its data. One function a kind of event, and nowhere else.
//!
//! A notice is read by somebody who knows nothing yet, on a phone, at night. In this order it says what happened to
//! which service, why, who was exposed, how it stands now, whether there is a way back, who decided, what comes next.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::config::ServiceConfig;
use crate::domain::color::Color;
use crate::domain::gate::{CheckReport, GateReport};
use crate::domain::headline::Finding;
use crate::domain::notice::{Event, Severity};
use crate::domain::release::Release;
use crate::domain::transition::{Kind, Origin, Transition, Trigger};
use crate::notify::id::EventId;
use crate::notify::words::{clipped, count, percent, span};

mod canary;
mod drained;
mod pause;
mod refused;
mod samples;
mod served;
mod stated;

pub(crate) use samples::samples;
pub(crate) use served::served_since;
use served::{exposed, stays};
pub(crate) use stated::Stated;

/// Endpoints that failed a gate are named up to this.
const NAMED: usize = 5;
/// A text that somebody else wrote takes no more characters than this.
const FOREIGN: usize = 400;

/// One thing to tell, complete: sinks only give it a form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// The same on every try and at every sink.
    pub id: EventId,
    /// What kind of thing.
    pub event: Event,
    /// How bad.
    pub severity: Severity,
    /// When it happened.
    pub at: SystemTime,
    /// A few words.
    pub headline: String,
    /// Says it all by itself.
    pub sentence: String,
    /// What belongs to it, by name.
    pub fields: Vec<(&'static str, String)>,
    /// What to do now.
    pub next: String,
    /// Where to look; pages to read, nothing that acts.
    pub links: Vec<(String, String)>,
    /// For programs.
    pub data: Map<String, Value>,
    /// A waiting notice with the same subject is replaced by this one; `None`: each counts.
    pub replaces: Option<String>,
}

impl Notice {
    /// The links that lead somewhere: not of every notice there is a release that was left, say.
    pub(super) fn pages(&self) -> impl Iterator<Item = &(String, String)> {
        self.links.iter().filter(|(_, url)| !url.contains('{'))
    }
}

/// What only the moment knows. After a restart it is gone, and the notice says what the ledger knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moment {
    /// Since when that had served which is left.
    pub served_since: Option<SystemTime>,
    /// What it answered in that time.
    pub exposure: Option<Exposure>,
    /// What was going on on the color that is left.
    pub before: Option<Rates>,
    /// How many endpoints are up on the color that serves, and of how many.
    pub up: Option<(usize, usize)>,
    /// Where a rollback would go.
    pub way_back: Option<WayBack>,
    /// The headline of the status.
    pub headline: Option<Finding>,
}

/// Where a rollback would go, and whether it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// To what, or why to nothing.
    pub to: Result<(Color, Release), String>,
    /// What the data stores say: `yes`, `no` or `unknown`.
    pub safe: &'static str,
    /// Why not.
    pub why: Option<String>,
}

/// Requests that a release answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exposure {
    /// All.
    pub requests: u64,
    /// Of these with 5xx.
    pub errors: u64,
}

/// What a color answers each second, over the last ten.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// All.
    pub requests: f64,
    /// Of these with 5xx.
    pub errors: f64,
}

/// An endpoint whose health changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Of which color.
    pub color: Color,
    /// The color serves.
    pub active: bool,
    /// Of which upstream.
    pub upstream: String,
    /// Which.
    pub endpoint: String,
    /// The last probe in a few words.
    pub detail: String,
    /// How many of its upstream are up on that color now, and of how many.
    pub up: (usize, usize),
    /// The headline of the status.
    pub headline: Option<Finding>,
}

/// Tells of a service.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Arc<ServiceConfig>);

impl Teller {
    /// For the service that is configured.
    #[must_use]
    pub(crate) fn new(service: ServiceConfig) -> Teller {
        Teller(Arc::new(service))
    }

    /// `shop/prod`, or whatever of it is known.
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
        (event, severity): (Event, Severity),
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

    /// A line of the ledger. `None`: bookkeeping, which is nobody's news.
    #[must_use]
    pub(crate) fn transition(&self, transition: &Transition, moment: &Moment) -> Option<Notice> {
        let decision = &transition.decision;
        let (active, release) = (decision.active, &decision.release);
        let origin = &transition.origin;
        let by = by(origin);
        let left = transition.from.as_ref().map(|(color, release)| format!("{release} ({color})"));
        let left = left.unwrap_or_else(|| "nothing".to_owned());
        let served = exposed(transition, moment);
        let (kind, what, sentence, next) = match (transition.kind, &transition.refusal) {
            (Kind::Noted | Kind::Staged, _) => return None,
            (Kind::Start, _) => (
                (Event::Started, Severity::Info),
                format!("first start, {active} serves {release}"),
                format!("First start with an empty ledger: {active} serves {release}, as the file says."),
                NOTHING.to_owned(),
            ),
            (Kind::Rollback, _) if called_off(transition) => (
                (Event::Aborted, Severity::Warn),
                format!("the switch to {} was cancelled", transition.from.as_ref().map_or(release, |(_, to)| to)),
                format!(
                    "The switch to {left} was cancelled {by} before any request saw it; {active} keeps serving {release}."
                ),
                format!("Nothing moved. To switch again: `cutover switch {}`.", active.other()),
            ),
            (Kind::Rollback, _) if transition.origin.trigger == Trigger::Automatic => (
                (Event::RolledBack, Severity::Error),
                format!("{} was rolled back to {release}", transition.from.as_ref().map_or(release, |(_, from)| from)),
                format!(
                    "Rolled back from {left} to {release} ({active}) by itself: {}.{served}",
                    clipped(origin.reason.as_deref().unwrap_or_default(), FOREIGN)
                ),
                format!(
                    "{release} serves, and {left} is refused until it is replaced or forced. The evidence: `cutover history -n 5`."
                ),
            ),
            (Kind::Rollback, _) => (
                (Event::RolledBack, Severity::Error),
                format!("rolled back to {release}"),
                format!("Rolled back from {left} to {release} ({active}) {by}.{served}"),
                format!(
                    "Find out what was wrong with {left} before it is switched to again; {release} serves meanwhile. What happened: `cutover history -n 5`."
                ),
            ),
            (Kind::Switch, _) => (
                (Event::Promoted, if transition.forced { Severity::Warn } else { Severity::Info }),
                format!("{release} serves"),
                format!("Switched from {left} to {release} ({active}) {by}.{served}"),
                "Watch errors and latencies; `cutover rollback` moves everything back at once.".to_owned(),
            ),
            (Kind::Release, _) => (
                (Event::Promoted, Severity::Info),
                format!("{release} serves"),
                format!("The live color {active} has another release: {release} after {left}, {by}.{served}"),
                "Watch errors and latencies: `cutover status --watch`.".to_owned(),
            ),
            (Kind::Seen, Some((code, refusal))) => (
                (Event::Refused, Severity::Warn),
                format!("an order in the file was refused ({code})"),
                format!(
                    "The file orders another color or release, which was refused: {}. {active} keeps serving {release}.",
                    clipped(refusal, FOREIGN)
                ),
                "Repair what is named and edit the file again, or move by command. What the file would do: `cutover check`.".to_owned(),
            ),
            (Kind::Seen, None) => (
                (Event::Unchanged, Severity::Info),
                format!("the file orders what is so already ({active})"),
                format!("The file orders {active}, which serves already; nothing moved."),
                NOTHING.to_owned(),
            ),
            (Kind::Refused, refusal) => refused::words(transition, refusal.as_ref()),
            (Kind::Drained, _) => drained::words(transition.drained.as_ref()?, decision),
            (Kind::KnownGood, _) => (
                (Event::Done, Severity::Info),
                format!("{release} is known good"),
                format!(
                    "{release} ({active}) has served for as long as `bake.duration` and is known good: a later rollback comes back to it."
                ),
                "What has to wait for the end of a deployment may follow now. How things stand: `cutover status`.".to_owned(),
            ),
            (Kind::Barrier, _) => (
                (Event::BarrierPassed, Severity::Warn),
                format!("the way back from {release} is not safe any more"),
                format!("{release} ({active}) passed its barrier, {by}: the way back is not safe any more."),
                "If it turns out bad, repair it forward; `cutover status` says what a rollback would run into."
                    .to_owned(),
            ),
            (Kind::Freeze | Kind::Unfreeze | Kind::Hold | Kind::HoldEnd | Kind::Maintenance, _) => {
                pause::words(transition, &by)
            }
            (
                Kind::Canary
                | Kind::Advance
                | Kind::Abort
                | Kind::CanaryHold
                | Kind::CanaryResume
                | Kind::Suspect
                | Kind::WouldRollBack
                | Kind::RollbackBlocked
                | Kind::BaselineUnhealthy
                | Kind::BothUnhealthy
                | Kind::Recovered,
                _,
            ) => canary::words(transition, &by),
        };
        let mut notice = self.notice(EventId::of_transition(transition), kind, transition.at, &what, sentence);
        notice.next = next;
        notice.fields = fields(transition, moment);
        if let Some((_, before)) = &transition.from {
            fill(&mut notice.links, "{from}", before.as_str());
        }
        fill(&mut notice.links, "{to}", release.as_str());
        fill(&mut notice.links, "{color}", active.as_str());
        notice.data.extend(data(transition, moment));
        notice.data.extend(canary::data(transition));
        Some(notice)
    }

    /// An endpoint goes down or comes up.
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
            (true, _) => (Event::TargetHealthy, "passes its health checks again", NOTHING.to_owned()),
            (false, Severity::Page) => (Event::TargetUnhealthy, "fails its health checks", way_out(headline.as_ref())),
            (false, _) => (
                Event::TargetUnhealthy,
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

    /// A sink that gets no notices, for the others.
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
        let kind = (Event::NotifyFailed, Severity::Error);
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

/// What to do when clients get 503: the command that the status names first.
fn way_out(headline: Option<&Finding>) -> String {
    match headline.filter(|finding| !finding.next.is_empty()) {
        Some(Finding { purpose, next, .. }) => format!("Clients get 503. {purpose}: `{next}`."),
        None => "Clients get 503. What to do: `cutover status`.".to_owned(),
    }
}

/// A line of a rollback after which the color serves that has served all along: a switch was cancelled on its way to
/// the disk.
fn called_off(transition: &Transition) -> bool {
    stays(transition) && transition.origin.trigger != Trigger::Automatic
}

/// Where nobody has to act.
const NOTHING: &str = "Nothing to do. How things stand: `cutover status`.";

type Words = ((Event, Severity), String, String, String);

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

fn fields(transition: &Transition, moment: &Moment) -> Vec<(&'static str, String)> {
    let decision = &transition.decision;
    let mut fields = canary::fields(transition);
    if let (Some((color, _)), Some(Rates { requests, errors })) = (&transition.from, moment.before) {
        let share = percent(errors, requests);
        fields.push((
            "Just before",
            format!("{requests:.1} requests/s on {color}, {errors:.1} of them with 5xx ({share})"),
        ));
    }
    let up = moment.up.map(|(up, of)| format!(", {up} of {of} endpoints up")).unwrap_or_default();
    fields.push(("Now", format!("{} on {}{up}", decision.release, decision.active)));
    let back = match (&moment.way_back, &decision.previous) {
        (Some(WayBack { to: Ok((color, release)), safe, why }), _) => {
            let why = why.as_ref().map(|why| format!(" ({})", clipped(why, FOREIGN))).unwrap_or_default();
            format!("to {release} on {color}; safe: {safe}{why}")
        }
        (Some(WayBack { to: Err(why), .. }), _) => format!("none: {}", clipped(why, FOREIGN)),
        (None, Some(previous)) if previous.known_good.is_none() => {
            format!("none: {} never was known good", previous.release)
        }
        (None, Some(previous)) => format!("to {} on {}, if it still stands there", previous.release, previous.color),
        (None, None) => "none; forward again is a switch".to_owned(),
    };
    // What serves has served all along: there was no move that one could want to go back from.
    if transition.kind != Kind::Abort && !stays(transition) {
        fields.push(("Way back", back));
    }
    if let Some(headline) = &moment.headline {
        fields.push(("Status", clipped(&headline.to_string(), FOREIGN)));
    }
    if let Some(bad) = quarantined(transition) {
        fields.push(("Quarantined", format!("{bad} is refused until another release is deployed or it is forced")));
    }
    if transition.forced {
        fields.push(("Gate", "skipped by `force`".to_owned()));
    } else if let Some(gate) = &transition.gate {
        fields.push(("Gate", gate_in_words(gate)));
    }
    // Nobody has waited for what comes by itself.
    if !transition.took.is_zero() {
        fields.push(("Took", format!("{:.1} ms", transition.took.as_secs_f64() * 1e3)));
    }
    fields
}

/// The release that was left, if it may not come again.
fn quarantined(transition: &Transition) -> Option<&Release> {
    let (_, left) = transition.from.as_ref().filter(|_| matches!(transition.kind, Kind::Rollback | Kind::Abort))?;
    transition.decision.quarantine.iter().map(|bad| &bad.release).find(|release| *release == left)
}

fn gate_in_words(gate: &GateReport) -> String {
    let passed = gate.endpoints.iter().filter(|probed| probed.passed).count();
    let failed = gate.endpoints.iter().filter(|probed| !probed.passed).take(NAMED);
    let failed: String = failed
        .map(|probed| format!("; {}: {}", clipped(&probed.endpoint, FOREIGN), clipped(&probed.detail, FOREIGN)))
        .collect();
    let checks = checks_in_words(&gate.checks);
    format!("{passed} of {} endpoints of {} passed{failed}{checks}", gate.endpoints.len(), gate.color)
}

fn checks_in_words(checks: &[CheckReport]) -> String {
    if checks.is_empty() {
        return String::new();
    }
    let passed = checks.iter().filter(|check| check.has_passed()).count();
    let failed = checks.iter().filter(|check| !check.has_passed()).take(NAMED);
    let failed: String = failed.map(|check| format!("; failed: {}", clipped(&check.check, FOREIGN))).collect();
    format!("; {passed} of {} checks passed{failed}", checks.len())
}

fn data(transition: &Transition, moment: &Moment) -> Map<String, Value> {
    let decision = &transition.decision;
    let origin = &transition.origin;
    let standing = |color: Color, release: &Release| json!({ "color": color.as_str(), "release": release.as_str() });
    let served = moment.served_since.map(|since| transition.at.duration_since(since).unwrap_or_default());
    let exposure = served.map(|served| {
        json!({
            "seconds": served.as_secs_f64(),
            "requests": moment.exposure.map(|exposure| exposure.requests),
            "errors": moment.exposure.map(|exposure| exposure.errors),
        })
    });
    let good = decision.previous.as_ref().filter(|previous| previous.known_good.is_some());
    let known = || WayBack {
        to: good.map(|previous| (previous.color, previous.release.clone())).ok_or_else(String::new),
        safe: "unknown",
        why: None,
    };
    let WayBack { to, safe, why } = moment.way_back.clone().unwrap_or_else(known);
    let rollback = match to {
        Ok((color, release)) => json!({
            "possible": true, "color": color.as_str(), "release": release.as_str(), "safe": safe,
            "why": why.map(|why| clipped(&why, FOREIGN)),
        }),
        Err(why) => json!({ "possible": false, "why": clipped(&why, FOREIGN) }),
    };
    object(json!({
        "kind": transition.kind.name(),
        "generation": decision.generation.0,
        "from": transition.from.as_ref().map(|(color, release)| standing(*color, release)),
        "to": standing(decision.active, &decision.release),
        "trigger": origin.trigger.name(),
        "actor": origin.actor,
        "source": origin.source,
        "reason": origin.reason,
        "forced": transition.forced,
        "refusal": transition.refusal.as_ref().map(|(code, why)| json!({ "code": code, "why": clipped(why, FOREIGN) })),
        "gate": transition.gate.as_ref().map(gate_in_words),
        "took_ms": millis(transition.took),
        "exposure": exposure,
        "before": moment.before.map(|rates| json!({ "requests_per_second": rates.requests, "errors_per_second": rates.errors })),
        "now": moment.up.map(|(up, of)| json!({ "endpoints_up": up, "endpoints": of })),
        "asked": transition.asked.as_ref().map(|asked| json!({
            "kind": asked.kind.name(), "to": asked.to.as_ref().map(|(color, release)| standing(*color, release)),
        })),
        "drained": transition.drained.as_ref().map(|drained| json!({
            "color": drained.color.as_str(),
            "ended": drained.ended.total(),
            "by_kind": { "requests": drained.ended.requests, "streams": drained.ended.streams, "tunnels": drained.ended.tunnels },
        })),
        "headline": moment.headline.as_ref().map(|headline| json!({
            "level": headline.level.as_str(), "code": headline.code, "sentence": clipped(&headline.sentence, FOREIGN),
            "next": headline.next,
        })),
        "quarantined": quarantined(transition).is_some(),
        "frozen": decision.freeze.is_some(),
        "rollback": rollback,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Puts a value into the templates of links, written so that it can't become another part of the address.
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

#[cfg(test)]
mod tests;
