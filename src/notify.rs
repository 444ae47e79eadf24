//! Notices to people and programs: Slack, and webhooks by Standard Webhooks.
//!
//! The ledger is the outbox: one `fdatasync` makes a decision and its notice durable. An [`id`] is derived from the
//! event, and each sink stores its progress ([`cursor`]), so a crash at any moment loses no notice and gives none a
//! second id. [`Notifier::tell`] never waits.

mod cursor;
mod deliver;
pub(crate) mod event;
mod http;
pub(crate) mod id;
mod proxy;
pub(crate) mod queue;
pub(crate) mod schedule;
mod slack;
mod webhook;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use crate::config::{NotifyConfig, ServiceConfig};
use crate::domain::notice::NoticeEvent;
use crate::domain::transition::Transition;
use crate::notify::cursor::{Found, Memory};
use crate::notify::deliver::{Sink, SinkCommand};
use crate::notify::event::{Moment, Notice, Teller, samples, served_since};
use crate::notify::id::EventId;
use crate::notify::queue::{Cursor, Queue, Record};
use crate::notify::schedule::GIVE_UP;

/// The longest time that the start waits for the first memory of a sink on disk.
const FIRST_MEMORY: Duration = Duration::from_secs(2);

/// A report about a failing sink, for the other sinks.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    pub sink: String,
    pub why: String,
    /// Pending notices.
    pub waiting: usize,
    pub since: Duration,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SinkStatus {
    pub pending: usize,
    /// Failed attempts.
    pub failures: u64,
    /// Notices given up.
    pub dropped: u64,
    /// The last attempt failed.
    pub failing: bool,
    pub last_success: Option<SystemTime>,
    pub last_error: Option<(SystemTime, String)>,
    /// The receiver answered 410, and gets nothing until its address changes.
    pub gone_since: Option<String>,
}

/// The result of one test notice.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub sink: String,
    pub event: NoticeEvent,
    pub delivered: bool,
    /// The status, or the reason of the failure.
    pub detail: String,
    pub took: Duration,
}

#[derive(Debug)]
struct Handle {
    config: NotifyConfig,
    orders: mpsc::UnboundedSender<SinkCommand>,
    status: watch::Receiver<SinkStatus>,
}

/// All sinks. Dropping it ends them; their pending notices come after the next start.
#[derive(Debug)]
pub(crate) struct Notifier {
    dir: PathBuf,
    sinks: BTreeMap<String, Handle>,
    service: ServiceConfig,
    teller: Teller,
    alarms: mpsc::UnboundedSender<Alarm>,
}

/// A line of the ledger with its number.
pub(crate) type RecordedLine = (u64, Arc<Transition>);

impl Notifier {
    #[must_use]
    pub(crate) fn new(dir: PathBuf, service: ServiceConfig, alarms: mpsc::UnboundedSender<Alarm>) -> Notifier {
        Notifier { dir, sinks: BTreeMap::new(), teller: Teller::new(service.clone()), service, alarms }
    }

    #[must_use]
    pub(crate) fn teller(&self) -> &Teller {
        &self.teller
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Applies a configuration. A sink catches up from `lines`, the ledger with the oldest line first. `at_start`, the
    /// memory of a new sink is on disk before anything can happen.
    pub(crate) fn configure(
        &mut self,
        sinks: &[NotifyConfig],
        service: &ServiceConfig,
        lines: &[RecordedLine],
        at_start: bool,
    ) {
        if *service != self.service {
            self.service = service.clone();
            self.teller = Teller::new(service.clone());
        }
        self.sinks.retain(|name, _| sinks.iter().any(|config| config.name == *name));
        for config in sinks {
            match self.sinks.get_mut(&config.name) {
                Some(known) if known.config == *config => {}
                Some(known) => {
                    known.config = config.clone();
                    let _ = known.orders.send(SinkCommand::Configure(config.clone()));
                }
                None => {
                    let handle = self.start(config, lines, at_start);
                    self.sinks.insert(config.name.clone(), handle);
                }
            }
        }
    }

    fn start(&self, config: &NotifyConfig, lines: &[RecordedLine], at_start: bool) -> Handle {
        let path = cursor::path(&self.dir, &config.name);
        let (orders, inbox) = mpsc::unbounded_channel();
        let (status, shown) = watch::channel(SinkStatus::default());
        let (alarms, teller, lines) = (self.alarms.clone(), Teller::new(self.service.clone()), lines.to_vec());
        let found = at_start.then(|| remembered(&path, &config.name, &lines, true));
        let handle = Handle { config: config.clone(), orders, status: shown };
        let config = config.clone();
        tokio::spawn(async move {
            let ((memory, stored), lines) = match found {
                Some(found) => (found, lines),
                // The controller must not wait for a hung disk.
                None => {
                    let (path, name) = (path.clone(), config.name.clone());
                    let read = tokio::task::spawn_blocking(move || (remembered(&path, &name, &lines, false), lines));
                    let Ok(read) = read.await else { return };
                    read
                }
            };
            let missed = missed(&teller, &lines, &memory.cursor);
            drop(lines);
            let queue = Queue::new(config.retry.clone(), memory.cursor.clone());
            let sink = Sink { config, queue, gone: memory.gone, stored, path, orders: inbox, status, alarms };
            sink.run(missed).await;
        });
        handle
    }

    pub(crate) fn tell(&self, notice: Notice, record: Record) {
        let notice = Arc::new(notice);
        for sink in self.sinks.values() {
            let _ = sink.orders.send(SinkCommand::Tell(Arc::clone(&notice), record));
        }
    }

    /// The line of an earlier notice is on disk now.
    pub(crate) fn recorded(&self, transition: &Transition, sequence: u64) {
        if self.sinks.is_empty() {
            return;
        }
        let id = EventId::of_transition(transition);
        for sink in self.sinks.values() {
            let _ = sink.orders.send(SinkCommand::Recorded(id.clone(), sequence));
        }
    }

    pub(crate) fn alarm(&self, alarm: &Alarm) {
        let Alarm { sink: failing, why, waiting, since } = alarm;
        let notice = self.teller.notify_failed(SystemTime::now(), failing, why, *waiting, *since);
        let notice = Arc::new(notice);
        for (_, sink) in self.sinks.iter().filter(|(name, _)| *name != failing) {
            let _ = sink.orders.send(SinkCommand::Tell(Arc::clone(&notice), Record::Passing));
        }
    }

    #[must_use]
    pub(crate) fn status(&self) -> Vec<(String, SinkStatus)> {
        self.sinks.iter().map(|(name, sink)| (name.clone(), sink.status.borrow().clone())).collect()
    }

    /// Sends a test notice, or with `all` one of every kind, to one sink or to all; `None`: there is no such sink.
    #[must_use]
    pub(crate) fn test(
        &self,
        only: Option<&str>,
        all: bool,
    ) -> Option<impl Future<Output = Vec<Tried>> + Send + 'static> {
        let chosen: Vec<_> =
            self.sinks.values().filter(|sink| only.is_none_or(|only| only == sink.config.name)).collect();
        if chosen.is_empty() {
            return None;
        }
        let mut tests = Vec::new();
        for sink in chosen {
            let (config, orders) = (sink.config.clone(), sink.orders.clone());
            let mut samples = samples(&self.service, SystemTime::now());
            if !all {
                // A kind that this sink gets in an incident.
                let wanted = samples.iter().position(|sample| config.wants(sample.event, sample.severity));
                samples = vec![samples.swap_remove(wanted.unwrap_or(0))];
            }
            tests.push(tokio::spawn(async move {
                let tried = deliver::test(config, samples).await;
                if tried.iter().any(|tried| tried.delivered) {
                    let _ = orders.send(SinkCommand::Works);
                }
                tried
            }));
        }
        Some(async move {
            let mut all = Vec::new();
            for test in tests {
                all.extend(test.await.unwrap_or_default());
            }
            all
        })
    }
}

/// A sink's memory, and the part of it that is on disk. Blocks on the disk.
fn remembered(path: &std::path::Path, sink: &str, lines: &[RecordedLine], at_start: bool) -> (Memory, Option<Memory>) {
    match cursor::load(path) {
        Found::Memory(memory) => (memory.clone(), Some(memory)),
        // A new sink gets notices about later events only.
        Found::Nothing => {
            let sequence = lines.last().map_or(0, |(sequence, _)| *sequence);
            let memory = Memory { cursor: Cursor { sequence, ..Cursor::default() }, gone: None };
            let stored = at_start && store_now(path, &memory);
            (memory.clone(), stored.then_some(memory))
        }
        Found::Damaged(error) => {
            tracing::error!(sink, error, "Progress of notices unreadable; those of the last day are sent again");
            let now = SystemTime::now();
            let old = |line: &&RecordedLine| now.duration_since(line.1.at).unwrap_or_default() >= GIVE_UP;
            let sequence = lines.iter().take_while(old).last().map_or(0, |(sequence, _)| *sequence);
            (Memory { cursor: Cursor { sequence, ..Cursor::default() }, gone: None }, None)
        }
    }
}
fn missed(teller: &Teller, lines: &[RecordedLine], cursor: &Cursor) -> Vec<SinkCommand> {
    let mut orders = Vec::new();
    for (index, (sequence, transition)) in lines.iter().enumerate() {
        if cursor.has(*sequence) {
            continue;
        }
        let served_since = served_since(transition, lines[..index].iter().rev());
        let moment = Moment { served_since, ..Moment::default() };
        if let Some(notice) = teller.transition(transition, &moment) {
            orders.push(SinkCommand::Tell(Arc::new(notice), Record::Line(*sequence)));
        }
    }
    orders
}

/// Writes the first memory of a sink; false: not on disk in time.
fn store_now(path: &std::path::Path, memory: &Memory) -> bool {
    let (done, stored) = std::sync::mpsc::channel();
    let (path, memory) = (path.to_owned(), memory.clone());
    tokio::task::spawn_blocking(move || done.send(cursor::store(&path, &memory)));
    match stored.recv_timeout(FIRST_MEMORY) {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "Progress of a new sink not written");
            false
        }
        Err(_) => false,
    }
}
