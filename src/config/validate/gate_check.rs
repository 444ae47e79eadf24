//! The requests of the gate: what is asked, and what has to come.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use crate::config::file::{Section, Span, quoted};
use crate::config::gate_check::MAX_CHECK_BODY;
use crate::config::validate::routing::Pools;
use crate::config::validate::{File, HOUR, MS, SECOND};
use crate::config::{CheckBody, GateCheck, KeptValue, Scalar};

/// More are no gate, but a test suite.
const MOST_CHECKS: usize = 50;
/// Fields that the proxy sets itself, or that would change where the message ends.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Fields whose values are secrets.
const SECRET_FIELDS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// A check, and where its upstream is named, or the check itself.
pub(super) type Placed = (GateCheck, Span);

impl File<'_> {
    pub(super) fn gate_checks(&self, gate: &Section<'_>) -> Vec<Placed> {
        let sections = gate.sections("check");
        if let Some(one_more) = sections.get(MOST_CHECKS) {
            let message = format!("there are {} entries of `gate.check`; it takes {MOST_CHECKS}", sections.len());
            self.notes.problem(one_more.span.clone(), message, "leave some out".to_owned());
        }
        let mut names = BTreeSet::new();
        let mut checks = Vec::new();
        for section in sections {
            let Some((check, place)) = self.gate_check(&section) else { continue };
            if !names.insert(check.name.clone()) {
                let message = format!("there is another check with the name {}", quoted(&check.name));
                let span = section.string("name").map_or(section.span.clone(), |(_, span)| span);
                self.notes.problem(span, message, "give each a `name` of its own".to_owned());
            }
            checks.push((check, place));
        }
        checks
    }

    fn gate_check(&self, section: &Section<'_>) -> Option<Placed> {
        let path = section.required("path", "path = \"/login\"");
        let path = path.and_then(|(path, span)| self.request_path("gate.check.path", path, span));
        let method = self.check_method(section);
        let name = section.string("name");
        if let Some((name, span)) = name.clone() {
            self.label("`gate.check.name`", name, span);
        }
        let host = section.string("host").and_then(|(host, span)| {
            let valid = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
            if !valid {
                let message = format!("`gate.check.host` is {}, which is not a host", quoted(host));
                self.notes.problem(span, message, "write \"app.example.com\"".to_owned());
            }
            valid.then(|| host.to_owned())
        });
        let expect = section.string("expect").and_then(|(text, span)| self.statuses("gate.check.expect", text, span));
        let headers = self.check_headers(section);
        let header_files = self.check_header_files(section, &headers);
        let expect_body = section.string("expect_body").map(|(text, span)| (text.to_owned(), span));
        if let Some((text, span)) = &expect_body
            && text.is_empty()
        {
            let message = "`gate.check.expect_body` is empty, which every body contains";
            self.notes.problem(span.clone(), message, "name a text, or leave it out".to_owned());
        }
        let expect_json = self.expected_json(section);
        let reads_body = section.get("expect_json").or_else(|| section.get("expect_body"));
        if method == "HEAD"
            && let Some(value) = reads_body
        {
            let message = "the response to HEAD has no body";
            self.notes.problem(value.span(), message, "ask with GET, or leave it out".to_owned());
        }
        let upstream = section.string("upstream");
        let place = upstream.as_ref().map_or(section.span.clone(), |(_, span)| span.clone());
        let check = GateCheck {
            name: name
                .map_or_else(|| format!("{method} {}", path.as_deref().unwrap_or_default()), |name| name.0.into()),
            upstream: upstream.map_or("default", |(name, _)| name).to_owned(),
            path: path.unwrap_or_default(),
            host,
            headers,
            header_files,
            body: self.check_body(section),
            expect: expect.unwrap_or((200, 299)),
            expect_headers: self.expected_headers(section),
            expect_body: expect_body.map(|(text, _)| text),
            expect_json,
            timeout: section.duration("timeout", 2 * SECOND, 10 * MS..=HOUR),
            times: u32::try_from(section.integer("times", 1, 1..=10_000)).unwrap_or(1),
            on_rollback: section.boolean("on_rollback", false),
            method,
        };
        section.refuse_unknown();
        (!check.path.is_empty()).then_some((check, place))
    }

    fn check_method(&self, section: &Section<'_>) -> String {
        let Some((method, span)) = section.string("method") else { return "GET".to_owned() };
        let is_token = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if !is_token || method == "CONNECT" {
            let message = format!("`gate.check.method` is {}, which no check asks with", quoted(method));
            self.notes.problem(span, message, "write \"GET\" or \"POST\"".to_owned());
            return "GET".to_owned();
        }
        method.to_owned()
    }

    /// The strings of a table whose keys are names of fields.
    fn fields(&self, section: &Section<'_>, key: &'static str) -> Vec<(String, String, Span, Span)> {
        let Some(table) = section.section(key) else { return Vec::new() };
        let mut fields: Vec<(String, String, Span, Span)> = Vec::new();
        for (name, place, value) in table.entries() {
            let Some((text, span)) = table.as_string(name, value) else { continue };
            let lower = name.to_ascii_lowercase();
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                let message = format!("{} is no name of a field", quoted(name));
                self.notes.problem(place, message, "write \"x-probe\"".to_owned());
            } else if fields.iter().any(|(known, ..)| *known == lower) {
                let message = format!("the field {} is there twice", quoted(name));
                self.notes.problem(place, message, "keep one of them".to_owned());
            } else {
                fields.push((lower, text.to_owned(), place, span));
            }
        }
        fields
    }

    fn is_own_field(&self, name: &str, place: &Span) -> bool {
        let own = OWN_FIELDS.contains(&name);
        if own {
            let help = if name == "host" { "use `host`" } else { "leave it out" };
            let message = format!("the field {} is set by the proxy", quoted(name));
            self.notes.problem(place.clone(), message, help.to_owned());
        }
        own
    }

    fn check_headers(&self, section: &Section<'_>) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value, place, span) in self.fields(section, "headers") {
            if self.is_own_field(&name, &place) {
                continue;
            }
            if SECRET_FIELDS.contains(&name.as_str()) {
                self.notes.hide(span);
                let message = format!("the value of {} is a secret, and this file is no place for it", quoted(&name));
                let help = format!("put it into a file, and name that under `header_files`: {{ {name} = \"/run/…\" }}");
                self.notes.problem(place, message, help);
            } else if is_field_value(&value) {
                headers.insert(name, value);
            } else {
                let message = format!("{} is no value of a field", quoted(&value));
                self.notes.problem(span, message, "keep it on one line, without control characters".to_owned());
            }
        }
        headers
    }

    fn check_header_files(
        &self,
        section: &Section<'_>,
        headers: &BTreeMap<String, String>,
    ) -> BTreeMap<String, KeptValue> {
        let mut files = BTreeMap::new();
        for (name, path, place, span) in self.fields(section, "header_files") {
            if self.is_own_field(&name, &place) {
                continue;
            }
            if headers.contains_key(&name) {
                let message = format!("the field {} is under `headers` already", quoted(&name));
                self.notes.problem(place, message, "keep one of them".to_owned());
                continue;
            }
            let value = self.secret_in("gate.check.header_files", &path, span.clone());
            if value.as_ref().is_some_and(|value| !is_field_value(&value.0)) {
                let message = format!("the content of {} is no value of a field", quoted(&path));
                self.notes.problem(span, message, "keep it on one line, without control characters".to_owned());
            }
            files.insert(name, KeptValue { file: path.into(), value });
        }
        files
    }

    fn check_body(&self, section: &Section<'_>) -> Option<CheckBody> {
        let written = section.string("body");
        let kept = section.string("body_file");
        let too_large = |length: usize, span: &Span| {
            if length > MAX_CHECK_BODY {
                let message = format!("the body of a check has {length} bytes; it takes 64 KiB");
                self.notes.problem(span.clone(), message, "send a smaller one".to_owned());
            }
        };
        match (written, kept) {
            (Some(_), Some((_, span))) => {
                let message = "`gate.check.body` and `gate.check.body_file` are both there";
                self.notes.problem(span, message, "keep one of them".to_owned());
                None
            }
            (Some((text, span)), None) => {
                too_large(text.len(), &span);
                Some(CheckBody::Text(text.to_owned()))
            }
            (None, Some((path, span))) => {
                let value = self.secret_in("gate.check.body_file", path, span.clone());
                too_large(value.as_ref().map_or(0, |value| value.0.len()), &span);
                Some(CheckBody::File(KeptValue { file: path.into(), value }))
            }
            (None, None) => None,
        }
    }

    fn expected_headers(&self, section: &Section<'_>) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value, _, span) in self.fields(section, "expect_headers") {
            if value.is_empty() || is_field_value(&value) {
                headers.insert(name, value);
            } else {
                let message = format!("no value of a field contains {}", quoted(&value));
                self.notes.problem(span, message, "keep it on one line, without control characters".to_owned());
            }
        }
        headers
    }

    fn expected_json(&self, section: &Section<'_>) -> BTreeMap<String, Scalar> {
        let mut expected = BTreeMap::new();
        let Some(table) = section.section("expect_json") else { return expected };
        for (pointer, place, value) in table.entries() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let message = format!("{} is not a JSON pointer", quoted(pointer));
                self.notes.problem(place, message, "begin it with \"/\", or \"\" for the whole body".to_owned());
                continue;
            }
            let scalar = match value.get_ref() {
                DeValue::String(text) => Some(Scalar::Text(text.as_ref().to_owned())),
                DeValue::Boolean(value) => Some(Scalar::Boolean(*value)),
                DeValue::Integer(number) => {
                    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok().map(Scalar::Whole)
                }
                _ => None,
            };
            match scalar {
                Some(scalar) => drop(expected.insert(pointer.to_owned(), scalar)),
                None => {
                    table.mistyped(value, pointer, "a string, a whole number, true or false", value.get_ref());
                }
            }
        }
        expected
    }

    /// That the endpoints of each check exist.
    pub(super) fn check_check_upstreams(&self, checks: &[Placed], colors: [&Option<Pools>; 2]) {
        let [Some(blue), Some(green)] = colors else { return };
        let known = |name: &str| blue.config.pools.contains_key(name) || green.config.pools.contains_key(name);
        for (check, span) in checks.iter().filter(|(check, _)| !known(&check.upstream)) {
            let message = format!("no color has endpoints for the upstream {}", quoted(&check.upstream));
            let help = "name an upstream of the colors as `upstream` of the check".to_owned();
            self.notes.problem(span.clone(), message, help);
        }
    }
}

fn is_field_value(value: &str) -> bool {
    !value.is_empty() && http::HeaderValue::from_str(value).is_ok()
}
