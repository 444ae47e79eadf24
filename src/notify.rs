//! Tells people and programs what happened: Slack, and webhooks by Standard Webhooks.
//!
//! The ledger is the outbox: the line that makes a decision durable makes its notice durable too, in the same
//! `fdatasync`. An id is made of what happened ([`id`]), and each sink remembers how far it came ([`cursor`]); so a
//! crash at any moment loses no notice and gives none a second id. Whoever tells ([`Notifier::tell`]) never waits.

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
use crate::domain::notice::Event;
use crate::domain::transition::Transition;
use crate::notify::cursor::{Found, Memory};
use crate::notify::deliver::{Order, Sink};
use crate::notify::event::{Moment, Notice, Teller, samples, served_since};
use crate::notify::id::EventId;
use crate::notify::queue::{Cursor, Queue, Record};
use crate::notify::schedule::GIVE_UP;

/// How long the start waits for the disk to remember a new sink.
const FIRST_MEMORY: Duration = Duration::from_secs(2);

/// A sink that does not get through, for the others.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    /// Which.
    pub sink: String,
    /// The last error.
    pub why: String,
    /// How many notices wait for it.
    pub waiting: usize,
    /// For how long.
    pub since: Duration,
}

/// How a sink is doing.
#[derive(Clone, Debug, Default)]
pub(crate) struct SinkStatus {
    /// Notices that wait.
    pub pending: usize,
    /// Attempts that failed.
    pub failures: u64,
    /// Notices that were given up.
    pub dropped: u64,
    /// The last attempt failed.
    pub failing: bool,
    /// When the last one went through.
    pub last_success: Option<SystemTime>,
    /// When the last one failed, and why.
    pub last_error: Option<(SystemTime, String)>,
    /// The receiver said that it is gone; it gets nothing until its address changes.
    pub gone_since: Option<String>,
}

/// One notice of a test.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    /// To which sink.
    pub sink: String,
    /// Of which kind.
    pub event: Event,
    /// It got there.
    pub delivered: bool,
    /// What came back.
    pub detail: String,
    /// How long it took.
    pub took: Duration,
}

#[derive(Debug)]
struct Handle {
    config: NotifyConfig,
    orders: mpsc::UnboundedSender<Order>,
    status: watch::Receiver<SinkStatus>,
}

/// All sinks. Dropping it ends them; what they did not get to comes after the next start.
#[derive(Debug)]
pub(crate) struct Notifier {
    dir: PathBuf,
    sinks: BTreeMap<String, Handle>,
    service: ServiceConfig,
    teller: Teller,
    alarms: mpsc::UnboundedSender<Alarm>,
}

/// A line of the ledger that moved traffic or was refused.
pub(crate) type Line = (u64, Arc<Transition>);

impl Notifier {
    /// Without sinks yet. Alarms come back through `alarms`.
    #[must_use]
    pub(crate) fn new(dir: PathBuf, service: ServiceConfig, alarms: mpsc::UnboundedSender<Alarm>) -> Notifier {
        Notifier { dir, sinks: BTreeMap::new(), teller: Teller::new(service.clone()), service, alarms }
    }

    /// The words for this service.
    #[must_use]
    pub(crate) fn teller(&self) -> &Teller {
        &self.teller
    }

    /// Nobody is to be told, so that nothing has to be put into words.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Takes over a configuration. `lines`: the ledger, oldest first, for what a sink did not get to. `at_start`: a new
    /// sink is remembered before anything can happen.
    pub(crate) fn configure(
        &mut self,
        sinks: &[NotifyConfig],
        service: &ServiceConfig,
        lines: &[Line],
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
                    let _ = known.orders.send(Order::Configure(config.clone()));
                }
                None => {
                    let handle = self.start(config, lines, at_start);
                    self.sinks.insert(config.name.clone(), handle);
                }
            }
        }
    }

    fn start(&self, config: &NotifyConfig, lines: &[Line], at_start: bool) -> Handle {
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
                // The disk may hang, and the controller must not wait for it.
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

    /// Hands a notice to every sink, and comes back at once.
    pub(crate) fn tell(&self, notice: Notice, record: Record) {
        let notice = Arc::new(notice);
        for sink in self.sinks.values() {
            let _ = sink.orders.send(Order::Tell(Arc::clone(&notice), record));
        }
    }

    /// What was told before its line was on disk has one now.
    pub(crate) fn recorded(&self, transition: &Transition, sequence: u64) {
        if self.sinks.is_empty() {
            return;
        }
        let id = EventId::of_transition(transition);
        for sink in self.sinks.values() {
            let _ = sink.orders.send(Order::Recorded(id.clone(), sequence));
        }
    }

    /// Tells the others that a sink does not get through.
    pub(crate) fn alarm(&self, alarm: &Alarm) {
        let Alarm { sink: failing, why, waiting, since } = alarm;
        let notice = self.teller.notify_failed(SystemTime::now(), failing, why, *waiting, *since);
        let notice = Arc::new(notice);
        for (_, sink) in self.sinks.iter().filter(|(name, _)| *name != failing) {
            let _ = sink.orders.send(Order::Tell(Arc::clone(&notice), Record::Passing));
        }
    }

    /// How every sink is doing.
    #[must_use]
    pub(crate) fn status(&self) -> Vec<(String, SinkStatus)> {
        self.sinks.iter().map(|(name, sink)| (name.clone(), sink.status.borrow().clone())).collect()
    }

    /// Sends a notice to one sink or to all of them, or (`all`) every kind of notice; `None` if there is no such sink.
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
                // One that the sink is told of, so that the test is what an incident will be.
                let wanted = samples.iter().position(|sample| config.wants(sample.event, sample.severity));
                samples = vec![samples.swap_remove(wanted.unwrap_or(0))];
            }
            tests.push(tokio::spawn(async move {
                let tried = deliver::test(config, samples).await;
                if tried.iter().any(|tried| tried.delivered) {
                    let _ = orders.send(Order::Works);
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

/// How far a sink came, and what of that is on disk. Blocks as long as the disk does.
fn remembered(path: &std::path::Path, sink: &str, lines: &[Line], at_start: bool) -> (Memory, Option<Memory>) {
    match cursor::load(path) {
        Found::Memory(memory) => (memory.clone(), Some(memory)),
        // It is told what happens from now on.
        Found::Nothing => {
            let sequence = lines.last().map_or(0, |(sequence, _)| *sequence);
            let memory = Memory { cursor: Cursor { sequence, ..Cursor::default() }, gone: None };
            let stored = at_start && store_now(path, &memory);
            (memory.clone(), stored.then_some(memory))
        }
        Found::Damaged(error) => {
            tracing::error!(
                sink,
                error,
                "How far the notices came can't be read; those of the last day are sent again."
            );
            let now = SystemTime::now();
            let old = |line: &&Line| now.duration_since(line.1.at).unwrap_or_default() >= GIVE_UP;
            let sequence = lines.iter().take_while(old).last().map_or(0, |(sequence, _)| *sequence);
            (Memory { cursor: Cursor { sequence, ..Cursor::default() }, gone: None }, None)
        }
    }
}

/// What a sink did not get to.
fn missed(teller: &Teller, lines: &[Line], cursor: &Cursor) -> Vec<Order> {
    let mut orders = Vec::new();
    for (index, (sequence, transition)) in lines.iter().enumerate() {
        if cursor.has(*sequence) {
            continue;
        }
        let served_since = served_since(transition, lines[..index].iter().rev());
        let moment = Moment { served_since, ..Moment::default() };
        if let Some(notice) = teller.transition(transition, &moment) {
            orders.push(Order::Tell(Arc::new(notice), Record::Line(*sequence)));
        }
    }
    orders
}

/// Writes the first memory of a sink, and says whether the disk took it in time.
fn store_now(path: &std::path::Path, memory: &Memory) -> bool {
    let (done, stored) = std::sync::mpsc::channel();
    let (path, memory) = (path.to_owned(), memory.clone());
    tokio::task::spawn_blocking(move || done.send(cursor::store(&path, &memory)));
    match stored.recv_timeout(FIRST_MEMORY) {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "A new sink of notices can't be remembered yet.");
            false
        }
        Err(_) => false,
    }
}
