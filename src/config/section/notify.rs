//! `[[notify]]`: the receivers of notices.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::config::error::UnusableFile;
use crate::config::file::{Section, Span, Written, quoted};
use crate::config::receiver::{ReceiverUrl, Source, signing_secret};
use crate::config::render::{duration, path, table};
use crate::config::units::{DAY, HOUR, MINUTE, MS, SECOND};
use crate::domain::notice::{NoticeEvent, Severity};

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyConfig {
    pub name: String,
    pub kind: NotifyKind,
    pub url: Source,
    pub events: Vec<EventFilter>,
    pub min_severity: Severity,
    pub timeout: Duration,
    /// The pauses between attempts; the last one repeats. Never empty.
    pub retry: Vec<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotifyKind {
    Slack,
    /// JSON, signed by Standard Webhooks.
    Webhook {
        /// Every secret signs; never empty.
        secrets: Vec<Source>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventFilter {
    One(NoticeEvent),
    /// `deployment.*`, kept as `deployment`.
    Group(String),
}

impl NotifyConfig {
    #[must_use]
    pub fn wants(&self, event: NoticeEvent, severity: Severity) -> bool {
        let named = |filter: &EventFilter| match filter {
            EventFilter::One(one) => *one == event,
            EventFilter::Group(group) => group_of(event) == group,
        };
        severity >= self.min_severity && (self.events.is_empty() || self.events.iter().any(named))
    }

    pub(super) fn read_all(root: &Section<'_>) -> Vec<NotifyConfig> {
        let mut names = BTreeSet::new();
        let read = |section: Section<'_>| {
            let sink = NotifyConfig::read(&section, &mut names);
            section.refuse_unknown();
            sink
        };
        root.sections("notify").into_iter().filter_map(read).collect()
    }

    fn read(section: &Section<'_>, names: &mut BTreeSet<String>) -> Option<NotifyConfig> {
        let name = section.required("name", "name = \"ops\"");
        if let Some((name, span)) = name.clone() {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if !(1..=40).contains(&name.len()) || !name.bytes().all(plain) {
                let help = "write 1 to 40 letters, digits, \"-\" or \"_\"; it names a file in the state directory";
                section.refuse("name", (name, span), "which is not a name", help);
            } else if !names.insert(name.to_owned()) {
                section.problem(span, format!("two sinks are named {}", quoted(name)), "give each a name of its own");
            }
        }
        let kind = read_kind(section);
        let url = read_address(section);
        let events = section.strings("events").unwrap_or_default();
        let events = events.into_iter().filter_map(|written| EventFilter::read(section, written)).collect();
        let min_severity = section.string("min_severity").and_then(|named| {
            section.parse("min_severity", named, "a severity", "it is \"info\", \"warn\", \"error\" or \"page\"")
        });
        let timeout = section.duration("timeout", TIMEOUT, 100 * MS..=60 * SECOND);
        let retry = read_pauses(section);
        Some(NotifyConfig {
            name: name?.0.to_owned(),
            kind: kind?,
            url: url?,
            events,
            min_severity: min_severity.unwrap_or(Severity::Info),
            timeout,
            retry,
        })
    }

    pub(super) fn write(&self) -> Value {
        let mut section = vec![
            ("name", self.name.clone().into()),
            ("events", self.events.iter().map(EventFilter::write).collect::<Vec<Value>>().into()),
            ("min_severity", self.min_severity.as_str().into()),
            ("timeout", duration(self.timeout)),
            ("retry", self.retry.iter().copied().map(duration).collect::<Vec<_>>().into()),
        ];
        section.push(match &self.url {
            Source::File(file) => ("url_file", path(file)),
            Source::Env(name) => ("url_env", name.clone().into()),
        });
        match &self.kind {
            NotifyKind::Slack => section.push(("kind", "slack".into())),
            NotifyKind::Webhook { secrets } => {
                let (mut files, mut envs): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
                for secret in secrets {
                    match secret {
                        Source::File(file) => files.push(path(file)),
                        Source::Env(name) => envs.push(name.clone().into()),
                    }
                }
                section.push(("kind", "webhook".into()));
                section.extend((!files.is_empty()).then(|| ("secret_files", files.into())));
                section.extend((!envs.is_empty()).then(|| ("secret_envs", envs.into())));
            }
        }
        table(section)
    }
}

fn group_of(event: NoticeEvent) -> &'static str {
    event.as_str().split('.').next().unwrap_or_default()
}

impl EventFilter {
    fn read(section: &Section<'_>, (name, span): Written<'_>) -> Option<EventFilter> {
        let filter = match name.strip_suffix(".*") {
            Some(group) => {
                let known = NoticeEvent::ALL.iter().any(|event| group_of(*event) == group);
                known.then(|| EventFilter::Group(group.to_owned()))
            }
            None => name.parse().ok().map(EventFilter::One),
        };
        if filter.is_none() {
            let known = NoticeEvent::ALL.map(|event| format!("\"{event}\"")).join(", ");
            let help = format!("it knows {known}, and all of a group as in \"deployment.*\"");
            section.problem(span, format!("{} is no event", quoted(name)), help);
        }
        filter
    }

    fn write(&self) -> Value {
        match self {
            EventFilter::One(event) => event.as_str().into(),
            EventFilter::Group(group) => format!("{group}.*").into(),
        }
    }
}

fn read_kind(section: &Section<'_>) -> Option<NotifyKind> {
    let (kind, span) = section.required("kind", "kind = \"slack\"")?;
    match kind {
        "slack" => {
            for key in ["secret_files", "secret_envs"] {
                if let Some(value) = section.get(key) {
                    let message = format!("`notify.{key}` is for webhooks; what Slack gets is not signed");
                    section.problem(value.span(), message, "take it out");
                }
            }
            Some(NotifyKind::Slack)
        }
        "webhook" => Some(NotifyKind::Webhook { secrets: read_secrets(section) }),
        _ => {
            section.problem(span, format!("`notify.kind` is {}", quoted(kind)), "it is \"slack\" or \"webhook\"");
            None
        }
    }
}

/// The place of the address, in a file or a variable.
fn read_address(section: &Section<'_>) -> Option<Source> {
    let (source, span) = match (section.string("url_file"), section.string("url_env")) {
        (Some((path, span)), None) => (Source::File(PathBuf::from(path)), span),
        (None, Some((name, span))) => (Source::Env(name.to_owned()), span),
        (Some(_), Some((_, span))) => {
            section.problem(span, "the sink has both a `url_file` and a `url_env`", "keep one of them");
            return None;
        }
        (None, None) => {
            if !section.has("url_file") && !section.has("url_env") {
                section.missing("url_file", "url_file = \"/run/credentials/slack-url\"` or `url_env = \"NAME\"");
            }
            return None;
        }
    };
    let wanted = Wanted {
        setting: "notify.url_file",
        what: "an address to post to",
        help: "write \"https://…\" into it, and nothing else",
        fits: |text| ReceiverUrl::parse(text).is_some(),
    };
    wanted.check(section, source, span)
}

/// The places of a webhook's signing secrets.
fn read_secrets(section: &Section<'_>) -> Vec<Source> {
    let files = section.strings("secret_files");
    let envs = section.strings("secret_envs");
    let none = files.is_none() && envs.is_none();
    if none && !section.has("secret_files") && !section.has("secret_envs") {
        section.missing("secret_files", "secret_files = [\"/run/credentials/webhook-secret\"]");
    }
    let files = files.unwrap_or_default().into_iter().map(|(path, span)| (Source::File(PathBuf::from(path)), span));
    let envs = envs.unwrap_or_default().into_iter().map(|(name, span)| (Source::Env(name.to_owned()), span));
    let all: Vec<(Source, Span)> = files.chain(envs).collect();
    if all.is_empty() && !none {
        let help = "name at least one; what is not signed can come from anybody";
        section.problem(section.span.clone(), "a webhook has no secret", help);
    }
    let wanted = Wanted {
        setting: "notify.secret_files",
        what: "a signing secret",
        help: "write `whsec_` and 24 to 64 random bytes in base64, as `echo whsec_$(head -c 32 /dev/urandom | base64)` makes them",
        fits: |text| signing_secret(text).is_some(),
    };
    all.into_iter().filter_map(|(source, span)| wanted.check(section, source, span)).collect()
}

/// The content that a [`Source`] has to have.
struct Wanted {
    setting: &'static str,
    what: &'static str,
    help: &'static str,
    fits: fn(&str) -> bool,
}

impl Wanted {
    /// Keeps a source even where its content is unusable: it is read again for each attempt.
    fn check(&self, section: &Section<'_>, source: Source, span: Span) -> Option<Source> {
        let what = self.what;
        // A secret in place of its path or variable.
        let place = match &source {
            Source::File(path) => path.to_string_lossy(),
            Source::Env(name) => name.into(),
        };
        if place.contains("://") || place.starts_with("whsec_") {
            section.hide(span.clone());
            let help = "put it into a file, and name the file here";
            section.problem(span, format!("{what} stands in the configuration itself"), help);
            return None;
        }
        let unusable = |reason: &str| UnusableFile {
            setting: self.setting.to_owned(),
            path: source.to_string(),
            reason: reason.strip_prefix(&source.to_string()).map_or(reason, str::trim_start).to_owned(),
        };
        match source.read() {
            Ok(secret) if (self.fits)(&secret.0) => {}
            Ok(_) => {
                let message = format!("what stands in {source} is not {what}");
                section.unusable(span, unusable(&format!("is not {what}")), message, self.help.to_owned());
            }
            Err(reason) => section.unusable(span, unusable(&reason), format!("{what} is missing: {reason}"), None),
        }
        Some(source)
    }
}

fn read_pauses(section: &Section<'_>) -> Vec<Duration> {
    let defaults = vec![5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, HOUR, 6 * HOUR];
    let Some(pauses) = section.strings("retry") else { return defaults };
    if !(1..=20).contains(&pauses.len()) {
        let place = section.get("retry").map_or(0..0, |value| value.span());
        section.problem(place, "`notify.retry` has 1 to 20 pauses", "write `retry = [\"5s\", \"1m\"]`");
        return defaults;
    }
    let read = |(text, span): Written<'_>| match humantime::parse_duration(text) {
        Ok(pause) if (100 * MS..=DAY).contains(&pause) => Some(pause),
        Ok(_) | Err(_) => {
            let message = format!("{} is no pause from 100ms to 1day", quoted(text));
            section.problem(span, message, "write a number and a unit, such as \"30s\"");
            None
        }
    };
    pauses.into_iter().filter_map(read).collect()
}
