//! The message of a gate check and the answer it expects: fields, body, values in JSON.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::config::file::kinds::is_field_name;
use crate::config::file::{Section, Span, quoted};
use crate::config::{CheckBody, KeptValue, Scalar};

/// The largest body of a request: more is an upload.
pub(super) const MAX_CHECK_BODY: usize = 64 << 10;
/// Fields that the proxy sets itself, or that would change the end of the message.
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
const SECRET_FIELDS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The strings of a table whose keys are field names: name in lower case, value, and both places.
fn fields(section: &Section<'_>, key: &'static str) -> Vec<(String, String, Span, Span)> {
    let Some(table) = section.section(key) else { return Vec::new() };
    let mut fields: Vec<(String, String, Span, Span)> = Vec::new();
    for (name, place, value) in table.entries() {
        let Some((text, span)) = table.as_string(name, value) else { continue };
        let lower = name.to_ascii_lowercase();
        if !is_field_name(name) {
            let message = format!("{} is no name of a field", quoted(name));
            section.problem(place, message, "write \"x-probe\"");
        } else if fields.iter().any(|(known, ..)| *known == lower) {
            let message = format!("the field {} is there twice", quoted(name));
            section.problem(place, message, "keep one of them");
        } else {
            fields.push((lower, text.to_owned(), place, span));
        }
    }
    fields
}

fn refuse_own_field(section: &Section<'_>, name: &str, place: &Span) -> bool {
    let own = OWN_FIELDS.contains(&name);
    if own {
        let help = if name == "host" { "use `host`" } else { "leave it out" };
        section.problem(place.clone(), format!("the field {} is set by the proxy", quoted(name)), help);
    }
    own
}

pub(super) fn read_headers(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value, place, span) in fields(section, "headers") {
        if refuse_own_field(section, &name, &place) {
            continue;
        }
        if SECRET_FIELDS.contains(&name.as_str()) {
            section.hide(span);
            let message = format!("the value of {} is a secret, and this file is no place for it", quoted(&name));
            let help = format!("put it into a file, and name that under `header_files`: {{ {name} = \"/run/…\" }}");
            section.problem(place, message, help);
        } else if is_field_value(&value) {
            headers.insert(name, value);
        } else {
            let message = format!("{} is no value of a field", quoted(&value));
            section.problem(span, message, "keep it on one line, without control characters");
        }
    }
    headers
}

pub(super) fn read_header_files(
    section: &Section<'_>,
    headers: &BTreeMap<String, String>,
) -> BTreeMap<String, KeptValue> {
    let mut files = BTreeMap::new();
    for (name, path, place, span) in fields(section, "header_files") {
        if refuse_own_field(section, &name, &place) {
            continue;
        }
        if headers.contains_key(&name) {
            let message = format!("the field {} is under `headers` already", quoted(&name));
            section.problem(place, message, "keep one of them");
            continue;
        }
        let value = section.secret_in("gate.check.header_files", (&path, span.clone()));
        if value.as_ref().is_some_and(|value| !is_field_value(&value.0)) {
            let message = format!("the content of {} is no value of a field", quoted(&path));
            section.problem(span, message, "keep it on one line, without control characters");
        }
        files.insert(name, KeptValue { file: path.into(), value });
    }
    files
}

pub(super) fn read_body(section: &Section<'_>) -> Option<CheckBody> {
    let written = section.string("body");
    let kept = section.string("body_file");
    let too_large = |length: usize, span: &Span| {
        if length > MAX_CHECK_BODY {
            let message = format!("the body of a check has {length} bytes; it takes 64 KiB");
            section.problem(span.clone(), message, "send a smaller one");
        }
    };
    match (written, kept) {
        (Some(_), Some((_, span))) => {
            let message = "`gate.check.body` and `gate.check.body_file` are both there";
            section.problem(span, message, "keep one of them");
            None
        }
        (Some((text, span)), None) => {
            too_large(text.len(), &span);
            Some(CheckBody::Text(text.to_owned()))
        }
        (None, Some((path, span))) => {
            let value = section.secret_in("gate.check.body_file", (path, span.clone()));
            too_large(value.as_ref().map_or(0, |value| value.0.len()), &span);
            Some(CheckBody::File(KeptValue { file: path.into(), value }))
        }
        (None, None) => None,
    }
}

pub(super) fn read_expected_headers(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value, _, span) in fields(section, "expect_headers") {
        if value.is_empty() || is_field_value(&value) {
            headers.insert(name, value);
        } else {
            let message = format!("no value of a field contains {}", quoted(&value));
            section.problem(span, message, "keep it on one line, without control characters");
        }
    }
    headers
}

pub(super) fn read_expected_json(section: &Section<'_>) -> BTreeMap<String, Scalar> {
    let mut expected = BTreeMap::new();
    let Some(table) = section.section("expect_json") else { return expected };
    for (pointer, place, value) in table.entries() {
        if !pointer.is_empty() && !pointer.starts_with('/') {
            let message = format!("{} is not a JSON pointer", quoted(pointer));
            section.problem(place, message, "begin it with \"/\", or \"\" for the whole body");
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

fn is_field_value(value: &str) -> bool {
    !value.is_empty() && http::HeaderValue::from_str(value).is_ok()
}
