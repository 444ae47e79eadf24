//! The export of spans to a collector: a task of its own on the control runtime, so that no request waits for it.
//!
//! It empties the workers' queues several times a second. While a collector is slow or away, the queues fill and drop:
//! memory has a bound.

mod otlp;
mod post;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, ServiceConfig, TraceConfig};
use crate::control::spans::post::{Answer, Poster};
use crate::evidence::routes::Routes;
use crate::telemetry::spans::{RequestSpans, SpanQueues, Waiting};

/// Interval of emptying the queues.
const GATHER: Duration = Duration::from_millis(200);
/// Requests in one post.
const BATCH: usize = 256;
/// Pauses between the attempts at one batch (OTLP 1.x, "Retryable Response Codes").
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For the last spans of a process.
const LAST_POSTS: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    trace: TraceConfig,
    service: ServiceConfig,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    rejected: AtomicU64,
    unreachable: AtomicU64,
}

/// Spans so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanCounts {
    pub(super) exported: u64,
    /// By a collector that answers with an error.
    pub(super) rejected: u64,
    pub(super) unreachable: u64,
}

#[derive(Debug)]
pub(super) struct Spans {
    /// Its drop ends the task.
    settings: watch::Sender<Settings>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Spans {
    pub(super) fn start(config: &Config, queues: &SpanQueues, routes: &Arc<Routes>) -> Spans {
        let (settings, changes) = watch::channel(Settings::of(config));
        let counts = Arc::<Counts>::default();
        let exporter = Exporter {
            waiting: queues.take(),
            routes: Arc::clone(routes),
            counts: Arc::clone(&counts),
            changes,
            fails: false,
        };
        Spans { settings, counts, task: tokio::spawn(exporter.run()) }
    }

    pub(super) fn configure(&self, config: &Config) {
        let settings = Settings::of(config);
        self.settings.send_if_modified(|current| {
            let changes = *current != settings;
            *current = settings;
            changes
        });
    }

    pub(super) fn counts(&self) -> SpanCounts {
        let Counts { exported, rejected, unreachable } = &*self.counts;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpanCounts { exported: load(exported), rejected: load(rejected), unreachable: load(unreachable) }
    }

    /// Sends the last spans, if that is quick.
    pub(super) async fn finish(self) {
        let Spans { settings, mut task, .. } = self;
        drop(settings);
        if tokio::time::timeout(LAST_POSTS, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Settings {
    fn of(config: &Config) -> Settings {
        Settings { trace: config.trace.clone(), service: config.service.clone() }
    }
}

struct Exporter {
    waiting: Vec<Waiting>,
    routes: Arc<Routes>,
    counts: Arc<Counts>,
    changes: watch::Receiver<Settings>,
    /// The last batch did not arrive.
    fails: bool,
}

enum Next {
    Gather,
    Configure,
    Stop,
}

impl Exporter {
    async fn run(mut self) {
        loop {
            let settings = self.changes.borrow_and_update().clone();
            let mut poster = Poster::of(&settings.trace);
            let stops = loop {
                let next = self.pause(poster.is_some().then_some(GATHER)).await;
                if let Some(poster) = poster.as_mut().filter(|_| !matches!(next, Next::Configure)) {
                    self.empty(poster, &settings).await;
                }
                match next {
                    Next::Gather => {}
                    Next::Configure => break false,
                    Next::Stop => break true,
                }
            };
            if stops {
                return;
            }
        }
    }

    /// `None`: until a change or the end.
    async fn pause(&mut self, time: Option<Duration>) -> Next {
        let sleep = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.changes.changed() => if changed.is_ok() { Next::Configure } else { Next::Stop },
            () = sleep => Next::Gather,
        }
    }

    async fn empty(&mut self, poster: &mut Poster, settings: &Settings) {
        loop {
            let mut batch = Vec::new();
            for queue in &mut self.waiting {
                while batch.len() < BATCH
                    && let Ok(spans) = queue.try_recv()
                {
                    batch.push(spans);
                }
            }
            if batch.is_empty() {
                return;
            }
            self.deliver(poster, settings, &batch).await;
            if batch.len() < BATCH {
                return;
            }
        }
    }

    async fn deliver(&mut self, poster: &mut Poster, settings: &Settings, batch: &[Box<RequestSpans>]) {
        let count = batch.iter().map(|spans| spans.count() as u64).sum();
        let body = otlp::document(&settings.trace.service, &settings.service, batch, &self.routes);
        let mut pauses = PAUSES.into_iter();
        loop {
            match poster.post(body.clone()).await {
                Answer::Taken { rejected, reason } => {
                    let rejected = rejected.min(count);
                    self.counts.exported.fetch_add(count - rejected, Ordering::Relaxed);
                    self.counts.rejected.fetch_add(rejected, Ordering::Relaxed);
                    return self.note(poster, (rejected > 0).then_some(&reason));
                }
                Answer::Rejected(reason) => {
                    self.counts.rejected.fetch_add(count, Ordering::Relaxed);
                    return self.note(poster, Some(&reason));
                }
                Answer::Failed { reason, patience } => {
                    self.note(poster, Some(&reason));
                    let again = match pauses.next() {
                        Some(pause) => {
                            let pause = patience.unwrap_or(pause).min(LONGEST_PAUSE);
                            let next = self.pause(Some(pause)).await;
                            if matches!(next, Next::Configure) {
                                // For the loop around.
                                self.changes.mark_changed();
                            }
                            matches!(next, Next::Gather)
                        }
                        None => false,
                    };
                    if !again {
                        self.counts.unreachable.fetch_add(count, Ordering::Relaxed);
                        return;
                    }
                }
            }
        }
    }

    /// One line per change between success and failure.
    fn note(&mut self, poster: &Poster, failure: Option<&str>) {
        let collector = poster.endpoint();
        match failure {
            Some(reason) if !self.fails => tracing::warn!(collector, reason, "Spans not exported"),
            None if self.fails => tracing::info!(collector, "Spans exported again"),
            _ => {}
        }
        self.fails = failure.is_some();
    }
}
