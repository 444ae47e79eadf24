//! The snapshot that serves, and the counts that all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use crate::evidence::routes::Routes;
use crate::proxy::per_client::PerClient;
use crate::proxy::queue::Queue;
use crate::proxy::snapshot::Snapshot;
use crate::telemetry::refused::Refusals;
use crate::telemetry::spans::SpanQueues;
use crate::tls::ServerTls;

/// A request is admitted by one snapshot; only the [`Publisher`](crate::proxy::publisher::Publisher) changes it.
#[derive(Debug)]
pub struct Live {
    snapshot: ArcSwapOption<Snapshot>,
    ready: AtomicBool,
    tls: ArcSwapOption<ServerTls>,
    connections: Box<[Connections]>,
    pub(crate) refused: Box<[Refusals]>,
    /// Connections that are being closed to make room.
    pub(crate) leaving: AtomicUsize,
    pub(crate) per_client: Arc<PerClient>,
    pub(crate) queue: Queue,
    pub(crate) routes: Arc<Routes>,
    pub(crate) spans: SpanQueues,
    /// Accepting workers; one that has stopped may still hand a connection over.
    accepting: AtomicUsize,
}

#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) by_listener: [AtomicUsize; 3],
}

impl Connections {
    pub(crate) fn all(&self) -> usize {
        self.by_listener.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[derive(Debug)]
pub(crate) struct Accepting(Arc<Live>);

impl Accepting {
    pub(crate) fn begin(live: &Arc<Live>) -> Accepting {
        live.accepting.fetch_add(1, Ordering::SeqCst);
        Accepting(Arc::clone(live))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Live {
    pub(crate) fn new(workers: usize) -> Arc<Live> {
        Arc::new(Live {
            snapshot: ArcSwapOption::empty(),
            ready: AtomicBool::new(false),
            tls: ArcSwapOption::empty(),
            connections: (0..workers).map(|_| Connections::default()).collect(),
            refused: (0..workers).map(|_| Refusals::default()).collect(),
            leaving: AtomicUsize::new(0),
            per_client: Arc::default(),
            queue: Queue::default(),
            routes: Routes::new(workers),
            spans: SpanQueues::new(workers),
            accepting: AtomicUsize::new(0),
        })
    }

    /// Reads the live snapshot. The closure can't await, so a slow request never keeps an old snapshot alive, and never
    /// delays a switch.
    pub fn with<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        let guard = self.snapshot.load();
        read(guard.as_ref().expect("workers start after the first snapshot is published"))
    }

    pub(crate) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.load().as_ref().map(|tls| tls.config())
    }

    pub(super) fn swap(&self, snapshot: Snapshot) -> Option<Arc<Snapshot>> {
        self.snapshot.swap(Some(Arc::new(snapshot)))
    }

    pub(super) fn set_tls(&self, tls: Option<Arc<ServerTls>>) {
        self.tls.store(tls);
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> &[Connections] {
        &self.connections
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.accepting.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.connections.iter().map(Connections::all).sum()
    }
}
