//! One task per sink: it accepts notices at any time, sends one at a time, and stores its progress. A slow receiver or
//! disk delays nothing but this sink.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::receiver::{ReceiverUrl, Source};
use crate::config::{NotifyConfig, NotifyKind, Secret};
use crate::domain::clock::Now;
use crate::notify::cursor::{self, Gone, Memory};
use crate::notify::event::Notice;
use crate::notify::http::{self, Delivery};
use crate::notify::id::EventId;
use crate::notify::queue::{Next, Queue, Record};
use crate::notify::{Alarm, SinkStatus, Tried, slack, webhook};

/// The pause after a failed write of the memory.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// The longest time that a sink waits for a file outside of an attempt.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that a test obeys.
const TEST_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum SinkCommand {
    Tell(Arc<Notice>, Record),
    /// The line of a notice is on disk.
    Recorded(EventId, u64),
    Configure(NotifyConfig),
    /// A test succeeded.
    Works,
}

type Attempt = Pin<Box<dyn Future<Output = (Delivery, Option<String>)> + Send>>;

pub(super) struct Sink {
    pub(super) config: NotifyConfig,
    pub(super) queue: Queue,
    pub(super) gone: Option<Gone>,
    /// The memory on disk.
    pub(super) stored: Option<Memory>,
    pub(super) path: PathBuf,
    pub(super) orders: mpsc::UnboundedReceiver<SinkCommand>,
    pub(super) status: watch::Sender<SinkStatus>,
    pub(super) alarms: mpsc::UnboundedSender<Alarm>,
}

impl Sink {
    /// `missed` comes before every other order.
    pub(super) async fn run(mut self, missed: Vec<SinkCommand>) {
        for order in missed {
            self.obey(order).await;
        }
        let mut under_way: Option<(EventId, Attempt)> = None;
        let mut storing: Option<JoinHandle<(Memory, std::io::Result<()>)>> = None;
        let mut store_at = Instant::now();
        // The log has the failure.
        let mut unstored = false;
        self.look_whether_gone().await;
        loop {
            let now = now();
            let given_up = self.queue.give_up(now.mono);
            if given_up > 0 {
                tracing::error!(
                    sink = self.config.name,
                    dropped = given_up,
                    "Notices given up: not delivered within a day"
                );
            }
            if let Some(since) = self.queue.alarm(now.mono) {
                self.raise(since);
            }
            let mut wake = None;
            if under_way.is_none() && self.gone.is_none() {
                match self.queue.next(now.mono) {
                    Next::Send(notice, record) => {
                        under_way = Some((notice.id.clone(), Box::pin(attempt(self.config.clone(), notice, record))));
                    }
                    Next::At(at) => wake = Some(at),
                    Next::Nothing => {}
                }
            }
            let memory = Memory { cursor: self.queue.cursor().clone(), gone: self.gone.clone() };
            if storing.is_none() && self.stored.as_ref() != Some(&memory) {
                if store_at <= now.mono {
                    let path = self.path.clone();
                    storing = Some(tokio::task::spawn_blocking(move || {
                        let stored = cursor::store(&path, &memory);
                        (memory, stored)
                    }));
                } else {
                    wake = Some(wake.map_or(store_at, |wake| wake.min(store_at)));
                }
            }
            self.show();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                (outcome, address) = finished(&mut under_way) => {
                    if let Some((id, _)) = under_way.take() {
                        self.came_back(&id, outcome, address);
                    }
                }
                stored = finished_storing(&mut storing) => {
                    storing = None;
                    match stored {
                        Ok((memory, Ok(()))) => {
                            self.stored = Some(memory);
                            if std::mem::take(&mut unstored) {
                                tracing::info!(sink = self.config.name, "Progress of notices on disk again");
                            }
                        }
                        Ok((_, Err(error))) if unstored => {
                            tracing::debug!(sink = self.config.name, %error, "Progress of notices not on disk");
                            store_at = Instant::now() + WRITE_AGAIN;
                        }
                        Ok((_, Err(error))) => {
                            unstored = true;
                            tracing::warn!(sink = self.config.name, %error, "Progress of notices not written; a restart repeats some");
                            store_at = Instant::now() + WRITE_AGAIN;
                        }
                        Err(_) => store_at = Instant::now() + WRITE_AGAIN,
                    }
                }
                () = until(wake) => {}
            }
        }
    }

    async fn obey(&mut self, order: SinkCommand) {
        match order {
            SinkCommand::Tell(notice, record) => {
                if self.gone.is_some() {
                    self.look_whether_gone().await;
                }
                match record {
                    _ if self.gone.is_none() && self.config.wants(notice.event, notice.severity) => {
                        self.queue.add(now(), notice, record);
                    }
                    Record::Line(sequence) => self.queue.skip(sequence),
                    Record::Passing | Record::Unwritten => {}
                }
            }
            SinkCommand::Recorded(id, sequence) => self.queue.recorded(now(), &id, sequence),
            SinkCommand::Configure(config) => {
                self.queue.replan(config.retry.clone());
                self.config = config;
                self.look_whether_gone().await;
            }
            SinkCommand::Works => {
                self.gone = None;
                self.queue.works();
                self.succeeded();
            }
        }
    }

    fn came_back(&mut self, id: &EventId, outcome: Delivery, address: Option<String>) {
        let sink = &self.config.name;
        match outcome {
            Delivery::Delivered(_) => {
                self.queue.succeeded(id);
                self.succeeded();
            }
            Delivery::Gone => {
                let why = "the receiver answered 410: it is gone";
                tracing::error!(sink, "Sink disabled until its address changes: the receiver answered 410");
                self.failed(why);
                self.gone = Some(Gone {
                    since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                    address: address.unwrap_or_default(),
                });
                self.raise(Duration::ZERO);
                self.queue.clear();
            }
            Delivery::Failed { why, patience, .. } => {
                self.queue.failed(now(), id, patience, fastrand::f64());
                tracing::warn!(sink, reason = why, waiting = self.queue.waiting(), "Notice not delivered; retrying");
                self.failed(&why);
            }
        }
    }

    /// A receiver at a new address gets notices again.
    async fn look_whether_gone(&mut self) {
        let Some(gone) = &self.gone else { return };
        if fingerprint(&self.config.url).await.is_some_and(|address| address != gone.address) {
            tracing::info!(sink = self.config.name, "Sink enabled again: its address changed");
            self.gone = None;
        }
    }

    fn raise(&self, since: Duration) {
        let why = self.status.borrow().last_error.as_ref().map(|(_, why)| why.clone()).unwrap_or_default();
        let waiting = self.queue.waiting();
        let _ = self.alarms.send(Alarm { sink: self.config.name.clone(), why, waiting, since });
    }

    fn succeeded(&self) {
        if self.status.borrow().failing {
            tracing::info!(sink = self.config.name, waiting = self.queue.waiting(), "Notices get through again");
        }
        self.status.send_modify(|status| {
            status.last_success = Some(SystemTime::now());
            status.failing = false;
        });
    }

    fn failed(&self, why: &str) {
        self.status.send_modify(|status| {
            status.last_error = Some((SystemTime::now(), why.to_owned()));
            status.failures += 1;
            status.failing = true;
        });
    }

    fn show(&self) {
        let (pending, dropped) = (self.queue.waiting(), self.queue.dropped());
        self.status.send_if_modified(|status| {
            let gone = self.gone.as_ref().map(|gone| gone.since.clone());
            let changed = (status.pending, status.dropped) != (pending, dropped) || status.gone_since != gone;
            (status.pending, status.dropped, status.gone_since) = (pending, dropped, gone);
            changed
        });
    }
}

/// The result, and a hash of the address.
async fn attempt(config: NotifyConfig, notice: Arc<Notice>, record: Record) -> (Delivery, Option<String>) {
    // Read for each attempt, so that replacing a file rotates its secret; on another thread, since the file system may
    // hang.
    let sources = config.clone();
    let read = tokio::task::spawn_blocking(move || secrets(&sources));
    let (url, address, keys) = match tokio::time::timeout(config.timeout, read).await {
        Ok(Ok(Ok(read))) => read,
        Ok(Ok(Err(why))) => return (Delivery::failed(why), None),
        Err(_) => return (Delivery::failed("the files of the secrets gave no answer in time"), None),
        Ok(Err(_)) => return (Delivery::failed("the secrets could not be read"), None),
    };
    let (body, headers) = match &config.kind {
        NotifyKind::Slack => (slack::render(&notice, record != Record::Unwritten), Vec::new()),
        NotifyKind::Webhook { .. } => {
            let sequence = match record {
                Record::Passing => None,
                Record::Unwritten => Some(0),
                Record::Line(sequence) => Some(sequence),
            };
            let body = webhook::render(&notice, sequence);
            let headers = webhook::headers(notice.id.as_str(), SystemTime::now(), &body, &keys);
            (body, headers.to_vec())
        }
    };
    (http::post(&url, &headers, body, config.timeout).await, Some(address))
}

type Secrets = (ReceiverUrl, String, Vec<aws_lc_rs::hmac::Key>);

fn secrets(config: &NotifyConfig) -> Result<Secrets, String> {
    let text = config.url.read()?;
    let url = ReceiverUrl::parse(&text.0).ok_or_else(|| format!("what stands in {} is no address", config.url))?;
    let keys = match &config.kind {
        NotifyKind::Slack => Vec::new(),
        NotifyKind::Webhook { secrets } => secrets
            .iter()
            .map(|source| {
                let secret = source.read()?;
                webhook::key(&secret.0).ok_or_else(|| format!("what stands in {source} is no signing secret"))
            })
            .collect::<Result<_, _>>()?,
    };
    Ok((url, hashed(&text), keys))
}

async fn fingerprint(source: &Source) -> Option<String> {
    let source = source.clone();
    let read = tokio::task::spawn_blocking(move || source.read());
    let text = tokio::time::timeout(FILE_PATIENCE, read).await.ok()?.ok()?.ok()?;
    Some(hashed(&text))
}

fn hashed(text: &Secret) -> String {
    digest(&SHA256, text.0.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Sends every sample, one after the other, whatever the sink's filters are.
pub(super) async fn test(config: NotifyConfig, samples: Vec<Notice>) -> Vec<Tried> {
    let mut all = Vec::new();
    let mut unreachable = None;
    for sample in samples {
        let (event, began) = (sample.event, Instant::now());
        if let Some(why) = &unreachable {
            let detail = format!("not tried: {why}");
            all.push(Tried { sink: config.name.clone(), event, delivered: false, detail, took: Duration::ZERO });
            continue;
        }
        let sample = Arc::new(sample);
        let mut outcome = attempt(config.clone(), Arc::clone(&sample), Record::Passing).await.0;
        // Slack accepts about one message per second.
        if let Delivery::Failed { patience: Some(patience), .. } = &outcome
            && *patience <= TEST_PATIENCE
        {
            tokio::time::sleep(*patience).await;
            outcome = attempt(config.clone(), sample, Record::Passing).await.0;
        }
        let (delivered, detail) = match outcome {
            Delivery::Delivered(status) => (true, status.to_string()),
            Delivery::Gone => (false, "the receiver answered 410: it is gone".to_owned()),
            Delivery::Failed { why, answered, .. } => {
                unreachable = (!answered).then(|| why.clone());
                (false, why)
            }
        };
        all.push(Tried { sink: config.name.clone(), event, delivered, detail, took: began.elapsed() });
    }
    all
}

async fn finished(under_way: &mut Option<(EventId, Attempt)>) -> (Delivery, Option<String>) {
    match under_way {
        Some((_, attempt)) => attempt.await,
        None => std::future::pending().await,
    }
}

async fn finished_storing<T>(storing: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match storing {
        Some(storing) => storing.await,
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

fn now() -> Now {
    Now { mono: Instant::now(), wall: SystemTime::now() }
}
