//! One request, from its parsed head to the head of its answer. The body follows by itself (`body`).

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use http::header::{CONTENT_LENGTH, EXPECT, HOST};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;

use crate::proxy::body::{RequestBody, ResponseBody, Upload};
use crate::proxy::client::ClientConnection;
use crate::proxy::error::{Kind, ProxyError};
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::slot::{Fired, Phase};
use crate::proxy::transport::UpstreamConnection;
use crate::proxy::tunnel::Tunnel;
use crate::telemetry::meter::InFlightKind;

/// Serves one request. There is always an answer.
pub(crate) async fn forward(client: Rc<ClientConnection>, request: Request<Incoming>) -> Response<ResponseBody> {
    let mut exchange = Box::new(Exchange::begin(Rc::clone(&client)));
    client.slot.enter(Phase::Request, None);
    let accept = request.headers().get(http::header::ACCEPT).cloned();
    let answered = match prepare(&mut exchange, request) {
        Ok((request, upgrade)) => send(&mut exchange, request).await.and_then(|response| {
            let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let bad = (switching && !upgrade) || !headers::is_framed_once(response.headers());
            if bad { Err(Kind::BadAnswer.into()) } else { Ok(response) }
        }),
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => pass_on(exchange, response),
        Err(error) => {
            exchange.failed(&error);
            let mut asked = HeaderMap::new();
            if let Some(accept) = accept {
                asked.insert(http::header::ACCEPT, accept);
            }
            error.answer(&asked)
        }
    }
}

/// Checks the head, takes the hold on the live color, and makes the request as the endpoint shall see it.
fn prepare(exchange: &mut Exchange, request: Request<Incoming>) -> Result<(Request<RequestBody>, bool), ProxyError> {
    let (mut parts, body) = request.into_parts();
    let client = Rc::clone(&exchange.client);
    let worker = &client.worker;
    // What is wrong with it is answered once it is noted for the log.
    let checked = check(&client, &mut parts);
    let host = headers::host(&parts.headers, parts.version).ok().flatten();
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let logged = worker.logger.borrow().is_on();
    let (admission, max_body, trusted, log_client) = worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        client.limits(edge.idle_timeout, edge.header_timeout);
        let trusted = !edge.trusted_proxies.is_empty()
            && headers::is_trusted(client.peer.ip().to_canonical(), &edge.trusted_proxies);
        let log_client = logged.then(|| {
            if trusted {
                headers::client(&parts.headers, client.peer, &edge.trusted_proxies)
            } else {
                client.peer.ip().to_canonical()
            }
        });
        (snapshot.admit(worker.index, host, parts.uri.path()), edge.max_body, trusted, log_client)
    });

    let kept = parts.headers.get(headers::X_REQUEST_ID).filter(|id| trusted && headers::usable_request_id(id));
    let request_id = kept.cloned().unwrap_or_else(|| headers::new_request_id(fastrand::u128(..)));
    if let Some(log_client) = log_client {
        exchange.note((&parts.method, &parts.uri, parts.version), &parts.headers, &request_id, log_client);
    }
    checked?;
    let admission = admission?;
    let response_timeout = admission.policy.response_timeout;
    exchange.admit(admission)?;

    if max_body.is_some_and(|max| declared_length(&parts.headers).is_some_and(|length| length > max)) {
        return Err(Kind::BodyTooLarge.into());
    }
    let from = headers::From { peer: &client.peer_value, trusted, port: &worker.port };
    let upgrade = headers::to_endpoint(&mut parts.headers, parts.version, &from);
    parts.headers.insert(headers::X_REQUEST_ID, request_id);

    let expects = parts.headers.contains_key(EXPECT) && parts.version == Version::HTTP_11;
    client.takes_interim.set(parts.version == Version::HTTP_11);
    parts.version = Version::HTTP_11;
    if http_body::Body::is_end_stream(&body) {
        return Ok((Request::from_parts(parts, RequestBody::Empty), upgrade));
    }
    let upload = Upload::new(Rc::clone(&client), response_timeout, max_body);
    exchange.upload = Some(Rc::clone(&upload));
    client.uploading.set(true);
    let mut request = Request::from_parts(parts, RequestBody::Streaming(body, Rc::clone(&upload)));
    if expects {
        let go_ahead = upload.hold_back();
        hyper::ext::on_informational(&mut request, move |informational| {
            if informational.status() == StatusCode::CONTINUE {
                go_ahead.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok((request, upgrade))
}

/// What hyper lets pass and is no request that can be served; brings the target into origin form.
fn check(client: &ClientConnection, parts: &mut request::Parts) -> Result<(), ProxyError> {
    if client.is_ambiguous() {
        return Err(ProxyError::bad_request("The request's framing is ambiguous."));
    }
    if parts.method == Method::CONNECT {
        return Err(ProxyError::bad_request("CONNECT is not served here."));
    }
    // Also where the target names the host (RFC 9112, 3.2).
    headers::host(&parts.headers, parts.version)?;
    if let Some(authority) = parts.uri.authority() {
        // Without a scheme it is the form of CONNECT.
        let known = parts.uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let host = HeaderValue::from_str(authority.as_str()).ok().filter(|_| known);
        let host = host.ok_or(ProxyError::bad_request("The request target is not valid."))?;
        to_origin_form(&mut parts.uri, &mut parts.headers, host);
    } else if parts.uri.path() == "*" && parts.method != Method::OPTIONS {
        return Err(ProxyError::bad_request("The request target is not valid."));
    }
    if !headers::is_framed_once(&parts.headers) {
        return Err(ProxyError::bad_request("The transfer coding is not understood."));
    }
    match parts.headers.get(HOST) {
        Some(host) if !headers::is_host(host.as_bytes()) => {
            Err(ProxyError::bad_request("The Host field is not valid."))
        }
        _ => Ok(()),
    }
}

/// `GET http://host/path` as a proxy gets it: the authority counts, whatever `Host` says (RFC 9112, 3.2.2).
fn to_origin_form(uri: &mut Uri, headers: &mut HeaderMap, host: HeaderValue) {
    headers.insert(HOST, host);
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *uri = Uri::from(path);
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sends the request to an endpoint. As long as nothing of it was sent it may go to another one; what was sent in part
/// is never sent again.
async fn send(exchange: &mut Exchange, mut request: Request<RequestBody>) -> Result<Response<Incoming>, ProxyError> {
    let client = Rc::clone(&exchange.client);
    let worker = &client.worker;
    let mut tried = Vec::new();
    let mut failed = ProxyError::from(Kind::NoEndpoint);
    while let Some(index) = exchange.choose(&tried) {
        let endpoint = Arc::clone(exchange.endpoint().expect("just chosen"));
        loop {
            let connection = match worker.idle.take(&endpoint) {
                Some(connection) => connection,
                None => match connect(exchange, &endpoint).await {
                    Ok(connection) => connection,
                    Err(error) if matches!(error.kind, Kind::DrainTimeout | Kind::Stopping) => return Err(error),
                    Err(error) => {
                        exchange.admission().meter.connect_errors.add(1);
                        failed = error;
                        break;
                    }
                },
            };
            let reused = connection.reused;
            match exchange_heads(exchange, connection, request).await? {
                Ok(response) => return Ok(response),
                // The connection was closed before anything was sent.
                Err(unsent) => request = *unsent,
            }
            if !reused {
                failed = Kind::UpstreamClosed.into();
                break;
            }
            // The endpoint closed an idle connection; that says nothing about the endpoint.
            exchange.retried();
        }
        exchange.retried();
        tried.push(index);
    }
    Err(failed)
}

async fn connect(
    exchange: &Exchange,
    endpoint: &crate::proxy::pool::Endpoint,
) -> Result<UpstreamConnection, ProxyError> {
    let mut connecting = pin!(UpstreamConnection::connect(endpoint, exchange.admission().policy.connect_timeout));
    std::future::poll_fn(|cx| match fired(&exchange.client) {
        Some(error) => Poll::Ready(Err(error)),
        None => connecting.as_mut().poll(cx),
    })
    .await
}

/// Sends the request on this connection and waits for the head of the answer. Gives the request back where nothing of
/// it was sent.
async fn exchange_heads(
    exchange: &mut Exchange,
    mut connection: UpstreamConnection,
    request: Request<RequestBody>,
) -> Result<Result<Response<Incoming>, Box<Request<RequestBody>>>, ProxyError> {
    let client = Rc::clone(&exchange.client);
    let mut answer = pin!(connection.send(request));
    client.upstream.replace(Some(connection));
    exchange.sent();
    let deadline = Some(client.worker.now() + exchange.admission().policy.response_timeout);
    client.slot.enter(Phase::Request, deadline);
    client.worker.slots.due_at(deadline);
    let answered = std::future::poll_fn(|_| {
        if let Some(error) = fired(&client) {
            return Poll::Ready(Err(error));
        }
        let over = client.drive();
        let driving = &mut client.driver.context();
        let answer = match answer.as_mut().poll(driving) {
            Poll::Pending if over => {
                // Dropping the connection tells the request what became of it.
                client.upstream.take();
                answer.as_mut().poll(driving)
            }
            polled => polled,
        };
        answer.map(Ok)
    })
    .await?;
    match answered {
        Ok(response) => Ok(Ok(response)),
        Err(mut failure) => {
            client.upstream.take();
            if let Some(unsent) = failure.take_message() {
                return Ok(Err(Box::new(unsent)));
            }
            let error = failure.into_error();
            tracing::debug!(%error, "The endpoint did not answer.");
            Err(match &exchange.upload {
                Some(upload) if upload.is_too_large() => Kind::BodyTooLarge,
                Some(upload) if upload.is_invalid() => Kind::BadRequest,
                Some(upload) if upload.client_failed() => Kind::ClientLeft,
                _ if error.is_parse() => Kind::BadAnswer,
                _ => Kind::UpstreamClosed,
            }
            .into())
        }
    }
}

/// What the slot says about a request that is not answered yet.
fn fired(client: &ClientConnection) -> Option<ProxyError> {
    match client.slot.fired()? {
        Fired::Deadline => Some(Kind::ResponseTimeout.into()),
        Fired::Ended => Some(Kind::DrainTimeout.into()),
        Fired::Cut => Some(Kind::Stopping.into()),
        Fired::Closing => None,
    }
}

/// The head of the answer is here.
fn pass_on(mut exchange: Box<Exchange>, response: Response<Incoming>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    headers::to_client(&mut parts.headers, parts.version, switching);
    parts.version = Version::HTTP_11;
    exchange.answered(parts.status.as_u16());
    if switching {
        let client = Rc::clone(&exchange.client);
        exchange.becomes(InFlightKind::Tunnel);
        client.tunnel.replace(Some(Tunnel::new(exchange)));
        return Response::from_parts(parts, ResponseBody::Over);
    }
    if !http_body::Body::is_end_stream(&body) {
        exchange.becomes(InFlightKind::Stream);
    }
    Response::from_parts(parts, ResponseBody::streaming(body, exchange))
}
