//! One check at one endpoint: the request, and the examination of the response.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, ready};
use std::time::Instant;

use crate::config::{CheckBody, GateCheck, Scalar};
use crate::control::check::call::Call;
use crate::control::probe;
use crate::proxy::clock;
use crate::proxy::pool::{Endpoint, Rules};
use crate::proxy::upstream::connections;
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::Wire;
use crate::wire::socket::Socket;

const MAX_BODY: usize = 256 << 10;
/// Longest part of a response that is reported, in characters.
const TOLD: usize = 120;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) found: String,
    pub(super) wanted: String,
}

struct Response {
    head: Head,
    body: Vec<u8>,
}

/// Repeats the check as configured. `connected`: time of the last connection.
pub(super) async fn endpoint(
    endpoint: &Endpoint,
    rules: &Rules,
    host: Option<&str>,
    check: &GateCheck,
    turns: &AtomicU32,
    connected: &mut Option<Instant>,
) -> Result<(), Failure> {
    let (request, body) = request(endpoint, host, check)?;
    for turn in 1..=check.times {
        turns.store(turn - 1, Ordering::Relaxed);
        let asked = clock::within(check.timeout, ask(endpoint, rules, request.clone(), body, connected)).await;
        let outcome = match asked {
            Some(Ok(response)) => as_wanted(&response, check),
            Some(Err(found)) => Err(Failure { found, wanted: status_wanted(check) }),
            None => {
                let found = format!("no whole response within {}", humantime::format_duration(check.timeout));
                Err(Failure { found, wanted: status_wanted(check) })
            }
        };
        outcome.map_err(|Failure { found, wanted }| match check.times {
            1 => Failure { found, wanted },
            times => Failure { found: format!("{found} (request {turn} of {times})"), wanted },
        })?;
    }
    Ok(())
}

fn request<'a>(
    endpoint: &Endpoint,
    host: Option<&str>,
    check: &'a GateCheck,
) -> Result<(Head, Option<&'a [u8]>), Failure> {
    let unreadable = |setting: &str| Failure {
        found: format!("{setting} can't be read, so no request was sent"),
        wanted: status_wanted(check),
    };
    let mut head = probe::request(endpoint, check.host.as_deref().or(host), &check.path);
    head.set_method(check.method.as_bytes());
    for (name, value) in &check.headers {
        head.remove_named(name.as_bytes());
        head.push(name.as_bytes(), value.as_bytes());
    }
    for (name, kept) in &check.header_files {
        let value = kept.value.as_ref().ok_or_else(|| unreadable(&format!("header_files.{name}")))?;
        head.remove_named(name.as_bytes());
        head.push(name.as_bytes(), value.0.as_bytes());
    }
    let body = match &check.body {
        None => None,
        Some(CheckBody::Text(text)) => Some(text.as_bytes()),
        Some(CheckBody::File(kept)) => Some(kept.value.as_ref().ok_or_else(|| unreadable("body_file"))?.0.as_bytes()),
    };
    let length = body.map(<[u8]>::len).or(matches!(check.method.as_str(), "POST" | "PUT" | "PATCH").then_some(0));
    if let Some(length) = length {
        head.push_known(Name::ContentLength, length.to_string().as_bytes());
    }
    Ok((head, body))
}

async fn ask(
    endpoint: &Endpoint,
    rules: &Rules,
    mut head: Head,
    body: Option<&[u8]>,
    connected: &mut Option<Instant>,
) -> Result<Response, String> {
    let mut connect = async || {
        let socket = probe::connect(endpoint, rules).await?;
        *connected = Some(Instant::now());
        Ok::<_, String>(socket)
    };
    if !rules.http2 {
        head.push_known(Name::Connection, b"close");
        let mut call = Call::Http1(Box::new(Wire::new(connect().await?)));
        return exchange(&mut call, rules, &head, body).await;
    }
    let (untouched, first) = over_http2(connect().await?, rules, &head, body).await?;
    match first {
        // A request left unprocessed by GOAWAY is repeated on a new connection.
        Err(_) if untouched => over_http2(connect().await?, rules, &head, body).await?.1,
        first => first,
    }
}

/// True: the endpoint did nothing with the request.
async fn over_http2(
    socket: Socket,
    rules: &Rules,
    head: &Head,
    body: Option<&[u8]>,
) -> Result<(bool, Result<Response, String>), String> {
    let connected = connections::http2(socket, rules).await;
    let (stream, connection) = connected.map_err(|_| "the endpoint does not speak HTTP/2".to_owned())?;
    let mut call = Call::Http2(Box::new(stream));
    let response = {
        let mut asked = pin!(exchange(&mut call, rules, head, body));
        tokio::select! {
            biased;
            response = &mut asked => response,
            // Its last response can still be read.
            _ = connection => asked.await,
        }
    };
    Ok((!call.has_written(), response))
}

async fn exchange(call: &mut Call, rules: &Rules, head: &Head, body: Option<&[u8]>) -> Result<Response, String> {
    if !poll_fn(|cx| call.poll_ready(cx)).await {
        return Err(probe::CLOSED.to_owned());
    }
    let mut left = body.unwrap_or_default();
    let framing = if left.is_empty() { Framing::None } else { Framing::Length(left.len() as u64) };
    call.begin_request(head, framing).map_err(|_| probe::UNWRITABLE)?;
    poll_fn(|cx| {
        while !left.is_empty() {
            match ready!(call.poll_send(cx, left)) {
                Ok(sent) => left = &left[sent..],
                // An endpoint that refuses a body responds and closes.
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    })
    .await;
    if framing != Framing::None {
        call.finish();
    }
    let head_only = head.is_method("HEAD");
    let response = probe::answer(|cx, head| call.poll_answer(cx, head, rules.limits()));
    let response = response.await?;
    let framing = match call.is_bodiless() {
        true => Framing::None,
        false => Framing::of_answer(&response, head_only).map_err(|_| "the answer is not HTTP".to_owned())?,
    };
    call.expect_body(framing);
    // One byte more tells whether the body is longer.
    let body = probe::body(call, Call::poll_body, Call::consume, MAX_BODY + 1).await;
    Ok(Response { head: response, body: body.map_err(|error| format!("the body broke off: {error}"))? })
}

fn status_wanted(check: &GateCheck) -> String {
    match check.expect {
        (low, high) if low == high => format!("status {low}"),
        (low, high) => format!("status {low} to {high}"),
    }
}

fn as_wanted(response: &Response, check: &GateCheck) -> Result<(), Failure> {
    let Response { head, body } = response;
    if !(check.expect.0..=check.expect.1).contains(&head.status) {
        let location = head.named(b"location").filter(|_| head.status / 100 == 3);
        let found = match location {
            Some(location) => format!("status {} to {}", head.status, quoted(location)),
            None => format!("status {}", head.status),
        };
        return Err(Failure { found, wanted: status_wanted(check) });
    }
    for (name, wanted) in &check.expect_headers {
        let contains = |value: &[u8]| memchr::memmem::find(value, wanted.as_bytes()).is_some();
        let mut values = head.all_named(name.as_bytes());
        if head.all_named(name.as_bytes()).any(contains) {
            continue;
        }
        let found = match values.next() {
            Some(value) => format!("{name}: {}", quoted(value)),
            None => format!("no header {name}"),
        };
        let wanted = match wanted.as_str() {
            "" => format!("a header {name}"),
            text => format!("{name} with {}", quoted(text.as_bytes())),
        };
        return Err(Failure { found, wanted });
    }
    let cut = body.len() > MAX_BODY;
    let read = &body[..body.len().min(MAX_BODY)];
    if let Some(wanted) = &check.expect_body
        && memchr::memmem::find(read, wanted.as_bytes()).is_none()
    {
        let place = if cut { "in the first 256 KiB of the body" } else { "in the body" };
        let found = if read.is_empty() { "an empty body".to_owned() } else { format!("body {}", quoted(read)) };
        return Err(Failure { found, wanted: format!("{} {place}", quoted(wanted.as_bytes())) });
    }
    json_as_wanted(read, cut, check)
}

fn json_as_wanted(body: &[u8], cut: bool, check: &GateCheck) -> Result<(), Failure> {
    if check.expect_json.is_empty() {
        return Ok(());
    }
    let document: Result<serde_json::Value, _> = serde_json::from_slice(body);
    for (pointer, wanted) in &check.expect_json {
        let place = if pointer.is_empty() { "the body" } else { pointer };
        let failure = |found: String| Err(Failure { found, wanted: format!("{place} = {wanted}") });
        match &document {
            _ if cut => return failure("a body above 256 KiB".to_owned()),
            Err(_) => return failure(format!("a body that is not JSON: {}", quoted(body))),
            Ok(document) => match document.pointer(pointer) {
                None => return failure(format!("nothing at {place}")),
                Some(found) if !is(found, wanted) => {
                    return failure(format!("{place} = {}", told(&found.to_string())));
                }
                Some(_) => {}
            },
        }
    }
    Ok(())
}

fn is(found: &serde_json::Value, wanted: &Scalar) -> bool {
    match wanted {
        Scalar::Text(text) => found.as_str() == Some(text),
        Scalar::Whole(number) => found.as_i64() == Some(*number),
        Scalar::Boolean(value) => found.as_bool() == Some(*value),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(4 * TOLD)];
    let text = String::from_utf8_lossy(beginning);
    let short: String = text.chars().take(TOLD).collect();
    let more = short.chars().count() < text.chars().count() || beginning.len() < bytes.len();
    format!("\"{}{}\"", short.escape_debug(), if more { "…" } else { "" })
}

fn told(text: &str) -> String {
    let short: String = text.chars().take(TOLD).flat_map(char::escape_default).collect();
    // JSON keeps its quotes.
    let short = short.replace("\\\"", "\"");
    if text.chars().count() > TOLD { format!("{short}…") } else { short }
}

#[cfg(test)]
mod tests;
