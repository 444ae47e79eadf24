//! Sends clients that came without TLS to the same place with it (`listen.https_redirect`).
//!
//! 308, so that a POST stays a POST (RFC 9110, 15.4.9). Behind a trusted proxy that has spoken TLS with the client nothing
//! is to be done.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::proxy::answer::{self, Asked};
use crate::proxy::client::Listener;
use crate::proxy::error::reason;
use crate::proxy::forward::{Answered, Inquiry};
use crate::proxy::headers;
use crate::wire::head::{Head, Name};

/// Wraps a service in [`HttpsRedirect`].
#[derive(Clone)]
pub(crate) struct HttpsRedirectLayer;

/// Redirects, or hands on.
pub(crate) struct HttpsRedirect<S>(S);

impl<S> Layer<S> for HttpsRedirectLayer {
    type Service = HttpsRedirect<S>;

    fn layer(&self, inner: S) -> HttpsRedirect<S> {
        HttpsRedirect(inner)
    }
}

impl<S: Service<Inquiry, Response = Answered>> Service<Inquiry> for HttpsRedirect<S> {
    type Response = Answered;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<Answered, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, inquiry: Inquiry) -> Self::Future {
        let location = match inquiry.client.listener {
            Listener::Http => location(&inquiry),
            Listener::Https | Listener::Preview => None,
        };
        match location {
            Some(location) => Either::Right(Box::pin(async move { Ok(redirect(inquiry, &location).await) })),
            None => Either::Left(self.0.call(inquiry)),
        }
    }
}

/// Where to; `None`: it is served here. So is what can't be told a place: it gets the answer that it deserves.
fn location(inquiry: &Inquiry) -> Option<String> {
    let head = &inquiry.head;
    let port = inquiry.client.worker.live.with(|snapshot| {
        let edge = &snapshot.edge;
        let secure = head.text(Name::XForwardedProto).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let trusted = headers::is_trusted(inquiry.client.peer.ip().to_canonical(), &edge.trusted_proxies);
        edge.https_redirect.filter(|_| !(secure && trusted))
    })?;
    let host = std::str::from_utf8(headers::host(head).ok()?).ok()?;
    let (host, target) = match head.target() {
        target if target.starts_with('/') => (host, target.to_owned()),
        // The authority counts, whatever `Host` says (RFC 9112, 3.2.2).
        target => headers::split_absolute(target)?,
    };
    let host = Some(headers::without_port(host)).filter(|host| !host.is_empty())?;
    Some(if port == 443 { format!("https://{host}{target}") } else { format!("https://{host}:{port}{target}") })
}

async fn redirect(inquiry: Inquiry, location: &str) -> Answered {
    let Inquiry { client, slot, mut side, head } = inquiry;
    let mut asked = Asked::new(&head);
    // Whatever body comes is for there, not for here.
    asked.keep_alive &= !(head.has(Name::ContentLength) || head.has(Name::TransferEncoding));
    let mut answer = Head::default();
    answer.set_status_line(308, reason(308).as_bytes());
    answer.push(b"location", location.as_bytes());
    let after = answer::own((&client, &slot), &mut side, asked, answer, "").await;
    Answered { side, head, after }
}
