//! The spans of sampled requests, on their way from the workers to the exporter.
//!
//! Each worker has a bounded queue. A full one drops the spans of a request and counts them: no request waits.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use crate::telemetry::meter::Count;
use crate::telemetry::trace::TraceContext;

/// Requests that wait for the exporter, per worker.
const WAITING: usize = 2048;

/// A finished request: the span of the server, and one for each attempt.
#[derive(Debug)]
pub(crate) struct RequestSpans {
    /// The trace, with the span of the server.
    pub context: TraceContext,
    /// The span of the client, if it named one.
    pub parent: Option<u64>,
    pub began: SystemTime,
    pub duration: Duration,
    pub method: String,
    /// Without the query, which may hold secrets.
    pub path: String,
    pub host: String,
    pub scheme: &'static str,
    pub protocol: &'static str,
    pub client: IpAddr,
    pub user_agent: Option<String>,
    pub request_id: String,
    /// The number of the route by which the release is judged.
    pub route: Option<usize>,
    /// As in the access log; 0: no answer.
    pub status: u16,
    pub grpc_status: Option<u16>,
    pub error: Option<&'static str>,
    pub generation: u64,
    pub preview: bool,
    pub retries: u32,
    pub attempts: Vec<AttemptSpan>,
}

/// A request to an endpoint, from its choice to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct AttemptSpan {
    pub id: u64,
    /// Since the begin of the request.
    pub began: Duration,
    /// `None`: it ends with the request.
    pub ended: Option<Duration>,
    pub color: &'static str,
    pub release: Arc<str>,
    pub upstream: Arc<str>,
    pub endpoint: Box<str>,
    /// 0: no answer.
    pub status: u16,
    pub error: Option<&'static str>,
}

impl RequestSpans {
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        1 + self.attempts.len()
    }
}

pub(crate) type Waiting = mpsc::Receiver<Box<RequestSpans>>;

/// The end of one worker. Padded so that two workers never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct SpanQueue {
    sender: mpsc::Sender<Box<RequestSpans>>,
    /// Spans that found the queue full.
    dropped: Count,
}

impl SpanQueue {
    /// Only for the worker that owns the queue.
    pub(crate) fn push(&self, spans: Box<RequestSpans>) {
        let count = spans.count();
        if self.sender.try_send(spans).is_err() {
            self.dropped.add(count as u64);
        }
    }
}

/// The queues of all workers.
#[derive(Debug)]
pub(crate) struct SpanQueues {
    queues: Box<[SpanQueue]>,
    waiting: Mutex<Vec<Waiting>>,
}

impl SpanQueues {
    #[must_use]
    pub(crate) fn new(workers: usize) -> SpanQueues {
        let (senders, waiting): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(WAITING)).unzip();
        let queues = senders.into_iter().map(|sender| SpanQueue { sender, dropped: Count::default() }).collect();
        SpanQueues { queues, waiting: Mutex::new(waiting) }
    }

    #[must_use]
    pub(crate) fn of(&self, worker: usize) -> &SpanQueue {
        &self.queues[worker]
    }

    /// The exporter's ends. Once.
    pub(crate) fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.queues.iter().map(|queue| queue.dropped.get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Box<RequestSpans> {
        Box::new(RequestSpans {
            context: TraceContext::begin(true),
            parent: None,
            began: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: String::new(),
            scheme: "http",
            protocol: "HTTP/1.1",
            client: IpAddr::from([127, 0, 0, 1]),
            user_agent: None,
            request_id: String::new(),
            route: None,
            status: 200,
            grpc_status: None,
            error: None,
            generation: 1,
            preview: false,
            retries: 0,
            attempts: Vec::new(),
        })
    }

    #[test]
    fn a_full_queue_drops_and_counts_without_a_wait() {
        let queues = SpanQueues::new(2);
        let mut waiting = queues.take();
        for _ in 0..WAITING + 3 {
            queues.of(0).push(spans());
        }
        queues.of(1).push(spans());
        assert_eq!(queues.dropped(), 3);
        let mut found = waiting.iter_mut().map(|queue| std::iter::from_fn(|| queue.try_recv().ok()).count());
        assert_eq!((found.next(), found.next()), (Some(WAITING), Some(1)));
        assert!(queues.take().is_empty());
    }
}
