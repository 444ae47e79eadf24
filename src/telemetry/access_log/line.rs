//! The format of a line. Written by hand, since each request has one: no map, no allocation.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::telemetry::access_log::{Entry, Field};

/// Most bytes of a value that a client sends.
const LONGEST: usize = 2 << 10;

/// RFC 3339 in UTC with milliseconds. The part up to the second is made once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: [u8; 24],
}

impl Clock {
    pub(super) fn now(&mut self) -> &[u8; 24] {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.text[0] == 0 {
            self.second = since.as_secs();
            let text = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs(self.second)).to_string();
            if let Ok(text) = text.as_bytes().try_into() {
                self.text = text;
            }
        }
        let millis = since.subsec_millis();
        for (digit, scale) in self.text[20..23].iter_mut().zip([100, 10, 1]) {
            *digit = b'0' + u8::try_from(millis / scale % 10).unwrap_or(0);
        }
        &self.text
    }
}

pub(super) fn json(out: &mut Vec<u8>, now: &[u8; 24], entry: &Entry<'_>, fields: &[Field], redact_query: bool) {
    out.extend_from_slice(b"{\"ts\":\"");
    out.extend_from_slice(now);
    out.push(b'"');
    string(out, "request_id", entry.request_id);
    if let Some(trace_id) = entry.trace_id {
        string(out, "trace_id", trace_id);
    }
    string(out, "client", entry.client.as_bytes());
    out.extend_from_slice(b",\"peer\":\"");
    let _ = write!(out, "{}", entry.peer);
    out.push(b'"');
    string(out, "method", entry.method.as_bytes());
    string(out, "host", entry.host);
    string(out, "path", path(entry, redact_query).as_bytes());
    string(out, "protocol", entry.protocol.as_bytes());
    number(out, "status", entry.status.into());
    if !entry.color.is_empty() {
        string(out, "color", entry.color.as_bytes());
        string(out, "release", entry.release.as_bytes());
        string(out, "upstream", entry.upstream.as_bytes());
        string(out, "endpoint", entry.endpoint.as_bytes());
        number(out, "generation", entry.generation);
    }
    if entry.preview {
        out.extend_from_slice(b",\"preview\":true");
    }
    if entry.shielded {
        out.extend_from_slice(b",\"shielded\":true");
    }
    if entry.lingered {
        out.extend_from_slice(b",\"lingered\":true");
    }
    millis(out, "duration_ms", Some(entry.duration));
    millis(out, "ttfb_ms", entry.ttfb);
    millis(out, "upstream_ms", entry.upstream_time);
    number(out, "bytes_in", entry.bytes_in);
    number(out, "bytes_out", entry.bytes_out);
    number(out, "retries", entry.retries.into());
    if let Some(status) = entry.grpc_status {
        number(out, "grpc_status", status.into());
    }
    if let Some(reason) = entry.refused {
        string(out, "refused", reason.as_bytes());
    }
    if let Some(error) = entry.error {
        string(out, "error", error.as_bytes());
    }
    if let Some(blame) = entry.blame {
        string(out, "blame", blame.as_bytes());
    }
    for field in fields {
        if let Some(value) = (entry.header.0)(field.header.as_bytes()) {
            let redacted = redact_query && field.header == "referer";
            string(out, &field.key, if redacted { without_query(value) } else { value });
        }
    }
    truncated(out, entry, fields, redact_query);
    out.extend_from_slice(b"}\n");
}

pub(super) fn terminal(out: &mut Vec<u8>, now: &[u8; 24], entry: &Entry<'_>, fields: &[Field], redact_query: bool) {
    out.extend_from_slice(now);
    let _ = write!(out, " {} {} {} ", entry.client, entry.status, entry.method);
    for value in [entry.host, path(entry, redact_query).as_bytes()] {
        escape(out, cut(value));
        if value.len() > LONGEST {
            out.extend_from_slice("…".as_bytes());
        }
    }
    let millis = entry.duration.as_secs_f64() * 1e3;
    let _ = write!(out, " {} {} {} {millis:.3}ms ", entry.color, entry.release, entry.endpoint);
    escape(out, cut(entry.request_id));
    if entry.preview {
        out.extend_from_slice(b" preview");
    }
    if entry.shielded {
        out.extend_from_slice(b" shielded");
    }
    if entry.lingered {
        out.extend_from_slice(b" lingered");
    }
    for reason in [entry.refused, entry.error].into_iter().flatten() {
        let _ = write!(out, " {reason}");
    }
    if let Some(blame) = entry.blame {
        let _ = write!(out, " blame={blame}");
    }
    for field in fields {
        if let Some(value) = (entry.header.0)(field.header.as_bytes()) {
            let _ = write!(out, " {}=\"", field.key);
            escape(out, cut(value));
            out.push(b'"');
        }
    }
    out.push(b'\n');
}

pub(super) fn path<'a>(entry: &Entry<'a>, redact_query: bool) -> &'a str {
    match entry.path.split_once('?') {
        Some((path, _)) if redact_query => path,
        _ => entry.path,
    }
}

fn key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    escape(out, cut(value));
    out.push(b'"');
}

pub(super) fn without_query(value: &[u8]) -> &[u8] {
    memchr::memchr(b'?', value).map_or(value, |end| &value[..end])
}

/// Splits no character.
pub(super) fn cut(value: &[u8]) -> &[u8] {
    let Some(beginning) = value.get(..LONGEST).filter(|_| value.len() > LONGEST) else { return value };
    let half = beginning.utf8_chunks().last().map_or(0, |last| last.invalid().len());
    // Four or more bytes are no half character: the value is not text.
    &beginning[..LONGEST - if half < 4 { half } else { 0 }]
}

fn truncated(out: &mut Vec<u8>, entry: &Entry<'_>, fields: &[Field], redact_query: bool) {
    let long = [
        ("request_id", entry.request_id.len()),
        ("client", entry.client.len()),
        ("method", entry.method.len()),
        ("host", entry.host.len()),
        ("path", path(entry, redact_query).len()),
    ];
    let mut separator: &[u8] = b",\"truncated\":[\"";
    let chosen =
        fields.iter().map(|field| (&*field.key, (entry.header.0)(field.header.as_bytes()).map_or(0, <[u8]>::len)));
    for (name, _) in long.into_iter().chain(chosen).filter(|(_, length)| *length > LONGEST) {
        out.extend_from_slice(separator);
        out.extend_from_slice(name.as_bytes());
        separator = b"\",\"";
    }
    if separator[0] == b'"' {
        out.extend_from_slice(b"\"]");
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Three decimals, without a float.
fn millis(out: &mut Vec<u8>, name: &str, value: Option<Duration>) {
    let Some(value) = value else { return };
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    number(out, name, micros / 1000);
    out.push(b'.');
    for scale in [100, 10, 1] {
        out.push(b'0' + u8::try_from(micros % 1000 / scale % 10).unwrap_or(0));
    }
}

/// JSON string escapes (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD.
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if value.iter().all(|byte| plain(*byte)) {
        return out.extend_from_slice(value);
    }
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                0..0x20 | 0x7f => {
                    let _ = write!(out, "\\u{byte:04x}");
                }
                other => out.push(other),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
