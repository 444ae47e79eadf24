//! Answers the readiness path for the load balancer in front: 200 while this process should get traffic, else 503.
//!
//! It says nothing about the health of the application: a balancer that takes all proxies out because the application
//! is down turns a clear 503 into a connection error.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::proxy::body::ResponseBody;
use crate::proxy::client::ClientConnection;

/// Wraps a service in [`Readiness`].
#[derive(Clone)]
pub(crate) struct ReadinessLayer {
    client: Rc<ClientConnection>,
}

/// Answers the readiness path, and hands on everything else.
pub(crate) struct Readiness<S> {
    client: Rc<ClientConnection>,
    inner: S,
}

impl ReadinessLayer {
    pub(crate) fn new(client: Rc<ClientConnection>) -> ReadinessLayer {
        ReadinessLayer { client }
    }
}

impl<S> Layer<S> for ReadinessLayer {
    type Service = Readiness<S>;

    fn layer(&self, inner: S) -> Readiness<S> {
        Readiness { client: Rc::clone(&self.client), inner }
    }
}

impl<S> Service<Request<Incoming>> for Readiness<S>
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>>,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Answer<S::Future> {
        let asked = self.client.worker.live.with(|snapshot| {
            let path = snapshot.edge.readiness_path.as_deref();
            path == Some(request.uri().path()) && matches!(*request.method(), Method::GET | Method::HEAD)
        });
        if asked {
            self.client.between_requests();
            Answer::Own { response: Some(answer(self.client.worker.live.is_ready())) }
        } else {
            Answer::Inner { future: self.inner.call(request) }
        }
    }
}

fn answer(ready: bool) -> Response<ResponseBody> {
    let (status, text) =
        if ready { (StatusCode::OK, &b"ready\n"[..]) } else { (StatusCode::SERVICE_UNAVAILABLE, &b"not ready\n"[..]) };
    let mut response = Response::new(ResponseBody::own(Bytes::from_static(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pin_project! {
    /// The answer of either.
    #[project = AnswerProjected]
    pub(crate) enum Answer<F> {
        Own { response: Option<Response<ResponseBody>> },
        Inner { #[pin] future: F },
    }
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<ResponseBody>, E>>,
{
    type Output = Result<Response<ResponseBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjected::Own { response } => {
                Poll::Ready(Ok(response.take().expect("not polled after it was ready")))
            }
            AnswerProjected::Inner { future } => future.poll(cx),
        }
    }
}
