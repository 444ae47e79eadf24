//! The open connections of the admin API. At the bound, the oldest one without a request is closed.
//!
//! Only complete requests of authorized senders count, so idle connections and guesses of tokens keep no operator out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub(super) const CONNECTIONS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Places {
    open: Mutex<Open>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Open {
    all: BTreeMap<u64, (Answering, AbortHandle)>,
    next: u64,
}

/// `true` while a connection has a complete request without an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Answering(Arc<AtomicBool>);

/// Given back by drop.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open().all.remove(&self.number);
        self.places.left.notify_one();
    }
}

impl Places {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.left.notified().await;
        }
    }

    fn has_room(&self) -> bool {
        let mut open = self.open();
        if open.all.len() < CONNECTIONS {
            return true;
        }
        let idle = open.all.iter().find(|(_, (answering, _))| !answering.0.load(Ordering::Relaxed));
        let Some(number) = idle.map(|(number, _)| *number) else { return false };
        if let Some((_, task)) = open.all.remove(&number) {
            task.abort();
        }
        true
    }

    pub(super) fn enter(self: &Arc<Places>, serve: impl FnOnce(Place, Answering) -> AbortHandle) {
        let answering = Answering::default();
        let number = {
            let mut open = self.open();
            open.next += 1;
            open.next
        };
        let place = Place { places: Arc::clone(self), number };
        // The task starts only after this one yields, so its place exists when it ends.
        let task = serve(place, answering.clone());
        self.open().all.insert(number, (answering, task));
    }
}

impl Answering {
    /// Counts an authorized request once all of it has arrived.
    pub(super) fn begin(&self, request: Request) -> Request {
        request.map(|body| {
            self.0.store(http_body::Body::is_end_stream(&body), Ordering::Relaxed);
            Body::new(Watched { body, answering: self.clone(), way: Way::In })
        })
    }

    /// Counts the request until its answer is written.
    pub(super) fn end(self, answer: Response) -> Response {
        answer.map(|body| Body::new(Watched { body, answering: self, way: Way::Out }))
    }
}

/// A body that reports its end, or its drop.
struct Watched {
    body: Body,
    answering: Answering,
    way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.way == Way::In && (matches!(polled, Poll::Ready(None)) || self.body.is_end_stream()) {
            self.answering.0.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.way == Way::Out {
            self.answering.0.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(places: &Arc<Places>, count: usize) -> Vec<Answering> {
        let mut entered = Vec::new();
        for _ in 0..count {
            places.enter(|place, answering| {
                entered.push(answering);
                tokio::spawn(async move {
                    let _place = place;
                    std::future::pending::<()>().await;
                })
                .abort_handle()
            });
        }
        entered
    }

    fn numbers(places: &Places) -> Vec<u64> {
        places.open().all.keys().copied().collect()
    }

    #[tokio::test]
    async fn the_oldest_connection_without_a_request_makes_room() {
        let places = Arc::new(Places::default());
        let entered = enter(&places, CONNECTIONS);
        entered[0].0.store(true, Ordering::Relaxed);
        places.room().await;
        enter(&places, 1);
        let numbers = numbers(&places);
        assert_eq!((numbers.len(), numbers[0], numbers[1]), (CONNECTIONS, 1, 3));
    }

    #[tokio::test]
    async fn where_all_are_answered_a_new_connection_waits_for_one_to_end() {
        let places = Arc::new(Places::default());
        let entered = enter(&places, CONNECTIONS);
        entered.iter().for_each(|answering| answering.0.store(true, Ordering::Relaxed));
        let mut room = std::pin::pin!(places.room());
        assert!(room.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        if let Some((_, task)) = places.open().all.get(&7) {
            task.abort();
        }
        room.await;
        assert_eq!(numbers(&places).len(), CONNECTIONS - 1);
    }
}
