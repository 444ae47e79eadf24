//! Whom to tell, and how the service is called in what is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::UnusableFile;
use crate::config::file::{Section, Span, quoted};
use crate::config::receiver::{ReceiverUrl, Source, signing_secret};
use crate::config::validate::{DAY, File, MS, SECOND};
use crate::config::{EventFilter, NotifyConfig, NotifyKind, ServiceConfig};
use crate::domain::notice::{Event, Severity};

/// Buttons that a message has room for.
const LINKS: usize = 5;
/// What is filled into them.
const PLACES: [&str; 5] = ["{from}", "{to}", "{color}", "{event}", "{event_id}"];
/// When a notice is tried again.
const RETRY: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3_600),
    Duration::from_secs(21_600),
];

impl File<'_> {
    pub(super) fn service(&self) -> ServiceConfig {
        let section = self.root.section("service");
        let section = section.as_ref();
        let label = |key| {
            let (text, span) = section?.string(key)?;
            self.label(&format!("`service.{key}`"), text, span);
            Some(text.to_owned())
        };
        let service = ServiceConfig {
            name: label("name"),
            environment: label("environment"),
            instance: label("instance").unwrap_or_else(host_name),
            links: section
                .and_then(|section| section.section("links"))
                .map(|links| self.links(&links))
                .unwrap_or_default(),
        };
        if let Some(section) = section {
            section.refuse_unknown();
        }
        service
    }

    fn links(&self, section: &Section<'_>) -> BTreeMap<String, String> {
        let mut links = BTreeMap::new();
        for (label, span, value) in section.entries() {
            self.label("the label of a link", label, span.clone());
            let Some((url, url_span)) = section.as_string(label, value) else { continue };
            let plain = PLACES.iter().fold(url.to_owned(), |url, place| url.replace(place, "x"));
            if plain.contains(['{', '}']) || ReceiverUrl::parse(&plain).is_none() {
                let message =
                    format!("`{}` is {}, which is not the address of a page", section.path(label), quoted(url));
                let help = "write \"https://…\"; {from}, {to}, {color}, {event} and {event_id} are filled in";
                self.notes.problem(url_span, message, help.to_owned());
            }
            links.insert(label.to_owned(), url.to_owned());
        }
        if links.len() > LINKS {
            let message = format!("[service.links] has {} links; a message has room for {LINKS}", links.len());
            self.notes.problem(section.span.clone(), message, None);
        }
        links
    }

    pub(super) fn notify(&self) -> Vec<NotifyConfig> {
        let mut names = BTreeSet::new();
        let mut sinks = Vec::new();
        for section in self.root.sections("notify") {
            let name = section.required("name", "name = \"ops\"");
            if let Some((name, span)) = name.clone() {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                if !(1..=40).contains(&name.len()) || !name.bytes().all(plain) {
                    let message = format!("`notify.name` is {}, which is not a name", quoted(name));
                    let help = "write 1 to 40 letters, digits, \"-\" or \"_\"; it names a file in the state directory";
                    self.notes.problem(span, message, help.to_owned());
                } else if !names.insert(name) {
                    let message = format!("two sinks are named {}", quoted(name));
                    self.notes.problem(span, message, "give each a name of its own".to_owned());
                }
            }
            let kind = section.required("kind", "kind = \"slack\"").and_then(|(kind, span)| match kind {
                "slack" => Some(NotifyKind::Slack),
                "webhook" => Some(NotifyKind::Webhook { secrets: self.signing_secrets(&section) }),
                _ => {
                    let message = format!("`notify.kind` is {}", quoted(kind));
                    self.notes.problem(span, message, "it is \"slack\" or \"webhook\"".to_owned());
                    None
                }
            });
            if matches!(kind, Some(NotifyKind::Slack)) {
                for key in ["secret_files", "secret_envs"] {
                    if let Some(value) = section.get(key) {
                        let message = format!("`notify.{key}` is for webhooks; what Slack gets is not signed");
                        self.notes.problem(value.span(), message, "take it out".to_owned());
                    }
                }
            }
            let url = self.receiver(&section);
            let events = section.strings("events").unwrap_or_default();
            let events = events.into_iter().filter_map(|(name, span)| self.event_filter(name, span)).collect();
            let severity = section.string("min_severity");
            let min_severity = severity.and_then(|named| {
                section.parse("min_severity", named, "a severity", "it is \"info\", \"warn\", \"error\" or \"page\"")
            });
            let timeout = section.duration("timeout", 10 * SECOND, 100 * MS..=60 * SECOND);
            let retry = self.plan(&section);
            section.refuse_unknown();
            if let (Some((name, _)), Some(kind), Some(url)) = (name, kind, url) {
                let min_severity = min_severity.unwrap_or(Severity::Info);
                sinks.push(NotifyConfig { name: name.to_owned(), kind, url, events, min_severity, timeout, retry });
            }
        }
        sinks
    }

    /// The address, from a file or a variable, looked at now.
    fn receiver(&self, section: &Section<'_>) -> Option<Source> {
        let (source, span) = match (section.string("url_file"), section.string("url_env")) {
            (Some((path, span)), None) => (Source::File(PathBuf::from(path)), span),
            (None, Some((name, span))) => (Source::Env(name.to_owned()), span),
            (Some(_), Some((_, span))) => {
                self.notes.problem(
                    span,
                    "the sink has both a `url_file` and a `url_env`",
                    "keep one of them".to_owned(),
                );
                return None;
            }
            (None, None) => {
                if section.get("url_file").is_none() && section.get("url_env").is_none() {
                    section.missing("url_file", "url_file = \"/run/credentials/slack-url\"` or `url_env = \"NAME\"");
                }
                return None;
            }
        };
        self.usable(
            "notify.url_file",
            &source,
            span,
            "an address to post to",
            "write \"https://…\" into it, and nothing else",
            |text| ReceiverUrl::parse(text).is_some(),
        )
    }

    /// The secrets of a webhook: all of them sign.
    fn signing_secrets(&self, section: &Section<'_>) -> Vec<Source> {
        let files = section.strings("secret_files");
        let envs = section.strings("secret_envs");
        let none = files.is_none() && envs.is_none();
        if none && section.get("secret_files").is_none() && section.get("secret_envs").is_none() {
            section.missing("secret_files", "secret_files = [\"/run/credentials/webhook-secret\"]");
        }
        let files = files.unwrap_or_default().into_iter().map(|(path, span)| (Source::File(PathBuf::from(path)), span));
        let envs = envs.unwrap_or_default().into_iter().map(|(name, span)| (Source::Env(name.to_owned()), span));
        let all: Vec<(Source, Span)> = files.chain(envs).collect();
        if all.is_empty() && !none {
            let help = "name at least one; what is not signed can come from anybody".to_owned();
            self.notes.problem(section.span.clone(), "a webhook has no secret", help);
        }
        let help = "write `whsec_` and 24 to 64 random bytes in base64, as `echo whsec_$(head -c 32 /dev/urandom | base64)` makes them";
        let usable = |(source, span)| {
            self.usable("notify.secret_files", &source, span, "a signing secret", help, |text| {
                signing_secret(text).is_some()
            })
        };
        all.into_iter().filter_map(usable).collect()
    }

    /// The place, whether or not something usable stands there now: it is read again for each attempt.
    fn usable(
        &self,
        setting: &str,
        source: &Source,
        span: Span,
        what: &str,
        help: &str,
        is: impl Fn(&str) -> bool,
    ) -> Option<Source> {
        // Somebody has put the secret where its place belongs.
        let itself = match source {
            Source::File(path) => {
                path.to_string_lossy().contains("://") || path.to_string_lossy().starts_with("whsec_")
            }
            Source::Env(name) => name.contains("://") || name.starts_with("whsec_"),
        };
        if itself {
            self.notes.hide(span.clone());
            let help = "put it into a file, and name the file here".to_owned();
            self.notes.problem(span, format!("{what} stands in the configuration itself"), help);
            return None;
        }
        let unusable = |reason: String| UnusableFile {
            setting: setting.to_owned(),
            path: source.to_string(),
            reason: reason
                .strip_prefix(&source.to_string())
                .map(|reason| reason.trim_start().to_owned())
                .unwrap_or(reason),
        };
        match source.read() {
            Ok(secret) if is(&secret.0) => {}
            Ok(_) => {
                let message = format!("what stands in {source} is not {what}");
                self.notes.unusable(span, unusable(format!("is not {what}")), message, help.to_owned());
            }
            Err(reason) => {
                let message = format!("{what} is missing: {reason}");
                self.notes.unusable(span, unusable(reason), message, None);
            }
        }
        Some(source.clone())
    }

    fn event_filter(&self, name: &str, span: Span) -> Option<EventFilter> {
        let filter = match name.strip_suffix(".*") {
            Some(group) => {
                let known = Event::ALL.iter().any(|event| event.as_str().split('.').next() == Some(group));
                known.then(|| EventFilter::Group(group.to_owned()))
            }
            None => name.parse().ok().map(EventFilter::One),
        };
        if filter.is_none() {
            let known = Event::ALL.map(|event| format!("\"{event}\"")).join(", ");
            let help = format!("it knows {known}, and all of a group as in \"deployment.*\"");
            self.notes.problem(span, format!("{} is no event", quoted(name)), help);
        }
        filter
    }

    fn plan(&self, section: &Section<'_>) -> Vec<Duration> {
        let Some(steps) = section.strings("retry") else { return RETRY.to_vec() };
        let value = section.get("retry").map_or(0..0, |value| value.span());
        if !(1..=20).contains(&steps.len()) {
            self.notes.problem(
                value,
                "`notify.retry` has 1 to 20 pauses",
                "write `retry = [\"5s\", \"1m\"]`".to_owned(),
            );
            return RETRY.to_vec();
        }
        let read = |(text, span): (&str, Span)| match humantime::parse_duration(text) {
            Ok(pause) if (100 * MS..=DAY).contains(&pause) => Some(pause),
            Ok(_) | Err(_) => {
                let message = format!("{} is no pause from 100ms to 1day", quoted(text));
                self.notes.problem(span, message, "write a number and a unit, such as \"30s\"".to_owned());
                None
            }
        };
        steps.into_iter().filter_map(read).collect()
    }
}

/// How this machine is called.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "cutover".to_owned() } else { name }
}
