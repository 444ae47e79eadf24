//! A small application that shows its color and release: text for curl, a page for a browser.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::domain::color::Color;

pub(super) struct Application {
    pub(super) address: SocketAddr,
}

impl Application {
    pub(super) async fn start(color: Color, release: &'static str) -> std::io::Result<Application> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let service = service_fn(move |request| {
                    std::future::ready(Ok::<_, Infallible>(answer(color, release, &request)))
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Application { address })
    }
}

fn answer(color: Color, release: &str, request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let accept = request.headers().get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let for_eyes = accept.starts_with(b"text/html");
    let (status, kind, body) = match request.uri().path() {
        "/" if for_eyes => (StatusCode::OK, "text/html; charset=utf-8", page(color, release).into()),
        "/" => (StatusCode::OK, "text/plain; charset=utf-8", format!("{color}, release {release}\n").into()),
        "/healthz" => (StatusCode::OK, "text/plain", Bytes::from_static(b"ok\n")),
        "/slow" => {
            let line = format!("{color}, release {release}\n").into();
            return Response::new(
                Slow { line, left: 60, pause: tokio::time::interval(Duration::from_secs(1)) }.boxed(),
            );
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"Try / or /slow.\n")),
    };
    let mut answer = Response::new(Full::new(body).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn page(color: Color, release: &str) -> String {
    let background = if color == Color::Blue { "#1d4ed8" } else { "#15803d" };
    format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=1><title>{color}</title>\
         <body style='margin:0;height:100vh;display:grid;place-items:center;background:{background};\
         color:white;font:600 8vmin system-ui'>{color}, release {release}\n"
    )
}

struct Slow {
    line: Bytes,
    left: u32,
    pause: tokio::time::Interval,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.pause.poll_tick(cx));
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.line.clone()))))
    }
}
