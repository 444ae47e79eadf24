//! `[[gate.check]]`: a request whose answer proves that a release works.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use crate::config::Secret;
use crate::config::file::{Section, Span, quoted};
use crate::config::render::{duration, integer, path, statuses, table};
use crate::config::section::color::Pools;
use crate::config::units::{HOUR, MS, SECOND};

const MOST_CHECKS: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateCheck {
    /// The unique name in refusals, history and status.
    pub name: String,
    pub upstream: String,
    pub method: String,
    pub path: String,
    /// The `Host`; `None`: that of health checks.
    pub host: Option<String>,
    /// Request fields; names in lower case.
    pub headers: BTreeMap<String, String>,
    pub header_files: BTreeMap<String, KeptValue>,
    pub body: Option<CheckBody>,
    /// The status codes that pass, inclusive.
    pub expect: (u16, u16),
    /// By response field in lower case: a text that one of its values contains.
    pub expect_headers: BTreeMap<String, String>,
    pub expect_body: Option<String>,
    pub expect_json: BTreeMap<String, Scalar>,
    pub timeout: Duration,
    pub times: u32,
    pub on_rollback: bool,
}

/// A value in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptValue {
    pub file: PathBuf,
    /// The content; `None`: it can't be read, so the check fails.
    pub value: Option<Secret>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckBody {
    Text(String),
    File(KeptValue),
}

/// A value in a JSON document that is neither a list nor an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text(String),
    Whole(i64),
    Boolean(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Scalar::Whole(number) => number.fmt(f),
            Scalar::Boolean(value) => value.fmt(f),
        }
    }
}

impl GateCheck {
    pub fn kept(&self) -> impl Iterator<Item = &KeptValue> {
        let body = match &self.body {
            Some(CheckBody::File(kept)) => Some(kept),
            Some(CheckBody::Text(_)) | None => None,
        };
        self.header_files.values().chain(body)
    }

    /// The check with its files read again; an unusable file keeps its last value. Blocks on the disk.
    #[must_use]
    pub fn read_again(&self) -> GateCheck {
        let mut check = self.clone();
        let body = match &mut check.body {
            Some(CheckBody::File(kept)) => Some(kept),
            Some(CheckBody::Text(_)) | None => None,
        };
        for kept in check.header_files.values_mut().chain(body) {
            let text = crate::config::read(&kept.file).ok().map(|text| text.trim().to_owned());
            if let Some(text) = text.filter(|text| (1..=message::MAX_CHECK_BODY).contains(&text.len())) {
                kept.value = Some(Secret(text));
            }
        }
        // A reload would report such a value as an error.
        for (name, kept) in &mut check.header_files {
            if kept.value.as_ref().is_some_and(|value| value.0.bytes().any(|byte| byte.is_ascii_control())) {
                kept.value = self.header_files.get(name).and_then(|kept| kept.value.clone());
            }
        }
        check
    }

    /// The check, and the place where its upstream is named.
    fn read(section: &Section<'_>) -> Option<(GateCheck, Span)> {
        let path = section.required("path", "path = \"/login\"");
        let path = path.and_then(|written| section.request_path("path", written));
        let method = read_method(section);
        let name = section.string("name");
        if let Some(written) = name.clone() {
            section.label("`gate.check.name`", written);
        }
        let headers = message::read_headers(section);
        let header_files = message::read_header_files(section, &headers);
        let expect_body = section.string("expect_body");
        if let Some(("", span)) = expect_body.clone() {
            let message = "`gate.check.expect_body` is empty, which every body contains";
            section.problem(span, message, "name a text, or leave it out");
        }
        if method == "HEAD"
            && let Some(value) = section.get("expect_json").or_else(|| section.get("expect_body"))
        {
            section.problem(value.span(), "the response to HEAD has no body", "ask with GET, or leave it out");
        }
        let upstream = section.string("upstream");
        let place = upstream.as_ref().map_or(section.span.clone(), |(_, span)| span.clone());
        let check = GateCheck {
            name: name
                .map_or_else(|| format!("{method} {}", path.as_deref().unwrap_or_default()), |name| name.0.into()),
            upstream: upstream.map_or("default", |(name, _)| name).to_owned(),
            path: path.unwrap_or_default(),
            host: section.host("host"),
            headers,
            header_files,
            body: message::read_body(section),
            expect: section.statuses("expect", (200, 299)),
            expect_headers: message::read_expected_headers(section),
            expect_body: expect_body.map(|(text, _)| text.to_owned()),
            expect_json: message::read_expected_json(section),
            timeout: section.duration("timeout", 2 * SECOND, 10 * MS..=HOUR),
            times: section.integer("times", 1, 1..=10_000),
            on_rollback: section.boolean("on_rollback", false),
            method,
        };
        section.refuse_unknown();
        (!check.path.is_empty()).then_some((check, place))
    }

    pub(super) fn write(&self) -> Value {
        let mut section = vec![
            ("name", self.name.clone().into()),
            ("upstream", self.upstream.clone().into()),
            ("method", self.method.clone().into()),
            ("path", self.path.clone().into()),
            ("expect", statuses(self.expect)),
            ("timeout", duration(self.timeout)),
            ("times", integer(self.times)),
            ("on_rollback", self.on_rollback.into()),
        ];
        section.extend(self.host.clone().map(|host| ("host", host.into())));
        section.extend(named("headers", self.headers.iter().map(|(name, value)| (name, value.clone().into()))));
        section.extend(named("header_files", self.header_files.iter().map(|(name, kept)| (name, path(&kept.file)))));
        section.extend(self.body.as_ref().map(|body| match body {
            CheckBody::Text(text) => ("body", text.clone().into()),
            CheckBody::File(kept) => ("body_file", path(&kept.file)),
        }));
        let expected = self.expect_headers.iter().map(|(name, value)| (name, value.clone().into()));
        section.extend(named("expect_headers", expected));
        section.extend(self.expect_body.clone().map(|text| ("expect_body", text.into())));
        let expected = self.expect_json.iter().map(|(pointer, value)| {
            let value = match value {
                Scalar::Text(text) => text.clone().into(),
                Scalar::Whole(number) => Value::Integer(*number),
                Scalar::Boolean(value) => (*value).into(),
            };
            (pointer, value)
        });
        section.extend(named("expect_json", expected));
        table(section)
    }
}

/// A table whose keys the user chose; left out where it would be empty.
fn named<'a>(key: &'static str, entries: impl Iterator<Item = (&'a String, Value)>) -> Option<(&'static str, Value)> {
    let entries: Table = entries.map(|(name, value)| (name.clone(), value)).collect();
    (!entries.is_empty()).then_some((key, Value::Table(entries)))
}

pub(super) fn read_checks(gate: &Section<'_>) -> Vec<(GateCheck, Span)> {
    let sections = gate.sections("check");
    if let Some(one_more) = sections.get(MOST_CHECKS) {
        let message = format!("there are {} entries of `gate.check`; it takes {MOST_CHECKS}", sections.len());
        gate.problem(one_more.span.clone(), message, "leave some out");
    }
    let mut names = BTreeSet::new();
    let mut checks = Vec::new();
    for section in sections {
        let Some((check, place)) = GateCheck::read(&section) else { continue };
        if !names.insert(check.name.clone()) {
            let message = format!("there is another check with the name {}", quoted(&check.name));
            let span = section.string("name").map_or(section.span.clone(), |(_, span)| span);
            section.problem(span, message, "give each a `name` of its own");
        }
        checks.push((check, place));
    }
    checks
}

fn read_method(section: &Section<'_>) -> String {
    let Some((method, span)) = section.string("method") else { return "GET".to_owned() };
    let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !is_token || method == "CONNECT" {
        section.refuse("method", (method, span), "which no check asks with", "write \"GET\" or \"POST\"");
        return "GET".to_owned();
    }
    method.to_owned()
}

/// Refuses checks of an upstream without endpoints.
pub(in crate::config::section) fn refuse_unknown_upstreams(
    root: &Section<'_>,
    checks: &[(GateCheck, Span)],
    colors: [&Option<Pools>; 2],
) {
    let [Some(blue), Some(green)] = colors else { return };
    let known = |name: &str| blue.config.pools.contains_key(name) || green.config.pools.contains_key(name);
    for (check, span) in checks.iter().filter(|(check, _)| !known(&check.upstream)) {
        let message = format!("no color has endpoints for the upstream {}", quoted(&check.upstream));
        root.problem(span.clone(), message, "name an upstream of the colors as `upstream` of the check");
    }
}
