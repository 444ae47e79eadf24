//! Answers without an endpoint and without an error: readiness, and the redirect to HTTPS. They are a step of the
//! request pipeline, after head, framing and host were checked.

use std::rc::Rc;

use crate::proxy::client::Client;
use crate::proxy::deadlines::DeadlineSlot;
use crate::proxy::error::{ProxyError, reason};
use crate::proxy::headers;
use crate::proxy::listener::Listener;
use crate::proxy::request::respond::{self, After, Asked};
use crate::proxy::snapshot::Snapshot;
use crate::telemetry::refused::Refusal;
use crate::wire::head::{Head, Name};
use crate::wire::side::Side;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalAnswer {
    /// 200 while this process should get traffic, else 503. The application's health is not part of it by default: a
    /// balancer that takes out all proxies turns a clear 503 into a connection error.
    Readiness { ready: bool },
    /// `listen.https_redirect`. 308, so that a POST stays a POST (RFC 9110, 15.4.9).
    Redirect { location: String },
}

pub(crate) enum OwnAnswer {
    Error(ProxyError),
    Local(LocalAnswer),
}

impl<E: Into<ProxyError>> From<E> for OwnAnswer {
    fn from(error: E) -> OwnAnswer {
        OwnAnswer::Error(error.into())
    }
}

/// `None`: a route answers. `trusted`: the peer is one of `trusted_proxies`.
pub(crate) fn find(
    client: &Client,
    snapshot: &Snapshot,
    head: &Head,
    trusted: bool,
) -> Result<Option<LocalAnswer>, ProxyError> {
    let edge = &snapshot.edge;
    let readiness = edge.readiness_path.as_deref().is_some_and(|path| path.as_bytes() == head.path_bytes());
    if readiness && matches!(head.method_bytes(), b"GET" | b"HEAD") {
        let ready = client.worker.live.is_ready() && snapshot.is_ready();
        return Ok(Some(LocalAnswer::Readiness { ready }));
    }
    let Some(port) = edge.https_redirect.filter(|_| client.listener == Listener::Http) else { return Ok(None) };
    if trusted && head.text(Name::XForwardedProto).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
        return Ok(None);
    }
    location(head, port).map(|location| Some(LocalAnswer::Redirect { location }))
}

fn location(head: &Head, port: u16) -> Result<String, ProxyError> {
    let host = head.text(Name::Host).map(headers::without_port).filter(|host| !host.is_empty());
    let host = host.ok_or(ProxyError::bad_request("The request names no host to continue at over HTTPS."))?;
    // `OPTIONS *` has no path (RFC 9112, 3.2.4).
    let target = if head.target() == "*" { "" } else { head.target() };
    Ok(if port == 443 { format!("https://{host}{target}") } else { format!("https://{host}:{port}{target}") })
}

impl LocalAnswer {
    pub(crate) fn status(&self) -> u16 {
        match self {
            LocalAnswer::Readiness { ready: true } => 200,
            LocalAnswer::Readiness { ready: false } => 503,
            LocalAnswer::Redirect { .. } => 308,
        }
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            LocalAnswer::Readiness { ready: true } => None,
            LocalAnswer::Readiness { ready: false } => Some(Refusal::NotReady),
            LocalAnswer::Redirect { .. } => Some(Refusal::HttpsRedirect),
        }
    }

    pub(crate) async fn send(self, client: (&Rc<Client>, &DeadlineSlot), side: &mut Side, asked: Asked) -> After {
        let mut head = Head::default();
        head.set_status_line(self.status(), reason(self.status()).as_bytes());
        let body = match &self {
            LocalAnswer::Readiness { ready } => {
                head.push_known(Name::ContentType, b"text/plain; charset=utf-8");
                head.push(b"cache-control", b"no-store");
                if *ready { "ready\n" } else { "not ready\n" }
            }
            LocalAnswer::Redirect { location } => {
                head.push(b"location", location.as_bytes());
                ""
            }
        };
        respond::respond_locally(client, side, asked, head, body).await
    }
}
