//! One probe: the request to an endpoint, and its response in a few words.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::config::{EndpointAddress, HealthConfig};
use crate::control::probe::Found;
use crate::proxy::clock;
use crate::proxy::pool::{Endpoint, Rules, Target};
use crate::proxy::upstream::{connections, dial, exhaustion};
use crate::wire::head::{Head, Name};
use crate::wire::http1::body::Framing;
use crate::wire::http1::connection::{BodyError, HeadError, Piece, Wire};
use crate::wire::http1::parse::Refused;
use crate::wire::http2::client::Stream;
use crate::wire::socket::Socket;

pub(crate) async fn probe(endpoint: &Endpoint, rules: &Rules, policy: &HealthConfig) -> Found {
    let began = Instant::now();
    let mut connected = None;
    let found = clock::within(policy.timeout, ask(endpoint, rules, policy, &mut connected)).await;
    let (took, late) = (began.elapsed(), found.is_none());
    let (passed, detail, release) = match found {
        Some(Ok(answer)) => answer,
        Some(Err(reason)) => (false, reason, None),
        None => (false, format!("no answer within {}", humantime::format_duration(policy.timeout)), None),
    };
    let (exhausted, deserted) = (detail == EXHAUSTED, detail == REFUSED || detail == NO_SOCKET);
    Found { passed, detail, release, took, connected, deserted, late, exhausted }
}

async fn ask(
    endpoint: &Endpoint,
    rules: &Rules,
    policy: &HealthConfig,
    connected: &mut Option<Instant>,
) -> Result<(bool, String, Option<String>), String> {
    if let Target::Unresolved(name) = &endpoint.target {
        let known = name.known();
        match known.failure {
            Some(failure) if known.addresses.is_empty() => {
                return Err(format!("the name does not resolve: {}", failure.reason));
            }
            None if known.addresses.is_empty() => return Err(NOT_YET.to_owned()),
            _ => {}
        }
    }
    let Some(path) = &policy.path else {
        dial::knock(endpoint, rules).await.map_err(|error| in_words(endpoint, &error))?;
        *connected = Some(Instant::now());
        return Ok((true, "connected".to_owned(), None));
    };
    let mut connect = async || {
        let socket = connect(endpoint, rules).await?;
        *connected = Some(Instant::now());
        Ok::<_, String>(socket)
    };
    let socket = connect().await?;
    let mut request = request(endpoint, policy.host.as_deref(), path);
    let answer = if rules.http2 {
        match over_http2(&request, socket, rules).await? {
            Some(answer) => answer,
            // A request left unprocessed by GOAWAY is repeated on a new connection.
            None => over_http2(&request, connect().await?, rules).await?.ok_or(CLOSED)?,
        }
    } else {
        request.push_known(Name::Connection, b"close");
        let mut wire = Wire::new(socket);
        wire.begin_request(&request, Framing::None);
        answer(|cx, head| {
            // An endpoint that closes early may have responded nevertheless.
            let _ = ready!(wire.poll_flush(cx));
            wire.poll_answer(cx, head, rules.limits())
        })
        .await?
    };
    let passed = (policy.expect.0..=policy.expect.1).contains(&answer.status);
    let detail = match answer.named(b"location").and_then(|location| std::str::from_utf8(location).ok()) {
        Some(location) if answer.status / 100 == 3 => {
            format!("{} to {}", answer.status, location.chars().take(200).collect::<String>())
        }
        _ => answer.status.to_string(),
    };
    let release = policy.release_header.as_ref().and_then(|name| answer.named(name.as_bytes()));
    let release = release.map(|release| String::from_utf8_lossy(release).chars().take(200).collect());
    Ok((passed, detail, release))
}

/// The host is the endpoint's own address unless configured.
pub(in crate::control) fn request(endpoint: &Endpoint, host: Option<&str>, path: &str) -> Head {
    let host = match (host, &endpoint.address) {
        (Some(host), _) => host.to_owned(),
        (None, EndpointAddress::Unix(_)) => "localhost".to_owned(),
        (None, EndpointAddress::Ip(_) | EndpointAddress::Name { .. }) => endpoint.address.to_string(),
        // Without the labels of service and protocol.
        (None, EndpointAddress::Service { name }) => name.splitn(3, '.').last().unwrap_or(name).to_owned(),
    };
    let mut request = Head::default();
    request.set_request_line(b"GET", path.as_bytes());
    request.push_known(Name::Host, host.as_bytes());
    request.push(b"user-agent", b"cutover-probe");
    request
}

/// The body of a 200, up to `limit`, requested like a probe.
pub(in crate::control) async fn fetch(
    endpoint: &Endpoint,
    rules: &Rules,
    policy: &HealthConfig,
    path: &str,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let socket = connect(endpoint, rules).await?;
    let mut request = request(endpoint, policy.host.as_deref(), path);
    if rules.http2 {
        let connected = connections::http2(socket, rules).await;
        let (mut stream, connection) = connected.map_err(|_| "the endpoint does not speak HTTP/2".to_owned())?;
        let mut body = pin!(async {
            if !poll_fn(|cx| stream.poll_ready(cx, false)).await {
                return Err(CLOSED.to_owned());
            }
            stream.begin_request(&request, Framing::None).map_err(|_| UNWRITABLE)?;
            framing(&answer(|cx, head| stream.poll_answer(cx, head)).await?)?;
            body(&mut stream, Stream::poll_body, Stream::consume, limit).await
        });
        return tokio::select! {
            biased;
            body = &mut body => body,
            _ = connection => body.await,
        };
    }
    request.push_known(Name::Connection, b"close");
    let mut wire = Wire::new(socket);
    wire.begin_request(&request, Framing::None);
    let answer = answer(|cx, head| {
        let _ = ready!(wire.poll_flush(cx));
        wire.poll_answer(cx, head, rules.limits())
    });
    let framing = framing(&answer.await?)?;
    wire.expect_body(framing);
    body(&mut wire, Wire::poll_body, Wire::consume, limit).await
}

fn framing(answer: &Head) -> Result<Framing, String> {
    if answer.status != 200 {
        return Err(format!("answered {}", answer.status));
    }
    Framing::of_answer(answer, false).map_err(|_| "the answer is not HTTP".to_owned())
}

pub(in crate::control) async fn body<S>(
    side: &mut S,
    poll: impl for<'a> Fn(&'a mut S, &mut Context<'_>) -> Poll<Result<Piece<'a>, BodyError>>,
    consume: impl Fn(&mut S, usize),
    limit: usize,
) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    poll_fn(|cx| {
        while body.len() < limit {
            let n = match ready!(poll(side, cx)) {
                Ok(Piece::Data(data)) => {
                    body.extend_from_slice(data);
                    data.len()
                }
                Ok(Piece::End) => break,
                Err(error) => return Poll::Ready(Err(error.to_string())),
            };
            consume(side, n);
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    body.truncate(limit);
    Ok(body)
}

pub(super) const REFUSED: &str = "connection refused";
pub(super) const NO_SOCKET: &str = "no such socket";
pub(in crate::control) const CLOSED: &str = "closed without an answer";
pub(super) const EXHAUSTED: &str = "the proxy is out of descriptors, ports or memory";
pub(in crate::control) const UNWRITABLE: &str = "the path or the host can't be written in HTTP/2";
pub(super) const NOT_YET: &str = "the name is not resolved yet";

pub(in crate::control) async fn connect(endpoint: &Endpoint, rules: &Rules) -> Result<Socket, String> {
    dial::connect(endpoint, rules).await.map_err(|error| in_words(endpoint, &error))
}

/// `None`: the endpoint was closing the connection (GOAWAY), and did nothing with the request.
async fn over_http2(request: &Head, socket: Socket, rules: &Rules) -> Result<Option<Head>, String> {
    let connected = connections::http2(socket, rules).await;
    let (mut stream, connection) = connected.map_err(|_| "the endpoint does not speak HTTP/2".to_owned())?;
    let answer = {
        let mut asked = pin!(async {
            if !poll_fn(|cx| stream.poll_ready(cx, false)).await {
                return Err(CLOSED.to_owned());
            }
            stream.begin_request(request, Framing::None).map_err(|_| UNWRITABLE)?;
            answer(|cx, head| stream.poll_answer(cx, head)).await
        });
        tokio::select! {
            biased;
            answer = &mut asked => answer,
            // Its last response can still be read.
            _ = connection => asked.await,
        }
    };
    match answer {
        Err(_) if !stream.has_written() => Ok(None),
        answer => answer.map(Some),
    }
}

/// The response's head to a request without a body; `poll` reads it.
pub(in crate::control) async fn answer(
    mut poll: impl FnMut(&mut Context<'_>, &mut Head) -> Poll<Result<bool, HeadError>>,
) -> Result<Head, String> {
    let mut answer = Head::default();
    poll_fn(|cx| {
        loop {
            let said = match ready!(poll(cx, &mut answer)) {
                Ok(true) if answer.status < 200 => continue,
                Ok(true) => Ok(()),
                Ok(false) | Err(HeadError::Io(_)) => Err(CLOSED.to_owned()),
                Err(HeadError::Refused(Refused::TooLarge)) => {
                    Err("the head of the answer is larger than max_response_header_bytes".to_owned())
                }
                Err(HeadError::Refused(Refused::TooManyFields)) => {
                    Err("the answer has more fields than max_response_headers".to_owned())
                }
                Err(HeadError::Refused(_) | HeadError::Incomplete) => Err("the answer is not HTTP".to_owned()),
            };
            return Poll::Ready(said);
        }
    })
    .await?;
    Ok(answer)
}

fn in_words(endpoint: &Endpoint, error: &std::io::Error) -> String {
    if let Some(resource) = exhaustion::of(error) {
        exhaustion::report(&endpoint.name, resource, error);
        return EXHAUSTED.to_owned();
    }
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => REFUSED.to_owned(),
        std::io::ErrorKind::NotFound if error.raw_os_error().is_some() => NO_SOCKET.to_owned(),
        _ => error.to_string(),
    }
}
