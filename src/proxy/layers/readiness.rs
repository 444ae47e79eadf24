//! Answers the readiness path for the load balancer in front: 200 while this process should get traffic, else 503.
//!
//! It says nothing about the health of the application: a balancer that takes all proxies out because the application
//! is down turns a clear 503 into a connection error.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::proxy::answer::{self, Asked};
use crate::proxy::error::reason;
use crate::proxy::forward::{Answered, Inquiry};
use crate::wire::head::{Head, Name};

/// Wraps a service in [`Readiness`].
#[derive(Clone)]
pub(crate) struct ReadinessLayer;

/// Answers the readiness path, and hands on everything else.
pub(crate) struct Readiness<S>(S);

impl<S> Layer<S> for ReadinessLayer {
    type Service = Readiness<S>;

    fn layer(&self, inner: S) -> Readiness<S> {
        Readiness(inner)
    }
}

impl<S: Service<Inquiry, Response = Answered>> Service<Inquiry> for Readiness<S> {
    type Response = Answered;
    type Error = S::Error;
    type Future = Either<S::Future, std::pin::Pin<Box<dyn Future<Output = Result<Answered, S::Error>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, inquiry: Inquiry) -> Self::Future {
        let asked = inquiry.client.worker.live.with(|snapshot| {
            let path = snapshot.edge.readiness_path.as_deref();
            path.is_some_and(|path| path.as_bytes() == inquiry.head.path_bytes())
                && matches!(inquiry.head.method_bytes(), b"GET" | b"HEAD")
        });
        if !asked {
            return Either::Left(self.0.call(inquiry));
        }
        Either::Right(Box::pin(async move { Ok(ready(inquiry).await) }))
    }
}

async fn ready(inquiry: Inquiry) -> Answered {
    let Inquiry { client, slot, mut side, head } = inquiry;
    let live = &client.worker.live;
    let is_ready = live.is_ready() && live.with(|snapshot| snapshot.is_ready());
    let (status, text) = if is_ready { (200, "ready\n") } else { (503, "not ready\n") };
    let mut answer = Head::default();
    answer.set_status_line(status, reason(status).as_bytes());
    answer.push_known(Name::ContentType, b"text/plain; charset=utf-8");
    answer.push(b"cache-control", b"no-store");
    let after = answer::own((&client, &slot), &mut side, Asked::new(&head), answer, text).await;
    Answered { side, head, after }
}
