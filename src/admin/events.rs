//! `GET /admin/events`: server-sent events (WHATWG HTML, 9.2): each transition as it happens, and the status each
//! second.
//!
//! A client with `Last-Event-ID` gets the transitions it missed. A slow reader loses events and is told how many
//! (`lagged`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast, mpsc};

use crate::admin::api::{LaggedEvent, Problem, StatusAnswer};
use crate::admin::convert::event;
use crate::admin::handlers::MAX_NUMBER;
use crate::control::handle::{ControllerHandle, News, Request, Stopping};
use crate::domain::history::Filter;

/// Half of the connections, so that commands always find a place.
const LISTENERS: usize = super::places::CONNECTIONS / 2;
const WAITING: usize = 16;
const REPLAYED: usize = 1000;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new() -> Places {
        Places(Arc::new(Semaphore::new(LISTENERS)))
    }
}

/// Every transition, drain, health change and reload as it happens; the status each second.
#[utoipa::path(get, path = "/admin/events", params(("Last-Event-ID" = Option<String>, Header, description = "The number of the last transition seen; the ones after it are sent again")),
    responses((status = 400, description = "`bad_request`", body = Problem, content_type = "application/problem+json"),
        (status = 200, content_type = "text/event-stream", body = String, description = "Events `transition`, `drained`, `hold`, `health`, `reloaded`, `numbers`, `status`, `lagged`"),
        (status = 503, description = "`too_many_listeners`", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(handle): State<ControllerHandle>,
    Extension(Places(places)): Extension<Places>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = match headers
        .get("last-event-id")
        .map(|last| last.to_str().ok().and_then(|last| last.trim().parse().ok().filter(|last| *last <= MAX_NUMBER)))
    {
        Some(None) => return Err(Problem::bad_request("Last-Event-ID is the number of a transition")),
        Some(Some(last)) => Some(last),
        None => None,
    };
    let place = places.try_acquire_owned().map_err(|_| {
        let detail = format!("{LISTENERS} clients listen already; ask for the status instead, or come again");
        Problem::new(503, "too_many_listeners", "Too many listeners", detail)
    })?;
    let (sender, body) = mpsc::channel(WAITING);
    // Subscribed before the history is read, so that nothing falls between.
    let news = handle.news.subscribe();
    tokio::spawn(async move {
        let _ = tell(&handle, news, last, &sender).await;
        drop(place);
    });
    let mut answer = Body::new(Events(body)).into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(answer)
}

async fn tell(
    handle: &ControllerHandle,
    mut news: broadcast::Receiver<News>,
    last: Option<u64>,
    client: &mpsc::Sender<Bytes>,
) -> Result<(), Stopping> {
    let send = async |bytes: Bytes| client.send(bytes).await.map_err(|_| Stopping);
    let mut told = last.unwrap_or(0);
    if let Some(last) = last {
        let missed = handle
            .ask(|answer| Request::History { limit: REPLAYED, before: None, filter: Filter::default(), answer })
            .await?;
        for (sequence, transition) in missed.iter().rev().filter(|(sequence, _)| *sequence > last) {
            send(written(&News::Transition(*sequence, transition.clone()))).await?;
            told = told.max(*sequence);
        }
    }
    let mut second = tokio::time::interval(SECOND);
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = client.closed() => return Err(Stopping),
            heard = news.recv() => match heard {
                // Sent already, from the history.
                Ok(News::Transition(sequence, _)) if sequence != 0 && sequence <= told => {}
                Ok(news) => send(written(&news)).await?,
                Err(RecvError::Lagged(missed)) => {
                    let data = serde_json::to_string(&LaggedEvent { missed }).unwrap_or_default();
                    send(format!("event: lagged\ndata: {data}\n\n").into()).await?;
                }
                Err(RecvError::Closed) => return Err(Stopping),
            },
            _ = second.tick() => {
                let status = handle.ask(Request::Status).await?;
                let data = serde_json::to_string(&StatusAnswer::new(&status)).unwrap_or_default();
                send(format!("event: status\ndata: {data}\n\n").into()).await?;
            }
        }
    }
}

/// One event as it goes over the wire. JSON has no bare line ends, so `data` is always one line.
fn written(news: &News) -> Bytes {
    let (name, data) = event(news);
    match news {
        News::Transition(sequence, _) if *sequence != 0 => format!("id: {sequence}\nevent: {name}\ndata: {data}\n\n"),
        News::Transition(..)
        | News::Drained(..)
        | News::Held(_)
        | News::Health { .. }
        | News::Reloaded(_)
        | News::Numbers(_) => {
            format!("event: {name}\ndata: {data}\n\n")
        }
    }
    .into()
}

struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
