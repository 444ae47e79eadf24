//! Spans in the JSON form of OTLP (opentelemetry-proto 1.x, `ExportTraceServiceRequest`), with the names of the
//! semantic conventions for HTTP.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::config::ServiceConfig;
use crate::evidence::routes::Routes;
use crate::telemetry::spans::{AttemptSpan, RequestSpans};

/// Another method is `_OTHER`: clients must not choose the names of spans.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
/// Bytes of a value that a client sends.
const LONGEST: usize = 2 << 10;

pub(super) fn document(service: &str, config: &ServiceConfig, batch: &[Box<RequestSpans>], routes: &Routes) -> Bytes {
    let mut out = String::with_capacity(1024 * batch.len());
    out.push_str("{\"resourceSpans\":[{\"resource\":{");
    attributes(&mut out, |to| {
        to.text("service.name", service);
        to.text("service.version", env!("CARGO_PKG_VERSION"));
        to.text("service.instance.id", &config.instance);
        to.text("deployment.environment.name", config.environment.as_deref().unwrap_or_default());
    });
    out.push_str("},\"scopeSpans\":[{\"scope\":{\"name\":\"cutover\",\"version\":\"");
    out.push_str(env!("CARGO_PKG_VERSION"));
    out.push_str("\"},\"spans\":[");
    for (index, request) in batch.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        server(&mut out, request, routes);
        for (number, attempt) in request.attempts.iter().enumerate() {
            out.push(',');
            client(&mut out, request, attempt, number);
        }
    }
    out.push_str("]}]}]}");
    out.into()
}

fn server(out: &mut String, request: &RequestSpans, routes: &Routes) {
    let route = request.route.and_then(|index| routes.name_at(index));
    let (method, known) = method(request);
    let name = match &route {
        Some(route) => format!("{known} {route}"),
        None => known.to_owned(),
    };
    let times = (request.began, request.began + request.duration);
    span(out, request, (request.context.span, request.parent), (&name, SERVER), times);
    attributes(out, |to| {
        to.text("http.request.method", method);
        if method != request.method {
            to.text("http.request.method_original", &request.method);
        }
        to.text("http.route", route.as_deref().unwrap_or_default());
        to.text("url.scheme", request.scheme);
        to.text("url.path", &request.path);
        to.text("server.address", &request.host);
        to.text("network.protocol.name", "http");
        to.text("network.protocol.version", request.protocol.trim_start_matches("HTTP/"));
        to.text("client.address", &request.client.to_string());
        to.text("user_agent.original", request.user_agent.as_deref().unwrap_or_default());
        to.status(request.status);
        if let Some(status) = request.grpc_status {
            to.number("rpc.grpc.status_code", status.into());
        }
        to.text("error.type", &error_type(request.error, request.status, 500));
        to.text("cutover.request_id", &request.request_id);
        if let Some(last) = request.attempts.last() {
            served_by(to, last);
            to.number("cutover.generation", request.generation);
            to.number("cutover.retries", request.retries.into());
        }
        if request.preview {
            to.flag("cutover.preview");
        }
    });
    // By the conventions, a 4xx is no error of a server.
    end(out, request.error.is_some() || request.status >= 500);
}

fn client(out: &mut String, request: &RequestSpans, attempt: &AttemptSpan, number: usize) {
    let (method, known) = method(request);
    let at = |after: Duration| request.began + after;
    let times = (at(attempt.began), at(attempt.ended.unwrap_or(request.duration).max(attempt.began)));
    span(out, request, (attempt.id, Some(request.context.span)), (known, CLIENT), times);
    attributes(out, |to| {
        to.text("http.request.method", method);
        to.text("url.path", &request.path);
        to.status(attempt.status);
        if number > 0 {
            to.number("http.request.resend_count", number as u64);
        }
        to.text("error.type", &error_type(attempt.error, attempt.status, 400));
        served_by(to, attempt);
    });
    end(out, attempt.error.is_some() || attempt.status >= 400);
}

/// The method as an attribute, and in a name.
fn method(request: &RequestSpans) -> (&str, &str) {
    let method = request.method.as_str();
    if METHODS.contains(&method) { (method, method) } else { ("_OTHER", "HTTP") }
}

fn served_by(to: &mut Attributes<'_>, attempt: &AttemptSpan) {
    to.text("cutover.color", attempt.color);
    to.text("cutover.release", &attempt.release);
    to.text("cutover.upstream", &attempt.upstream);
    to.text("cutover.endpoint", &attempt.endpoint);
}

fn error_type(error: Option<&str>, status: u16, from: u16) -> String {
    match error {
        Some(error) => error.to_owned(),
        None if status >= from => status.to_string(),
        None => String::new(),
    }
}

fn span(
    out: &mut String,
    request: &RequestSpans,
    (id, parent): (u64, Option<u64>),
    (name, kind): (&str, u8),
    (from, to): (SystemTime, SystemTime),
) {
    let nanos = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let _ = write!(out, "{{\"traceId\":\"{:032x}\",\"spanId\":\"{id:016x}\",", request.context.trace);
    if let Some(parent) = parent {
        let _ = write!(out, "\"parentSpanId\":\"{parent:016x}\",");
    }
    out.push_str("\"name\":");
    string(out, name);
    let _ = write!(
        out,
        ",\"kind\":{kind},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",",
        nanos(from),
        nanos(to)
    );
}

fn end(out: &mut String, failed: bool) {
    out.push_str(if failed { ",\"status\":{\"code\":2}}" } else { ",\"status\":{}}" });
}

fn attributes(out: &mut String, write: impl FnOnce(&mut Attributes<'_>)) {
    out.push_str("\"attributes\":[");
    write(&mut Attributes { out, separator: "" });
    out.push(']');
}

/// Empty texts are left out.
struct Attributes<'a> {
    out: &'a mut String,
    separator: &'static str,
}

impl Attributes<'_> {
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.key(key);
            self.out.push_str("{\"stringValue\":");
            string(self.out, value);
            self.out.push_str("}}");
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        // An int64 is a string.
        let _ = write!(self.out, "{{\"intValue\":\"{value}\"}}}}");
    }

    fn status(&mut self, status: u16) {
        if status > 0 {
            self.number("http.response.status_code", status.into());
        }
    }

    fn flag(&mut self, key: &str) {
        self.key(key);
        self.out.push_str("{\"boolValue\":true}}");
    }

    fn key(&mut self, key: &str) {
        let _ = write!(self.out, "{}{{\"key\":\"{key}\",\"value\":", self.separator);
        self.separator = ",";
    }
}

fn string(out: &mut String, value: &str) {
    let cut = (0..=value.len().min(LONGEST)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    out.push('"');
    for character in value[..cut].chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
